//! Hooks of a service in the pod of the delegate: what they do, and what they cannot reach.

use crate::helm::{DELEGATE, SERVER};
use crate::install::{Stack, image};

/// Tries everything that a script has no business with. Each line begins with what it was about.
const SPY: &str = r#"
echo "uid: $(id -u)"
for file in /var/run/secrets/kubernetes.io/serviceaccount/token /etc/sortie/join/token /etc/sortie/delegate/delegate.yaml; do
  cat $file >/dev/null 2>&1 && echo "READ $file"
done
find / -xdev -type f \( -name token -o -name '*.key' -o -name kubeconfig \) 2>/dev/null | sed 's/^/FOUND /'
cat /proc/1/environ >/dev/null 2>&1 && echo "READ the environment of the runner"
cat /proc/1/mem >/dev/null 2>&1 && echo "READ the memory of the runner"
ls /proc/1/fd >/dev/null 2>&1 && echo "READ the descriptors of the runner"
kill -9 1; kill -TERM 1; kill -STOP 1
for comm in /proc/[0-9]*/comm; do echo "process: $(cat $comm 2>/dev/null)"; done | sort -u
echo "environment: $(env | cut -d= -f1 | sort | tr '\n' ' ')"
echo "socket: $(find /run/sortie -type s | wc -l)"
ls -d /run/sortie-delegate 2>/dev/null | sed 's/^/FOUND /'
for method in PUT POST; do
  exec 3<>/dev/tcp/127.0.0.1/9090
  printf '%s /log-level HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\ntrace' $method >&3
  echo "log level by $method: $(head -n 1 <&3 | cut -d ' ' -f 2)"
done
touch /run/sortie/other 2>/dev/null && echo "WROTE beside the socket"
touch /usr/local/bin/bash 2>/dev/null && echo "WROTE to the image"
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr '\t' ' ' | sed 's/^/status: /'
find /scripts /tmp /dev/shm /dev/mqueue -user "$(id -u)" ! -path '/scripts/run*' 2>/dev/null | sed 's/^/LEFT /'
grep -c planted /dev/termination-log | sed 's/^/planted: /'
"#;

/// Leaves something everywhere, and a process that goes on.
const PLANT: &str = r#"
echo planted | tee $HOME/.bashrc $TMPDIR/planted /tmp/planted /dev/shm/planted /scripts/planted > /dev/termination-log
setsid sleep 7777 >/dev/null 2>&1 &
(setsid bash -c 'trap "" TERM; exec sleep 7778' >/dev/null 2>&1 &)
cat > "$MANIFEST_FILES_DIRECTORY/more.yaml" <<'END'
apiVersion: v1
kind: ConfigMap
metadata: {name: more}
data: {from: BEFORE}
END
"#;

#[tokio::test(flavor = "multi_thread")]
async fn hooks_of_a_service_run_at_their_places_and_reach_nothing_of_the_delegate() {
    let mut stack = Stack::new("hooks").await;
    let server = stack.cluster.image("server").await.unwrap();
    stack.install(SERVER, &image(&server, "persistence: {size: 64Mi}"));
    stack.login();
    stack.store_join_token();
    let delegate = stack.cluster.image("delegate").await.unwrap();
    let runner = stack.cluster.image("runner").await.unwrap();
    let (repository, tag) = runner.rsplit_once(':').unwrap();
    let values = format!(
        "existingSecret: join\nserver: https://demo-sortie-server.{}.svc:8443\nrbac: {{namespaces: [{}]}}\n\
         runner: {{enabled: true, image: {{repository: {repository}, tag: '{tag}'}}}}\n",
        stack.home.name(),
        stack.target.name(),
    );
    stack.install(DELEGATE, &image(&delegate, &values));
    let sample = stack.cluster.image("sample-v1").await.unwrap();
    let namespace = stack.target.name().to_owned();
    stack.sortie(&["apply", "-f", "-"], &entities(&namespace));

    let hooks = [
        hook("preHook", "plant", "FetchFiles", PLANT),
        hook(
            "postHook",
            "fetched",
            "FetchFiles",
            "ls; sed -i s/BEFORE/CHANGED/ more.yaml; echo value: <+service.name> <+secrets.getValue(\"password\")>",
        ),
        hook(
            "preHook",
            "plain",
            "TemplateManifest",
            "cat hello.yaml | grep replicas",
        ),
        hook(
            "postHook",
            "rendered",
            "TemplateManifest",
            "grep -h 'replicas\\|from' *.yaml; sed -i s/CHANGED/RENDERED/ more.yaml",
        ),
        hook(
            "preHook",
            "waiting",
            "SteadyStateCheck",
            "echo \"all: $WORKLOADS_LIST; managed: $MANAGED_WORKLOADS; custom: $CUSTOM_WORKLOADS.\"; ls -A | wc -l",
        ),
        hook("postHook", "spy", "SteadyStateCheck", SPY),
    ];
    stack.sortie(&["apply", "-f", "-"], &service(&sample, &hooks.concat()));
    let (code, said, errors) = stack.try_sortie(&["run", "hooked", "--follow"], "");
    assert_eq!(code, Some(0), "{said}\n{errors}");
    println!("{said}");
    let places = [
        "hook plant (before FetchFiles) begins",
        "hook plant (before FetchFiles): files of the manifests: 0 changed, 1 new, 0 removed",
        "hook fetched (after FetchFiles) begins",
        "value: hooked ****",
        "hook fetched (after FetchFiles): files of the manifests: 1 changed, 0 new, 0 removed",
        "hook plain (before TemplateManifest) begins",
        "replicas: {{ .Values.replicas }}",
        "hook rendered (after TemplateManifest) begins",
        "replicas: 2",
        "from: CHANGED",
        "hook waiting (before SteadyStateCheck) begins",
        "all: Deployment/hello; managed: Deployment/hello; custom: .",
        "hook spy (after SteadyStateCheck) begins",
        "hook spy (after SteadyStateCheck) ended well",
    ];
    let mut rest = said.as_str();
    for place in places {
        let at = rest
            .find(place)
            .unwrap_or_else(|| panic!("{place:?} is not where it should be in {said}"));
        rest = &rest[at + place.len()..];
    }
    let more = [
        "-n",
        &namespace,
        "get",
        "configmap",
        "-o",
        "jsonpath={.items[*].data.from}",
    ];
    let more = crate::helm::kubectl(stack.cluster.kubeconfig(), &more, "").unwrap();
    assert_eq!(more, "RENDERED");

    // Nothing of the delegate, of the runner or of another script.
    for found in [
        "READ ",
        "FOUND ",
        "WROTE ",
        "LEFT ",
        "s3cret",
        "process: sleep",
        "process: sortie-delegat",
    ] {
        assert!(!said.contains(found), "{found}: {said}");
    }
    for seen in [
        "uid: 65533",
        "process: sortie-runner",
        "environment: CUSTOM_WORKLOADS HOME LANG MANAGED_WORKLOADS MANIFEST_FILES_DIRECTORY PATH PWD SHLVL TMPDIR WORKLOADS_LIST _",
        "socket: 0",
        "log level by PUT: 404",
        "log level by POST: 404",
        "status: CapEff: 0000000000000000",
        "status: NoNewPrivs: 1",
        "status: Seccomp: 2",
        "planted: 0",
    ] {
        assert!(said.contains(seen), "{seen}: {said}");
    }

    applied(&stack, &sample);
    failing(&stack, &sample);

    // Without a runner the step says what to do.
    let plain = values.replace("enabled: true", "enabled: false");
    stack.upgrade(DELEGATE, &image(&delegate, &plain));
    let (code, said, errors) = stack.try_sortie(&["run", "hooked", "--follow"], "");
    let said = format!("{said}\n{errors}");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("SRT-T080") && said.contains("runner.enabled=true"),
        "{said}"
    );
    stack.finish().await;
}

/// The same hooks around a step that applies files of the service.
fn applied(stack: &Stack, sample: &str) {
    let say = |time: &str, id: &str, action: &str| {
        hook(time, id, action, &format!("echo {id} of $WORKLOADS_LIST."))
    };
    let hooks = [
        say("preHook", "h1", "FetchFiles"),
        say("postHook", "h2", "SteadyStateCheck"),
        say("preHook", "h3", "SteadyStateCheck"),
    ];
    stack.sortie(&["apply", "-f", "-"], &service(sample, &hooks.concat()));
    let said = stack.sortie(&["run", "applied", "--follow"], "");
    let places = [
        "h1 of .",
        "h3 of Deployment/hello.",
        "h2 of Deployment/hello.",
    ];
    let found = places.map(|place| {
        said.find(place)
            .unwrap_or_else(|| panic!("{place}: {said}"))
    });
    assert!(found.is_sorted(), "{said}");
}

/// Hooks that end the step, before anything is written.
fn failing(stack: &Stack, sample: &str) {
    for (hook, expected) in [
        (
            hook(
                "postHook",
                "broken",
                "TemplateManifest",
                "echo first; echo the reason >&2; exit 7",
            ),
            "SRT-T083: hook broken (after TemplateManifest): it ended with exit code 7; it said: first / the reason",
        ),
        (
            hook("preHook", "slow", "FetchFiles", "sleep 1000"),
            // Whoever looks at the clock first tells it; the next script could not begin if this one went on.
            "expired after 5",
        ),
        (
            hook(
                "postHook",
                "typo",
                "SteadyStateCheck",
                "echo <+service.nmae>",
            ),
            "cannot resolve the expressions of hook typo",
        ),
        (
            hook(
                "postHook",
                "link",
                "FetchFiles",
                "ln -s /etc/passwd more.yaml",
            ),
            "SRT-T085: hook link (after FetchFiles): what it left in its folder cannot be used: more.yaml is a symbolic link",
        ),
    ] {
        stack.sortie(&["apply", "-f", "-"], &service(sample, &hook));
        let pipeline = if hook.contains("slow") {
            "short"
        } else {
            "hooked"
        };
        let (code, said, errors) = stack.try_sortie(&["run", pipeline, "--follow"], "");
        let said = format!("{said}\n{errors}");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("Apply: running"), "{said}");
    }
}

fn hook(time: &str, id: &str, action: &str, script: &str) -> String {
    let script = script.trim().lines();
    let script: String = script
        .map(|line| format!("                {line}\n"))
        .collect();
    format!(
        "        - {time}:\n            identifier: {id}\n            storeType: Inline\n            actions: [{action}]\n            \
         store:\n              content: |\n{script}"
    )
}

fn service(sample: &str, hooks: &str) -> String {
    format!(
        r#"service:
  name: hooked
  identifier: hooked
  serviceDefinition:
    type: Kubernetes
    spec:
      hooks:
{hooks}      manifests:
        - manifest:
            identifier: hello
            type: K8sManifest
            spec:
              store:
                type: Inline
                spec:
                  content: |
                    apiVersion: apps/v1
                    kind: Deployment
                    metadata: {{name: hello}}
                    spec:
                      replicas: {{{{ .Values.replicas }}}}
                      selector: {{matchLabels: {{app: hello}}}}
                      template:
                        metadata: {{labels: {{app: hello}}}}
                        spec:
                          securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
                          containers:
                            - name: hello
                              image: {sample}
                              imagePullPolicy: IfNotPresent
                              securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        - manifest:
            identifier: values
            type: Values
            spec:
              store: {{type: Inline, spec: {{content: "replicas: 2\n"}}}}
"#
    )
}

/// Everything but the service.
fn entities(namespace: &str) -> String {
    let pipelines = [
        pipeline("hooked", "{type: K8sRollingDeploy, timeout: 4m, spec: {}}"),
        pipeline("short", "{type: K8sRollingDeploy, timeout: 5s, spec: {}}"),
        pipeline(
            "applied",
            "{type: K8sApply, timeout: 4m, spec: {filePaths: [hello.yaml]}}",
        ),
    ];
    format!(
        r#"connector:
  name: cluster
  identifier: cluster
  type: K8sCluster
  spec: {{credential: {{type: InheritFromDelegate}}, delegateSelectors: [demo]}}
---
environment: {{name: demo, identifier: demo, type: PreProduction}}
---
infrastructureDefinition:
  name: demo
  identifier: demo
  environmentRef: demo
  deploymentType: Kubernetes
  type: KubernetesDirect
  spec: {{connectorRef: cluster, namespace: {namespace}, releaseName: hooked}}
---
secret:
  type: SecretText
  name: password
  identifier: password
  spec: {{secretManagerIdentifier: harnessSecretManager, valueType: Inline, value: s3cret-s3cret}}
{}"#,
        pipelines.concat()
    )
}

/// A pipeline of one step.
fn pipeline(id: &str, step: &str) -> String {
    format!(
        r#"---
pipeline:
  name: {id}
  identifier: {id}
  stages:
    - stage:
        name: deploy
        identifier: deploy
        type: Deployment
        spec:
          deploymentType: Kubernetes
          service: {{serviceRef: hooked}}
          environment: {{environmentRef: demo, infrastructureDefinitions: [{{identifier: demo}}]}}
          execution:
            steps:
              - step: {{name: one, identifier: one, {step}
        failureStrategies:
          - onFailure: {{errors: [AllErrors], action: {{type: Abort}}}}
"#,
        step = step.trim_start_matches('{')
    )
}
