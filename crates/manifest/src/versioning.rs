//! Names of ConfigMaps and Secrets that change with their content.
//!
//! A pod that names `settings-3f0c9a12de` keeps reading what it was started with, a change of content
//! rolls out like a change of image, and a rollback brings the old content back with the old pods.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::annotations;
use crate::hash;
use crate::object::{Object, ObjectId, map_at};
use crate::path::{self, Step};
use crate::references::{self, ConfigKind};

/// Annotation that keeps the name the author gave.
pub const ORIGINAL_NAME: &str = "sortie.dev/original-name";

/// What is appended to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Ten hexadecimal digits of a hash of the content: equal content keeps its name, and nothing
    /// restarts.
    ContentHash,
    /// The number of the release: every release has its own copy.
    ReleaseNumber(u64),
}

/// What [`version`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versioned {
    /// Objects under the suffixed name, in the order of the set.
    pub renames: Vec<Rename>,
    /// Places that seem to name a renamed object but are unknown to Kubernetes itself, so that they
    /// were left alone; worth a warning. At most 100.
    pub mentions: Vec<Mention>,
    /// Places that an object declares with its annotations and that name nothing: malformed, or
    /// without a text at that place. Worth a warning.
    pub idle: Vec<IdlePlace>,
}

/// One object's old and new name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// What was renamed.
    pub kind: ConfigKind,
    /// Its namespace.
    pub namespace: String,
    /// The name the author gave.
    pub from: String,
    /// The name it is deployed under.
    pub to: String,
}

/// A field that still holds the old name of a renamed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The object with the field.
    pub object: ObjectId,
    /// The field, such as `spec.secretName`.
    pub path: String,
    /// What it seems to name.
    pub kind: ConfigKind,
    /// The old name.
    pub name: String,
}

/// A declared place without an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdlePlace {
    /// The object with the annotation.
    pub object: ObjectId,
    /// The place as written.
    pub place: String,
}

/// Renames the ConfigMaps and Secrets of a set and rewrites what names them.
///
/// Objects without a namespace count as being in `namespace`. Left alone are objects with the
/// `skip-versioning` annotation, and Secrets that a controller finds by name or fills in
/// (service-account and bootstrap tokens). References are rewritten only where they name an object
/// of this set, at the places of [`references`]. Doing it twice changes nothing.
pub fn version(objects: &mut [Object], namespace: &str, scheme: Scheme) -> Versioned {
    suffix_names(objects, namespace, |object| {
        let skipped = annotations::is_set(object, annotations::SKIP_VERSIONING);
        (!skipped).then(|| suffix(object, scheme))
    })
}

/// Appends `side` to the names that [`version`] has left alone, and rewrites what names them: copies of workloads that run
/// beside the originals read their own configuration. Secrets that a controller finds by name keep it. Doing it twice
/// changes nothing.
pub fn separate(objects: &mut [Object], namespace: &str, side: &str) -> Versioned {
    suffix_names(objects, namespace, |object| {
        let versioned = object.annotation(ORIGINAL_NAME).is_some();
        (!versioned).then(|| side.to_owned())
    })
}

/// Gives the ConfigMaps and Secrets for which there is a suffix a name with it.
fn suffix_names(
    objects: &mut [Object],
    namespace: &str,
    suffix_of: impl Fn(&Object) -> Option<String>,
) -> Versioned {
    let mut versioned = Versioned::default();
    let mut names = HashMap::new();
    for object in objects.iter_mut() {
        let kind = ConfigKind::of(object).filter(|_| !is_token(object));
        let Some((kind, suffix)) = kind.zip(suffix_of(object)) else {
            continue;
        };
        let original = original_name(object).to_owned();
        let current = object.name().to_owned();
        let to = suffixed(&original, &suffix);
        if object.set_name(&to).is_err() {
            continue;
        }
        object.set_annotation(ORIGINAL_NAME, &original);
        let place = object.namespace().unwrap_or(namespace).to_owned();
        names.insert((kind, place.clone(), current), to.clone());
        versioned.renames.push(Rename {
            kind,
            namespace: place,
            from: original,
            to,
        });
    }
    // The name that an object had until now means that object, even where it is the original name
    // of another: `a-1` made from `a` beside an `a-1` of the author.
    for rename in &versioned.renames {
        let from = (rename.kind, rename.namespace.clone(), rename.from.clone());
        names.entry(from).or_insert_with(|| rename.to.clone());
    }
    for object in objects.iter_mut() {
        let home = object.namespace().unwrap_or(namespace).to_owned();
        references::rename(object, &mut |kind, stated, name| {
            let place = stated.unwrap_or(&home).to_owned();
            names.get(&(kind, place, name.to_owned())).cloned()
        });
    }
    versioned.mentions = mentions(objects, namespace, &versioned.renames);
    for object in objects.iter() {
        let places = references::idle_places(object);
        versioned.idle.extend(places.into_iter().map(|place| {
            let object = object.id();
            IdlePlace { object, place }
        }));
    }
    versioned
}

/// Live names by kind, namespace and versioned name.
pub type KeptNames = HashMap<(ConfigKind, String, String), String>;

/// Gives an object in `namespace` its live name back, and its references those of what they name: the reverse of
/// [`version`] for content that pods read under another name already. Whether anything changed.
pub fn keep(object: &mut Object, namespace: &str, names: &KeptNames) -> bool {
    let mut changed = false;
    if let Some(kind) = ConfigKind::of(object) {
        let versioned = (kind, namespace.to_owned(), object.name().to_owned());
        if let Some(live) = names.get(&versioned)
            && object.set_name(live).is_ok()
        {
            changed = true;
            if object.annotation(ORIGINAL_NAME) == Some(live) {
                let metadata = map_at(object.value_mut(), "metadata");
                map_at(metadata, "annotations").shift_remove(ORIGINAL_NAME);
            }
        }
    }
    references::rename(object, &mut |kind, stated, name| {
        let place = stated.unwrap_or(namespace).to_owned();
        let live = names.get(&(kind, place, name.to_owned())).cloned();
        changed |= live.is_some();
        live
    });
    changed
}

/// Hash of what an application can read from a ConfigMap or Secret: `data`, `binaryData`,
/// `stringData`, `type` and `immutable`, in ten hexadecimal digits. The two ways of writing the
/// same Secret, plain or base64, have the same hash.
pub fn content_hash(object: &Object) -> String {
    let value = object.value();
    let is_secret = ConfigKind::of(object) == Some(ConfigKind::Secret);
    let mut data = value
        .get("data")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    if let (true, Some(Value::Object(texts))) = (is_secret, value.get("stringData")) {
        for (key, text) in texts {
            let encoded = match text {
                Value::String(text) => {
                    Value::String(base64::engine::general_purpose::STANDARD.encode(text))
                }
                other => other.clone(),
            };
            data.insert(key.clone(), encoded);
        }
    }
    let mut content = Map::new();
    content.insert("data".to_owned(), Value::Object(data));
    let field = |key: &str| value.get(key).filter(|value| !value.is_null());
    if let Some(binary) =
        field("binaryData").filter(|value| value.as_object().is_none_or(|map| !map.is_empty()))
    {
        content.insert("binaryData".to_owned(), binary.clone());
    }
    if let Some(kind) = field("type").filter(|value| value.as_str() != Some("Opaque")) {
        content.insert("type".to_owned(), kind.clone());
    }
    if let Some(immutable) = field("immutable").filter(|value| value.as_bool() != Some(false)) {
        content.insert("immutable".to_owned(), immutable.clone());
    }
    let mut digits = hash::value(&Value::Object(content));
    digits.truncate(10);
    digits
}

/// The name the author gave: the recorded one if the current name was made from it.
pub fn original_name(object: &Object) -> &str {
    let name = object.name();
    object
        .annotation(ORIGINAL_NAME)
        .filter(|original| {
            name.rsplit_once('-').is_some_and(|(base, suffix)| {
                !original.is_empty() && suffixed(original, suffix) == name && !base.is_empty()
            })
        })
        .unwrap_or(name)
}

/// A Secret that a controller finds by its name or fills in.
fn is_token(object: &Object) -> bool {
    let kind = object.value().get("type").and_then(Value::as_str);
    matches!(
        kind,
        Some("kubernetes.io/service-account-token" | "bootstrap.kubernetes.io/token")
    )
}

fn suffix(object: &Object, scheme: Scheme) -> String {
    match scheme {
        Scheme::ContentHash => content_hash(object),
        Scheme::ReleaseNumber(number) => number.to_string(),
    }
}

/// `name-suffix`, the name cut so that the whole fits the limit for names, 253 bytes.
fn suffixed(name: &str, suffix: &str) -> String {
    let room = 253_usize.saturating_sub(suffix.len() + 1);
    let mut end = name.len().min(room);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let base = if end < name.len() {
        name[..end].trim_end_matches(['-', '.'])
    } else {
        name
    };
    format!("{base}-{suffix}")
}

fn mentions(objects: &[Object], namespace: &str, renames: &[Rename]) -> Vec<Mention> {
    let old: HashSet<_> = renames
        .iter()
        .filter(|rename| rename.from != rename.to)
        .map(|rename| (rename.namespace.as_str(), rename.kind, rename.from.as_str()))
        .collect();
    let mut found = Vec::new();
    for object in objects
        .iter()
        .filter(|object| ConfigKind::of(object).is_none())
    {
        let home = object.namespace().unwrap_or(namespace);
        let mut search = |kind: ConfigKind, name: &str, trail: &[Step<'_>]| {
            if found.len() < 100 && old.contains(&(home, kind, name)) {
                found.push(Mention {
                    object: object.id(),
                    path: path::write(trail),
                    kind,
                    name: name.to_owned(),
                });
            }
        };
        for (key, value) in object.value().iter().filter(|(key, _)| *key != "metadata") {
            search_in(value, &mut vec![Step::key(key)], kind_of(key), &mut search);
        }
    }
    found
}

/// What is called with each text: what it seems to name, and where it stands.
type Search<'s> = dyn FnMut(ConfigKind, &str, &[Step<'_>]) + 's;

/// Looks for texts below a key whose name speaks of a Secret or a ConfigMap.
fn search_in<'v>(
    value: &'v Value,
    trail: &mut Vec<Step<'v>>,
    kind: Option<ConfigKind>,
    search: &mut Search<'_>,
) {
    let mut inside = |step: Step<'v>, item: &'v Value, kind| {
        trail.push(step);
        search_in(item, trail, kind, search);
        trail.pop();
    };
    match value {
        Value::String(text) => {
            if let Some(kind) = kind {
                search(kind, text, trail);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                inside(Step::Index(index), item, kind);
            }
        }
        Value::Object(map) => {
            // `kind: Secret` beside a name speaks as clearly as a key does.
            let said = map.get("kind").and_then(Value::as_str).and_then(kind_of);
            for (key, item) in map {
                inside(Step::key(key), item, kind_of(key).or(said).or(kind));
            }
        }
        _ => {}
    }
}

fn kind_of(key: &str) -> Option<ConfigKind> {
    let key = key.to_lowercase();
    if key.contains("secret") {
        Some(ConfigKind::Secret)
    } else if key.contains("configmap") {
        Some(ConfigKind::ConfigMap)
    } else {
        None
    }
}
