//! Labels that mark the objects and pods of a release.

use serde_json::{Map, Value};

use crate::hash;
use crate::object::{Object, map_at};
use crate::workload;

/// Label on every object and pod of a release: [`release_id`].
pub const RELEASE: &str = "sortie.dev/release";
/// Label on pods and workloads that run beside others of their release: `stable` or `canary`.
pub const TRACK: &str = "sortie.dev/track";
/// Label on pods, workloads and Services of a release with two sides: `blue` or `green`.
pub const COLOR: &str = "sortie.dev/color";
/// What older manifests and objects carry in place of [`TRACK`].
pub const OLDER_TRACK: &str = "harness.io/track";
/// What older manifests and objects carry in place of [`COLOR`].
pub const OLDER_COLOR: &str = "harness.io/color";
/// Annotation with the release's own name, for people: `namespace/name`.
pub const RELEASE_NAME: &str = "sortie.dev/release-name";

/// What [`stamp`] writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Namespace of the infrastructure that the release belongs to.
    pub namespace: String,
    /// Name of the release.
    pub release: String,
    /// `stable` or `canary`, where the release has both.
    pub track: Option<String>,
    /// `blue` or `green`, where the release has both.
    pub color: Option<String>,
}

/// The value of the [`RELEASE`] label: 32 hexadecimal digits that stand for the pair of
/// infrastructure namespace and release name, whatever characters and length these have.
pub fn release_id(namespace: &str, release: &str) -> String {
    let mut id = hash::digest(format!("{namespace}\n{release}").as_bytes());
    id.truncate(32);
    id
}

/// `stable` or `canary`, as the object's own labels say, ours before the older one.
pub fn track(object: &Object) -> Option<&str> {
    object.label(TRACK).or_else(|| object.label(OLDER_TRACK))
}

/// `blue` or `green`, as the object's own labels say, ours before the older one.
pub fn color(object: &Object) -> Option<&str> {
    object.label(COLOR).or_else(|| object.label(OLDER_COLOR))
}

/// The side that a Service selects: the key of its selector and the color. A selector that was made
/// with the older label keeps it.
pub fn selected_color(service: &Object) -> Option<(&'static str, &str)> {
    let selector = service.value().get("spec")?.get("selector")?;
    [COLOR, OLDER_COLOR]
        .into_iter()
        .find_map(|key| Some((key, selector.get(key)?.as_str()?)))
}

/// Marks an object, and the pod template of a workload, as part of a release.
///
/// Selectors are left alone: they are immutable in most kinds, and what they select does not
/// change by labels that are added.
pub fn stamp(object: &mut Object, marks: &Marks) {
    object.set_label(RELEASE, &release_id(&marks.namespace, &marks.release));
    object.set_annotation(
        RELEASE_NAME,
        &format!("{}/{}", marks.namespace, marks.release),
    );
    if workload::pod_template(object).is_some() || workload::is_workload(object) {
        for (key, value) in sides(marks) {
            object.set_label(key, value);
        }
    }
    if let Some(template) = workload::pod_template_mut(object) {
        let labels = map_at(map_at(template, "metadata"), "labels");
        set(
            labels,
            RELEASE,
            &release_id(&marks.namespace, &marks.release),
        );
        for (key, value) in sides(marks) {
            set(labels, key, value);
        }
    }
}

fn sides(marks: &Marks) -> impl Iterator<Item = (&'static str, &str)> {
    [
        (TRACK, marks.track.as_deref()),
        (COLOR, marks.color.as_deref()),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?)))
}

fn set(labels: &mut Map<String, Value>, key: &str, value: &str) {
    labels.insert(key.to_owned(), Value::String(value.to_owned()));
}
