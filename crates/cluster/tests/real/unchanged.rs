//! What is noticed of an object that says by its mark that nothing is to be done.

use serde_json::{Value, json};
use sortie_cluster::Cluster;
use sortie_cluster::apply::{Change, MARK, Scope};
use sortie_cluster::lease::Guard;
use sortie_testkit::Audited;

use crate::fixture::{Fixture, SET, config_map, deployment, objects};

const ROLE: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
";
const SERVICE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";
const SECRET: &str = r"
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {password: hunter22}
data: {blob: aGVsbG8=}
";

/// Plans and applies as an account of our own; the requests that only it has sent.
/// `first`: probably nothing is there.
async fn requests_of(
    fixture: &Fixture,
    (cluster, user): (&Cluster, &str),
    yaml: &str,
    first: bool,
) -> Vec<Audited> {
    let shared = sortie_testkit::Cluster::shared().await.unwrap();
    let before = shared.audit(user).await.unwrap().len();
    let set = objects(fixture.ns(), yaml);
    let targets = cluster.locate(set, fixture.ns()).await.unwrap();
    let scope = Scope {
        first,
        ..fixture.scope()
    };
    let planned = cluster.plan(targets, &scope).await.unwrap();
    let done = |_, result: Result<_, _>| drop(result.unwrap());
    cluster.apply_stage(planned, &Guard::unfenced(), done).await;
    shared.audit(user).await.unwrap().split_off(before)
}

#[tokio::test]
async fn what_a_dry_run_finds_unchanged_is_told_as_it_is_live() {
    let fixture = Fixture::new("dryrun").await;
    let set = || objects(fixture.ns(), &deployment("web", "web:1"));
    fixture.apply(set()).await;
    // Nothing is listed for no release, so a dry run decides.
    let unlisted = Scope::default();
    let targets = fixture.cluster.locate(set(), fixture.ns()).await.unwrap();
    let planned = fixture.cluster.plan(targets, &unlisted).await.unwrap();
    let applied = fixture.cluster.apply(&planned[0], &Guard::unfenced()).await;
    let applied = applied.unwrap();
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", fixture.ns());
    let live = fixture.live(&path).await;
    assert_eq!(applied.change, Change::Unchanged);
    assert_eq!(
        applied.generation(),
        live["metadata"]["generation"].as_i64()
    );
    fixture.finish().await;
}

#[tokio::test]
async fn requests_are_few() {
    let fixture = Fixture::new("requests").await;
    let cluster = fixture.as_administrator("counted").await;
    let user = format!("system:serviceaccount:{}:counted", fixture.ns());
    // Without its autoscaler, which takes a request of its own to get the replicas.
    let (set, _) = SET.rsplit_once("---").unwrap();
    let mut yaml = format!("{set}{}", deployment("web", "web:1"));
    for n in 0..30 {
        yaml.push_str(&format!("---\n{}", config_map(&format!("map-{n}"), "a")));
    }
    let count = objects(fixture.ns(), &yaml).len();
    let verbs = |requests: &[Audited], verb: &str| {
        requests
            .iter()
            .filter(|request| request.verb == verb)
            .count()
    };
    let new = requests_of(&fixture, (&cluster, &user), &yaml, true).await;
    assert_eq!(
        verbs(&new, "patch"),
        2 * count,
        "a dry run and a write each"
    );
    // What the biggest kind has live, and the autoscalers.
    assert_eq!(new.len(), 2 * count + 2, "{new:?}");

    let same = requests_of(&fixture, (&cluster, &user), &yaml, false).await;
    assert_eq!(verbs(&same, "patch") + verbs(&same, "get"), 0, "{same:?}");
    assert!(same.len() < count / 2, "{} requests", same.len());

    let one = yaml.replace("map-7}\ndata: {key: a}", "map-7}\ndata: {key: b}");
    assert_ne!(one, yaml);
    let changed = requests_of(&fixture, (&cluster, &user), &one, false).await;
    assert_eq!(verbs(&changed, "patch"), 2, "{changed:?}");
    fixture.finish().await;
}

/// One write behind our back to an object that we applied.
struct Meddling {
    what: &'static str,
    yaml: String,
    path: &'static str,
    content_type: &'static str,
    body: Value,
}

fn meddlings() -> Vec<Meddling> {
    let case = |what, yaml: &str, path, body: Value| Meddling {
        what,
        yaml: yaml.to_owned(),
        path,
        content_type: if body.is_array() {
            "application/json-patch+json"
        } else {
            "application/merge-patch+json"
        },
        body,
    };
    let web = deployment("web", "web:1");
    let map = config_map("web", "v");
    let deployments = "apis/apps/v1/namespaces/NS/deployments/web";
    let maps = "api/v1/namespaces/NS/configmaps/web";
    vec![
        case("a value", &map, maps, json!({"data": {"key": "other"}})),
        case(
            "a removed value",
            &map,
            maps,
            json!({"data": {"key": null}}),
        ),
        case(
            "a map that is gone",
            &map,
            maps,
            json!([{"op": "remove", "path": "/data"}]),
        ),
        case(
            "our label",
            &map,
            maps,
            json!({"metadata": {"labels": {"sortie.dev/release": "x"}}}),
        ),
        case(
            "an atomic list",
            ROLE,
            "apis/rbac.authorization.k8s.io/v1/namespaces/NS/roles/web",
            json!([{"op": "add", "path": "/rules/0/verbs/-", "value": "list"}]),
        ),
        case(
            "an atomic map",
            SERVICE,
            "api/v1/namespaces/NS/services/web",
            json!({"spec": {"selector": {"more": "than-ours"}}}),
        ),
        case(
            "an item of a list",
            &web,
            deployments,
            json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:2"}]),
        ),
        case(
            "an item that is gone",
            &web,
            deployments,
            json!([{"op": "remove", "path": "/spec/template/spec/containers/0/ports"}]),
        ),
        case(
            "replicas through the scale subresource",
            &web,
            "apis/apps/v1/namespaces/NS/deployments/web/scale",
            json!({"spec": {"replicas": 4}}),
        ),
        case(
            "a text of a Secret",
            SECRET,
            "api/v1/namespaces/NS/secrets/web",
            json!({"data": {"password": "b3RoZXI="}}),
        ),
    ]
}

#[tokio::test]
async fn every_change_to_a_field_of_ours_is_noticed() {
    let fixture = Fixture::new("meddling").await;
    for meddling in meddlings() {
        let yaml = &meddling.yaml;
        // What earlier cases left behind is set right here.
        fixture.apply(objects(fixture.ns(), yaml)).await;
        let before = fixture.apply(objects(fixture.ns(), yaml)).await;
        assert_eq!(before[0].change, Change::Unchanged, "{}", meddling.what);
        let path = format!("/{}", meddling.path.replace("NS", fixture.ns()));
        let written = fixture
            .send(
                http::Method::PATCH,
                &path,
                meddling.content_type,
                &meddling.body,
            )
            .await;
        let mark = written
            .pointer("/metadata/annotations")
            .map(|all| &all[MARK]);
        assert!(mark.is_none_or(|mark| mark.is_string()), "{written}");
        let planned = fixture.plan(objects(fixture.ns(), yaml)).await;
        match planned {
            Ok(planned) => {
                assert_eq!(
                    planned[0].change(),
                    Some(Change::Configured),
                    "{}",
                    meddling.what
                );
            }
            // Without our label it is somebody else's.
            Err(errors) => assert_eq!((errors[0].code(), meddling.what), ("SRT-C015", "our label")),
        }
        if meddling.what == "our label" {
            let mine =
                json!({"metadata": {"labels": {"sortie.dev/release": fixture.scope().release}}});
            fixture
                .send(http::Method::PATCH, &path, meddling.content_type, &mine)
                .await;
        }
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_mark_that_was_not_written_with_the_values_does_not_count() {
    let fixture = Fixture::new("marks").await;
    let path = format!("/api/v1/namespaces/{}/configmaps/web", fixture.ns());
    let (old, new) = (config_map("web", "old"), config_map("web", "new"));
    fixture.apply(objects(fixture.ns(), &old)).await;
    let first = fixture.live(&path).await;
    fixture.apply(objects(fixture.ns(), &new)).await;
    assert_ne!(mark_of(&first), mark_of(&fixture.live(&path).await));

    // Somebody puts the earlier object back, with its mark.
    let mut earlier = first;
    for field in ["resourceVersion", "managedFields"] {
        earlier["metadata"].as_object_mut().unwrap().remove(field);
    }
    fixture
        .send(http::Method::PUT, &path, "application/json", &earlier)
        .await;
    for yaml in [&old, &new] {
        let planned = fixture.plan(objects(fixture.ns(), yaml)).await.unwrap();
        assert_eq!(planned[0].change(), Some(Change::Configured));
    }

    // An older version of ours, which writes no marks, applies other values.
    fixture.apply(objects(fixture.ns(), &new)).await;
    let mut set = objects(fixture.ns(), &old);
    let plain = set.remove(0).into_value();
    let apply = format!("{path}?fieldManager=sortie&force=true");
    fixture
        .send(
            http::Method::PATCH,
            &apply,
            "application/apply-patch+yaml",
            &plain,
        )
        .await;
    let planned = fixture.plan(objects(fixture.ns(), &new)).await.unwrap();
    assert_eq!(planned[0].change(), Some(Change::Configured));

    // The object is made anew from a copy.
    fixture.apply(objects(fixture.ns(), &new)).await;
    let mut copy = fixture.live(&path).await;
    for field in ["resourceVersion", "uid", "managedFields"] {
        copy["metadata"].as_object_mut().unwrap().remove(field);
    }
    fixture
        .send(http::Method::DELETE, &path, "application/json", &json!({}))
        .await;
    let collection = path.trim_end_matches("/web");
    fixture
        .send(http::Method::POST, collection, "application/json", &copy)
        .await;
    let planned = fixture.plan(objects(fixture.ns(), &new)).await.unwrap();
    assert_eq!(planned[0].change(), Some(Change::Configured));
    fixture.finish().await;
}

#[tokio::test]
async fn what_others_add_is_theirs_and_changes_nothing() {
    let fixture = Fixture::new("additions").await;
    let yaml = deployment("web", "web:1");
    fixture.apply(objects(fixture.ns(), &yaml)).await;
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", fixture.ns());
    let theirs =
        json!({"metadata": {"annotations": {"team": "shop"}}, "spec": {"revisionHistoryLimit": 3}});
    let written = fixture
        .send(
            http::Method::PATCH,
            &path,
            "application/merge-patch+json",
            &theirs,
        )
        .await;
    let applied = fixture.apply(objects(fixture.ns(), &yaml)).await;
    assert_eq!(applied[0].change, Change::Unchanged);
    assert_eq!(applied[0].object["metadata"]["annotations"]["team"], "shop");
    assert_eq!(mark_of(&written), mark_of(&fixture.live(&path).await));
    fixture.finish().await;
}

#[tokio::test]
async fn a_key_that_a_secret_stops_naming_goes_away() {
    let fixture = Fixture::new("secret-keys").await;
    let two = SECRET.replace("{password: hunter22}", "{password: hunter22, more: x}");
    fixture.apply(objects(fixture.ns(), &two)).await;
    let applied = fixture.apply(objects(fixture.ns(), SECRET)).await;
    assert_eq!(applied[0].change, Change::Configured);
    let expected = json!({"blob": "aGVsbG8=", "password": "aHVudGVyMjI="});
    assert_eq!(applied[0].object["data"], expected);
    fixture.finish().await;
}

fn mark_of(object: &Value) -> Value {
    object["metadata"]["annotations"][MARK].clone()
}
