//! Deploying on a terminal, as a person sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::Person;
use support::gate::Gate;
use support::terminal::Terminal;
use support::world::World;

const WIDE: (u16, u16) = (110, 30);

impl World {
    async fn new(test: &str) -> Self {
        Self::of(test, Person::new()).await
    }

    /// A set of a Deployment that gets ready at this path, and as many ConfigMaps.
    async fn set(&self, ready: &str, configs: usize) {
        let image = self.cluster.image("sample-v1").await.unwrap();
        let mut set = format!(
            r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          readinessProbe: {{httpGet: {{path: {ready}, port: 8080}}, periodSeconds: 1}}
"#
        );
        for number in 0..configs {
            set.push_str(&format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config-{number}}}\ndata: {{a: b}}\n"
            ));
        }
        self.me.file("set.yaml", &set);
    }

    fn on_terminal(&self, verb: &[&str], size: (u16, u16)) -> Terminal {
        Terminal::start(&self.me, &[verb, &self.release()].concat(), size)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_moves_on_and_leaves_the_terminal_tidy() {
    let world = World::new("terminal_deploy").await;
    world.set("/ready", 3).await;
    let mut terminal = world.on_terminal(&["deploy", "set.yaml"], WIDE);
    // What is waited for has a row with its health, age and reason; what is done is a number.
    let seen = terminal
        .until(|seen| seen.contains("Deployment/web") && seen.contains("of 4 done"))
        .await;
    let row = seen.lines().find(|line| line.contains("Deployment/web"));
    let row = row.unwrap();
    assert!(
        row.contains("created") && row.contains("Progressing"),
        "{row}"
    );
    assert!(row.contains(" s  "), "its age: {row}");
    let left = terminal.left().await;
    left.ended(0);
    left.says("4 of 4 done: 4 created");
    left.says("number 1 runs in namespace");
    // Nothing of the pictures on the way is left.
    assert_eq!(
        left.screen.matches("Fetch Files").count(),
        1,
        "{}",
        left.screen
    );
    assert!(!left.screen.contains("Progressing"), "{}", left.screen);
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_fits_the_window_also_when_that_changes() {
    let world = World::new("terminal_resize").await;
    world.set("/nothing", 1).await;
    let mut terminal = world.on_terminal(&["deploy", "set.yaml"], WIDE);
    terminal
        .until(|seen| seen.contains("0 of 1 updated replica"))
        .await;
    terminal.resize(30, 8);
    let narrow = |seen: &str| {
        let mut lines = seen.lines();
        lines.any(|line| line.contains("/web") && line.ends_with("Progressing"))
    };
    let seen = terminal.until(narrow).await;
    assert!(
        seen.lines().all(|line| line.chars().count() <= 30),
        "{seen}"
    );
    terminal.resize(110, 30);
    terminal
        .until(|seen| seen.contains("0 of 1 updated replica"))
        .await;

    terminal.types("\x03");
    let left = terminal.left().await;
    left.ended(130);
    left.says("stopping at the next safe place");
    left.says("stopped at a safe place");
    left.says("sortie uninstall -n");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_is_asked_for_and_shown() {
    let world = World::new("terminal_uninstall").await;
    world.set("/ready", 1).await;
    let release = ["-n", world.namespace.name(), "--release", "shop"];
    let deploy = [&["deploy", "set.yaml"], release.as_slice()].concat();
    world.me.sortie(&deploy).await.ok();

    let mut terminal = world.on_terminal(&["uninstall"], WIDE);
    let seen = terminal.until(|seen| seen.contains("[y/N]")).await;
    assert!(
        seen.contains("Deployment") && seen.contains("deleted"),
        "{seen}"
    );
    terminal.types("n\r");
    let left = terminal.left().await;
    left.ended(130);
    left.says("nothing was deleted");
    let status = [&["status"], release.as_slice()].concat();
    world.me.sortie(&status).await.ok();

    let mut terminal = world.on_terminal(&["uninstall"], WIDE);
    terminal.until(|seen| seen.contains("[y/N]")).await;
    terminal.types("yes\r");
    let left = terminal.left().await;
    left.ended(0);
    left.says("2 of 2 done: 2 deleted");
    left.says("2 objects deleted");
    assert_eq!(world.me.sortie(&status).await.code, 4);
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_given_up_by_ctrl_c_and_by_the_system() {
    let world = World::new("terminal_question").await;
    world.me.file(
        "set.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n",
    );
    let release = ["-n", world.namespace.name(), "--release", "shop"];
    let deploy = [&["deploy", "set.yaml"], release.as_slice()].concat();
    world.me.sortie(&deploy).await.ok();
    let give_up: [fn(&Terminal); 2] = [|terminal| terminal.types("\x03"), Terminal::terminate];
    for give_up in give_up {
        let mut terminal = world.on_terminal(&["uninstall"], WIDE);
        terminal.until(|seen| seen.contains("[y/N]")).await;
        give_up(&terminal);
        let left = terminal.left().await;
        left.ended(130);
        left.says("nothing was deleted");
    }
    let status = [&["status"], release.as_slice()].concat();
    world.me.sortie(&status).await.ok();
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_ends_at_once_and_the_next_one_carries_on() {
    let world = World::new("terminal_twice").await;
    world.set("/nothing", 1).await;
    let gate = Gate::before(world.cluster.kubeconfig()).await;
    let kubeconfig = world.me.file("gated", gate.kubeconfig());
    let gated = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let deploy = [&["deploy", "set.yaml"], gated.as_slice()].concat();
    let mut terminal = world.on_terminal(&deploy, WIDE);
    terminal
        .until(|seen| seen.contains("0 of 1 updated replica"))
        .await;
    // No answer comes any more: the safe place cannot be reached.
    gate.close();
    terminal.types("\x03");
    terminal
        .until(|seen| seen.contains("Ctrl-C again ends at once"))
        .await;
    terminal.types("\x03");
    let left = terminal.left().await;
    left.ended(130);
    left.says("ended at once");
    left.says("carries on");

    let listed = world.on(&["history"]).await.ok();
    assert!(listed.stdout.contains("InProgress"), "{listed:?}");
    world.set("/ready", 1).await;
    let ended = world.on(&["deploy", "set.yaml"]).await.ok();
    assert!(ended.stdout.contains("number 2 runs"), "{ended:?}");
    assert!(
        ended.stdout.contains("was interrupted earlier"),
        "{ended:?}"
    );
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_the_system_to_end_is_one_of_a_person_to_stop() {
    let world = World::new("terminal_sigterm").await;
    world.set("/nothing", 0).await;
    let mut terminal = world.on_terminal(&["deploy", "set.yaml"], WIDE);
    terminal
        .until(|seen| seen.contains("0 of 1 updated replica"))
        .await;
    terminal.terminate();
    let left = terminal.left().await;
    left.ended(130);
    left.says("stopped at a safe place");
    world.namespace.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_shown_and_whatever_ends_its_question_leaves_the_terminal_as_it_was() {
    use rustix::process::Signal;
    let me = Person::new();
    for signal in [Some(Signal::TERM), Some(Signal::INT), None] {
        // Nobody listens there.
        let mut terminal = Terminal::start(&me, &["login", "http://127.0.0.1:1"], WIDE);
        terminal.until(|seen| seen.contains("Token for")).await;
        assert!(!terminal.echoes());
        terminal.types("hunter22");
        match signal {
            Some(signal) => terminal.send(signal),
            None => terminal.types("\x03"),
        }
        let left = terminal.left().await;
        left.ended(130);
        left.says("interrupted");
        assert!(!left.screen.contains("hunter22"), "{}", left.screen);
    }
    let mut terminal = Terminal::start(&me, &["login", "http://127.0.0.1:1"], WIDE);
    terminal.until(|seen| seen.contains("Token for")).await;
    terminal.types("hunter22\r");
    let left = terminal.left().await;
    left.ended(3);
    assert!(!left.screen.contains("hunter22"), "{}", left.screen);
}
