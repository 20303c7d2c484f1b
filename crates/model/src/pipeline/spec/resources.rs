//! Which objects a step is about.

use crate::field::{Field, FlagField, ListField, TextField};
use crate::path;
use crate::problem::Code;
use crate::reader::{Context, Fields};

/// Which objects a step is about.
#[derive(Clone, Debug)]
pub enum Resources {
    /// `ResourceName`: each `[namespace/]Kind/name`.
    Names(ListField),
    /// `ManifestPath`: the objects of manifests.
    Manifests(ManifestPaths),
    /// `ReleaseName`: the objects of the release.
    Release {
        /// Namespaces of the release too.
        delete_namespace: Option<FlagField>,
    },
}

/// Which manifests of the service.
#[derive(Clone, Debug)]
pub enum ManifestPaths {
    /// `allManifestPaths: true`
    All,
    /// `manifestPaths`, relative to the folder of the manifests; at least one.
    Some(ListField),
}

/// The types of resources; a step may lack some.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Names,
    Manifests,
    Release,
}

impl Resources {
    /// Reads the field `name`, which is required.
    pub(super) fn required(
        spec: &mut Fields<'_>,
        name: &'static str,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        const TYPES: [(&str, Kind); 3] = [
            ("ResourceName", Kind::Names),
            ("ManifestPath", Kind::Manifests),
            ("ReleaseName", Kind::Release),
        ];
        let mut fields = spec.required_map(name, cx)?;
        let kind = fields.required_choice("type", &TYPES, cx);
        let optional = kind == Some(Kind::Release);
        let inner = match optional {
            true => fields.map("spec", cx),
            false => fields.required_map("spec", cx),
        };
        fields.finish(cx);
        let kind = kind?;
        let Some(mut inner) = inner else {
            return optional.then_some(Self::Release {
                delete_namespace: None,
            });
        };
        let read = match kind {
            Kind::Names => names(&mut inner, cx).map(Self::Names),
            Kind::Manifests => ManifestPaths::read(&mut inner, cx).map(Self::Manifests),
            Kind::Release => Some(Self::Release {
                delete_namespace: inner.flag("deleteNamespace", cx),
            }),
        };
        inner.finish(cx);
        read
    }
}

impl ManifestPaths {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let all = fields
            .fixed_flag("allManifestPaths", cx)
            .unwrap_or_default();
        if !all {
            return paths(fields, "manifestPaths", cx).map(Self::Some);
        }
        if fields
            .node("manifestPaths")
            .is_some_and(|node| !node.is_empty())
        {
            let message =
                "`manifestPaths` and `allManifestPaths: true` exclude each other; remove one";
            let path = fields.path_of("manifestPaths");
            cx.error(
                Code::Conflict,
                &path,
                fields.position_of("manifestPaths"),
                message,
            );
        }
        Some(Self::All)
    }
}

/// A required list of paths that stay below their folder.
pub(super) fn paths(
    fields: &mut Fields<'_>,
    name: &'static str,
    cx: &mut Context<'_>,
) -> Option<ListField> {
    let paths = required_list(fields, name, cx)?;
    for path in paths.value.value().into_iter().flatten() {
        crate::service::manifest_reading::check_relative(path, &fields.path_of(name), cx);
    }
    Some(paths)
}

fn names(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<ListField> {
    let names = required_list(fields, "resourceNames", cx)?;
    let path = fields.path_of("resourceNames");
    for (index, name) in names.value.value().into_iter().flatten().enumerate() {
        check_object(name, &path::item(&path, index), cx);
    }
    Some(names)
}

/// A list with at least one item, or an expression.
fn required_list(
    fields: &mut Fields<'_>,
    name: &'static str,
    cx: &mut Context<'_>,
) -> Option<ListField> {
    let list = fields.texts(name, cx);
    if list.value.value().is_some_and(Vec::is_empty) {
        fields.missing(name, cx);
        return None;
    }
    Some(list)
}

/// A required `[namespace/]Kind/name`, or an expression.
pub(super) fn object(
    fields: &mut Fields<'_>,
    name: &'static str,
    cx: &mut Context<'_>,
) -> Option<TextField> {
    let field = fields.required_text(name, cx)?;
    check_object(&field, &fields.path_of(name), cx);
    Some(field)
}

fn check_object(field: &TextField, path: &str, cx: &mut Context<'_>) {
    let Field::Value(text) = &field.value else {
        return;
    };
    let parts: Vec<&str> = text.split('/').map(str::trim).collect();
    let message = if text.contains('*') {
        format!(
            "`{}` names objects by a pattern, which is not possible; name each one",
            path::clip(text)
        )
    } else if !(2..=3).contains(&parts.len()) || parts.iter().any(|part| part.is_empty()) {
        format!(
            "`{}` names no object; write `Kind/name` or `namespace/Kind/name`",
            path::clip(text)
        )
    } else {
        return;
    };
    cx.error(Code::InvalidValue, path, field.position, message);
}
