//! Sets and their plans.

use serde_json::json;
use sortie_manifest::Object;
use sortie_manifest::order::{Note, OrderError, Plan, Stage, WaitsBy, plan};

use crate::{bare, noted, object, objects, planned, pods, refusal, shown};

#[test]
fn without_annotations_the_stages_stand() {
    let set = [
        bare("ValidatingWebhookConfiguration.admissionregistration.k8s.io/w"),
        bare("Deployment.apps/web"),
        bare("Service/web"),
        bare("ConfigMap/c"),
        bare("Namespace/n"),
    ];
    let plan = plan(&set, "shop").unwrap();
    assert_eq!(
        shown(&set, &plan),
        [
            "0: Namespace/n",
            "0: ConfigMap/c",
            "0: Service/web Deployment/web",
            "0: ValidatingWebhookConfiguration/w",
        ]
    );
    let stages: Vec<_> = plan.batches.iter().map(|batch| batch.stage).collect();
    assert_eq!(
        stages,
        [
            Stage::Foundation,
            Stage::Settings,
            Stage::Running,
            Stage::Admission
        ]
    );
    // Only the namespace must be ready before the rest can be written.
    let awaited: Vec<_> = plan
        .batches
        .iter()
        .map(|batch| batch.awaited.clone())
        .collect();
    assert_eq!(awaited, [vec![4], vec![], vec![], vec![]]);
    assert_eq!(plan.deletion(), [vec![0], vec![1, 2], vec![3], vec![4]]);
    assert_eq!(plan.external, []);
    assert_eq!(plan.notes, []);
    assert_eq!(
        sortie_manifest::order::plan(&[], "shop").unwrap(),
        Plan::default()
    );
}

#[test]
fn waves_are_barriers_in_order() {
    let set = [
        noted("Deployment.apps/late", "argocd.argoproj.io/sync-wave", "5"),
        noted("Job.batch/migrate", "sortie.dev/wave", " -1 "),
        object(
            "ConfigMap/both",
            &json!({"sortie.dev/wave": "2", "argocd.argoproj.io/sync-wave": "-9"}),
            &json!({}),
        ),
        bare("Deployment.apps/web"),
        bare("ConfigMap/c"),
    ];
    let plan = plan(&set, "shop").unwrap();
    assert_eq!(
        shown(&set, &plan),
        [
            "-1: Job/migrate",
            "0: ConfigMap/c",
            "0: Deployment/web",
            "2: ConfigMap/both",
            "5: Deployment/late",
        ]
    );
    let awaited: Vec<_> = plan
        .batches
        .iter()
        .map(|batch| batch.awaited.clone())
        .collect();
    assert_eq!(awaited, [vec![1], vec![], vec![4, 3], vec![2], vec![]]);
}

#[test]
fn what_an_early_wave_needs_comes_with_it() {
    let mut set = objects(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {sortie.dev/wave: '-1'}}\n\
         spec: {template: {spec: {serviceAccountName: runner, containers: [{envFrom: [\
         {configMapRef: {name: c}}, {secretRef: {name: s, optional: true}}]}]}}}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {sortie.dev/wave: '3'}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: runner}\nimagePullSecrets: [{name: pull}]\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: pull}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b}\n\
         roleRef: {kind: Role, name: r}\nsubjects: [{kind: ServiceAccount, name: runner}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: other}\n---\n\
         apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    );
    let plan = plan(&set, "shop").unwrap();
    assert_eq!(
        shown(&set, &plan),
        [
            "-1: Namespace/shop",
            "-1: Secret/pull ConfigMap/c Role/r",
            "-1: ServiceAccount/runner RoleBinding/b",
            "-1: Job/migrate",
            "0: Secret/s Role/other",
        ]
    );
    let notes: Vec<_> = plan.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["ConfigMap/c comes in wave -1 instead of 3: something in wave -1 needs it"]
    );
    // A stated namespace is the same one as that of the deployment.
    set[1].set_namespace("shop").unwrap();
    assert_eq!(planned(&set)[1], "-1: Secret/pull ConfigMap/c Role/r");
    set[1].set_namespace("elsewhere").unwrap();
    assert_eq!(planned(&set)[1], "-1: Secret/pull Role/r");
}

#[test]
fn definitions_claims_routes_and_targets_come_before_what_names_them() {
    let set = objects(
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, annotations: {sortie.dev/wave: '-2'}}\n---\n\
         apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n\
         spec: {group: example.com, names: {kind: Widget}}\n---\n\
         apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\n\
         spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n\
         spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: web, port: 80}]}]}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: c}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: c}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\n\
         apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {serviceName: db}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: db}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: t, annotations: {kubernetes.io/service-account.name: a}}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\nsecrets: [{name: t}]\n",
    );
    assert_eq!(
        planned(&set),
        [
            "-2: CustomResourceDefinition/widgets.example.com",
            "-2: Widget/w",
            "0: ServiceAccount/a GatewayClass/c",
            "0: Secret/t",
            "0: Service/db Service/web Deployment/web Gateway/g",
            "0: StatefulSet/db HorizontalPodAutoscaler/h HTTPRoute/r",
        ]
    );
}

#[test]
fn dependencies_are_named_in_every_known_form() {
    let table = [
        ("sortie.dev/depends-on", "Deployment/db"),
        ("sortie.dev/depends-on", "Deployment.apps/db"),
        ("sortie.dev/depends-on", "Deployment/shop/db"),
        ("sortie.dev/depends-on", "Deployment.apps/shop/db"),
        (
            "sortie.dev/depends-on",
            "apps/namespaces/shop/Deployment/db",
        ),
        (
            "config.kubernetes.io/depends-on",
            "apps/namespaces/shop/Deployment/db",
        ),
        ("config.kubernetes.io/depends-on", "apps/Deployment/db"),
        ("sortie.dev/depends-on", "Service/gone, \n Deployment/db ,"),
    ];
    for (key, text) in table {
        let set = [
            noted("Deployment.apps/a", key, text),
            bare("Deployment.apps/db"),
        ];
        let plan = plan(&set, "shop").unwrap();
        assert_eq!(
            shown(&set, &plan),
            ["0: Deployment/db", "0: Deployment/a"],
            "{text}"
        );
        assert_eq!(plan.batches[0].awaited, [1], "{text}");
    }
    let table = [
        ("Service/gone", "Service/gone"),
        ("/namespaces/other/Secret/s", "Secret/other/s"),
        ("/Namespace/other", "Namespace/other"),
        ("Widget.example.com/other/w", "Widget/other/w"),
        ("Deployment/other/db", "Deployment/other/db"),
    ];
    for (text, external) in table {
        let set = [
            noted("Deployment.apps/a", "sortie.dev/depends-on", text),
            bare("Deployment.apps/db"),
        ];
        let plan = plan(&set, "shop").unwrap();
        let found: Vec<_> = plan
            .external
            .iter()
            .map(|external| (external.object.short(), external.dependency.to_string()))
            .collect();
        assert_eq!(
            found,
            [("Deployment/a".to_owned(), external.to_owned())],
            "{text}"
        );
        assert_eq!(plan.batches.len(), 1, "{text}");
    }
}

#[test]
fn a_dependency_moves_what_waits_to_a_later_stage_or_wave() {
    let set = [
        noted("ConfigMap/after", "sortie.dev/depends-on", "Job/first"),
        bare("Job.batch/first"),
        object(
            "Deployment.apps/web",
            &json!({}),
            &pods(&json!({"volumes": [{"configMap": {"name": "after"}}]})),
        ),
    ];
    assert_eq!(
        planned(&set),
        ["0: Job/first", "0: ConfigMap/after", "0: Deployment/web"]
    );
    // Two that ask for each other's place: the earlier wave counts, and it is said.
    let set = [
        object(
            "Job.batch/a",
            &json!({"sortie.dev/depends-on": "Job/b", "sortie.dev/wave": "1"}),
            &json!({}),
        ),
        noted("Job.batch/b", "sortie.dev/wave", "2"),
    ];
    let plan = plan(&set, "shop").unwrap();
    assert_eq!(shown(&set, &plan), ["1: Job/b", "1: Job/a"]);
    assert!(
        matches!(
            &plan.notes[..],
            [Note::Earlier {
                stated: 2,
                wave: 1,
                ..
            }]
        ),
        "{:?}",
        plan.notes
    );
}

#[test]
fn a_service_may_wait_for_the_pods_that_it_names() {
    let set = [
        object(
            "StatefulSet.apps/db",
            &json!({}),
            &json!({"spec": {"serviceName": "db"}}),
        ),
        noted("Service/db", "sortie.dev/depends-on", "StatefulSet/db"),
    ];
    assert_eq!(planned(&set), ["0: StatefulSet/db", "0: Service/db"]);
}

#[test]
fn change_groups_and_rules_of_kapp_count() {
    let group = "kapp.k14s.io/change-group";
    let rule = "kapp.k14s.io/change-rule";
    let set = [
        noted(
            "Deployment.apps/a",
            &format!("{rule}.x"),
            "upsert after upserting example.com/db",
        ),
        noted("Deployment.apps/b", group, "example.com/db"),
        object(
            "Deployment.apps/c",
            &json!({"kapp.k14s.io/change-group.1": "example.com/db", "kapp.k14s.io/change-group.2": "cache"}),
            &json!({}),
        ),
        noted("Job.batch/d", rule, "upsert  before upserting cache"),
        noted("Job.batch/e", rule, "delete before deleting example.com/db"),
        noted("Job.batch/f", rule, "upsert after upserting nobody"),
        noted("Job.batch/g", "kapp.k14s.io/change-rules", "not one"),
    ];
    let plan = plan(&set, "shop").unwrap();
    assert_eq!(
        shown(&set, &plan),
        [
            "0: Deployment/b Job/d Job/e Job/f Job/g",
            "0: Deployment/c",
            "0: Deployment/a",
        ]
    );
    let awaited: Vec<_> = plan
        .batches
        .iter()
        .map(|batch| batch.awaited.clone())
        .collect();
    assert_eq!(awaited, [vec![1, 3], vec![2], vec![]]);
    let notes: Vec<_> = plan.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        ["Job/f has a rule about the change group \"nobody\", to which nothing belongs"]
    );
}

#[test]
fn circles_are_named() {
    let set = [
        object(
            "Deployment.apps/web",
            &json!({}),
            &pods(&json!({"volumes": [{"configMap": {"name": "c"}}]})),
        ),
        noted("ConfigMap/c", "sortie.dev/depends-on", "Job/j"),
        noted(
            "Job.batch/j",
            "kapp.k14s.io/change-rule",
            "upsert after upserting x",
        ),
        object(
            "Deployment.apps/x",
            &json!({"kapp.k14s.io/change-group": "x", "sortie.dev/depends-on": "Deployment/web"}),
            &json!({}),
        ),
        noted("Job.batch/outside", "sortie.dev/depends-on", "Job/j"),
    ];
    let error = refusal(&set);
    assert_eq!(error.code(), "SRT-M014");
    assert_eq!(
        error.to_string(),
        "these objects wait for each other: ConfigMap/c (t.yaml:1:1, depends-on) → Job/j (t.yaml:1:1, change-rule) → \
         Deployment/x (t.yaml:1:1, depends-on) → Deployment/web (t.yaml:1:1, names it) → ConfigMap/c"
    );
    for (key, value) in [
        ("sortie.dev/depends-on", "Job/j"),
        (
            "config.kubernetes.io/depends-on",
            "batch/namespaces/shop/Job/j",
        ),
    ] {
        let error = refusal(&[noted("Job.batch/j", key, value)]);
        assert!(
            matches!(&error, OrderError::Cycle { members } if members.len() == 1 && members[0].by == WaitsBy::DependsOn),
            "{error}"
        );
    }
    // A long one is cut, and needs no stack.
    let chain: Vec<Object> = (0..20_000)
        .map(|n| {
            let next = format!("Job/j{}", (n + 1) % 20_000);
            noted(&format!("Job.batch/j{n}"), "sortie.dev/depends-on", &next)
        })
        .collect();
    let text = refusal(&chain).to_string();
    assert!(
        text.contains("… 19990 more …") && text.len() < 1000,
        "{text}"
    );
    let chain = plan(&chain[..19_999], "shop").unwrap();
    assert_eq!(chain.batches.len(), 19_999);
}

#[test]
fn annotations_that_say_nothing_are_refused_all_at_once() {
    let table = [
        ("sortie.dev/wave", "first", "SRT-M012"),
        ("argocd.argoproj.io/sync-wave", "1.5", "SRT-M012"),
        ("sortie.dev/wave", "99999999999", "SRT-M012"),
        ("sortie.dev/depends-on", "web", "SRT-M012"),
        ("sortie.dev/depends-on", "deployment/web", "SRT-M012"),
        ("sortie.dev/depends-on", "Deployment/", "SRT-M012"),
        ("sortie.dev/depends-on", "Deployment//web", "SRT-M012"),
        (
            "config.kubernetes.io/depends-on",
            "apps/namespaces/Deployment/web",
            "SRT-M012",
        ),
        ("kapp.k14s.io/change-rule", "after x", "SRT-M012"),
        (
            "kapp.k14s.io/change-rule.a",
            "upsert near upserting x",
            "SRT-M012",
        ),
        ("sortie.dev/depends-on", "Widget/w", "SRT-M013"),
        ("sortie.dev/depends-on", "Twin/t", "SRT-M013"),
    ];
    let mut set = vec![
        bare("Twin.one.example.com/t"),
        bare("Twin.two.example.com/t"),
    ];
    for (n, (key, value, code)) in table.iter().enumerate() {
        let wrong = noted(&format!("Job.batch/j{n}"), key, value);
        let mut small = set[..2].to_vec();
        small.push(wrong.clone());
        let error = refusal(&small);
        assert_eq!(error.code(), *code, "{value}: {error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("t.yaml:1:1: Job/j{n} ")),
            "{error}"
        );
        set.push(wrong);
    }
    assert_eq!(plan(&set, "shop").unwrap_err().len(), table.len());
    let long = refusal(&[noted("Job.batch/j", "sortie.dev/wave", &"é".repeat(5000))]);
    assert!(long.to_string().len() < 500, "{long}");
}

/// Groups and accounts of thousands of members cost no more than their size.
#[test]
fn edges_do_not_multiply() {
    let mut set: Vec<Object> = (0..3000)
        .map(|n| {
            let annotations = json!({
                "kapp.k14s.io/change-group": if n < 1500 { "a" } else { "b" },
                "kapp.k14s.io/change-rule": if n < 1500 { "upsert before upserting b" } else { "upsert after upserting a" },
            });
            object(&format!("Deployment.apps/d{n}"), &annotations, &pods(&json!({"serviceAccountName": "x"})))
        })
        .collect();
    set.extend((0..3000).map(|n| {
        object(
            &format!("RoleBinding.rbac.authorization.k8s.io/b{n}"),
            &json!({}),
            &json!({"subjects": [{"kind": "ServiceAccount", "name": "x"}]}),
        )
    }));
    let sizes: Vec<_> = plan(&set, "shop")
        .unwrap()
        .batches
        .iter()
        .map(|batch| batch.members.len())
        .collect();
    assert_eq!(sizes, [3000, 1500, 1500]);
}
