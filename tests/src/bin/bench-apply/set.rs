//! The objects that are applied.

use serde_json::{Value, json};

/// Kinds and how many of a hundred objects are of each, in the order of writing.
const MIX: [(&str, usize); 7] = [
    ("ConfigMap", 40),
    ("Secret", 20),
    ("Service", 15),
    ("ServiceAccount", 10),
    ("Role", 5),
    ("RoleBinding", 5),
    ("Deployment", 5),
];

/// Characters that bring an object to about 1.5 KiB.
const FILLING: usize = 1100;

/// A set of `size` objects of the mix. With `changed`, one in a thousand has another value.
pub(crate) fn objects(size: usize, changed: bool) -> Vec<Value> {
    let mut slots: Vec<&str> = Vec::with_capacity(100);
    // Spread over the hundred, so that small sets have every kind as well.
    for step in 0..100 {
        for (kind, share) in MIX {
            if (step * share) % 100 < share {
                slots.push(kind);
            }
        }
    }
    (0..size)
        .filter_map(|n| Some((n, *slots.get(n % slots.len())?)))
        .map(|(n, kind)| object(kind, n, changed && n % 1000 == 0))
        .collect()
}

/// One ConfigMap of text that does not compress, so that the set is larger than `bytes` in any form.
pub(crate) fn incompressible(bytes: usize) -> Vec<Value> {
    const PIECE: usize = 256 * 1024;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut letters = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let alphabet = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
        char::from(alphabet[usize::try_from(seed % 64).unwrap_or_default()])
    };
    (0..bytes.div_ceil(PIECE))
        .map(|n| {
            let text: String = (0..PIECE).map(|_| letters()).collect();
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("noise-{n}")}, "data": {"noise": text}})
        })
        .collect()
}

/// A stream of documents; JSON is YAML.
pub(crate) fn stream(objects: &[Value]) -> String {
    objects
        .iter()
        .map(|object| format!("---\n{object}\n"))
        .collect()
}

fn object(kind: &str, n: usize, changed: bool) -> Value {
    let name = format!("bench-{n:05}");
    let text = filling(n, changed);
    let metadata = json!({"name": name, "labels": {"app.kubernetes.io/part-of": "bench"}});
    let filled = json!({"name": name, "labels": {"app.kubernetes.io/part-of": "bench"}, "annotations": {"example.com/text": text}});
    match kind {
        "ConfigMap" => {
            json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"text": text}})
        }
        "Secret" => {
            json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "stringData": {"text": text}})
        }
        "Service" => json!({"apiVersion": "v1", "kind": kind, "metadata": filled,
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
        "ServiceAccount" => json!({"apiVersion": "v1", "kind": kind, "metadata": filled}),
        "Role" => {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": filled,
                "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]})
        }
        "RoleBinding" => {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": filled,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name}]})
        }
        _ => json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": filled,
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "registry.example.com/web:1", "ports": [{"containerPort": 8080}]}]}}}}),
    }
}

/// Words, different in each object.
fn filling(n: usize, changed: bool) -> String {
    let mut text = format!("object {n}{} ", if changed { " changed" } else { "" });
    let mut word = n;
    while text.len() < FILLING {
        word = word.wrapping_mul(1_103_515_245).wrapping_add(12_345) % 65_536;
        text.push_str(&format!("line {word} of the settings\n"));
    }
    text
}
