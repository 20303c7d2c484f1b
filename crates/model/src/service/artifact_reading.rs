//! Reading artifacts.

use std::collections::HashSet;

use super::reading::unique;
use super::{Artifact, ArtifactSpec, Artifacts, DockerImage, PrimaryArtifact};
use crate::entity::Kind;
use crate::field::{Field, TextField};
use crate::parse;
use crate::path;
use crate::position::Located;
use crate::problem::Code;
use crate::reader::fields::unknown_value;
use crate::reader::{Context, Fields};

const LATER_ARTIFACTS: [&str; 17] = [
    "Ecr",
    "Gcr",
    "Acr",
    "GoogleArtifactRegistry",
    "Har",
    "ArtifactoryRegistry",
    "Nexus3Registry",
    "Nexus2Registry",
    "GithubPackageRegistry",
    "AzureArtifacts",
    "AmazonS3",
    "GoogleCloudStorage",
    "Jenkins",
    "Bamboo",
    "CustomArtifact",
    "AmazonMachineImage",
    "GoogleCloudSource",
];

impl Artifacts {
    pub(crate) fn read(spec: &mut Fields<'_>, cx: &mut Context<'_>) -> Self {
        let Some(mut fields) = spec.map("artifacts", cx) else {
            return Self::default();
        };
        let primary = fields.map("primary", cx).and_then(|mut primary| {
            let read = PrimaryArtifact::read(&mut primary, cx);
            primary.finish(cx);
            read
        });
        let mut seen = HashSet::new();
        let mut sidecars = Vec::new();
        for (node, path) in fields.items("sidecars", cx) {
            let Some(mut item) = Fields::open(node, path, cx) else {
                continue;
            };
            let inner = item.required_map("sidecar", cx);
            item.finish(cx);
            if let Some(mut inner) = inner {
                sidecars.extend(Artifact::read(&mut inner, &mut seen, cx));
                inner.finish(cx);
            }
        }
        fields.accept(&["metadata"]);
        fields.finish(cx);
        Self { primary, sidecars }
    }
}

impl PrimaryArtifact {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        if fields.node("sources").is_none() && fields.node("type").is_some() {
            let position = fields.position;
            let spec = ArtifactSpec::read(fields, cx)?;
            let chosen = Located {
                value: Field::Value("primary".to_owned()),
                position,
            };
            let identifier = Located {
                value: "primary".to_owned(),
                position,
            };
            return Some(Self {
                chosen,
                sources: vec![Artifact { identifier, spec }],
            });
        }
        let chosen = fields.required_text("primaryArtifactRef", cx);
        let mut seen = HashSet::new();
        let mut sources = Vec::new();
        let items = fields.items("sources", cx);
        let complete = items.len();
        if items.is_empty() && fields.node("sources").is_none_or(|node| node.is_empty()) {
            fields.missing("sources", cx);
        }
        for (node, path) in items {
            let Some(mut item) = Fields::open(node, path, cx) else {
                continue;
            };
            sources.extend(Artifact::read(&mut item, &mut seen, cx));
            item.finish(cx);
        }
        let chosen = chosen?;
        if let Field::Value(name) = &chosen.value
            && sources.len() == complete
            && complete > 0
            && !sources
                .iter()
                .any(|source: &Artifact| source.identifier.value == *name)
        {
            let message = format!(
                "no source has the identifier `{}`; name one of `sources`",
                path::clip(name)
            );
            cx.error(
                Code::InvalidReference,
                &fields.path_of("primaryArtifactRef"),
                chosen.position,
                message,
            );
        }
        Some(Self { chosen, sources })
    }
}

impl Artifact {
    fn read(
        fields: &mut Fields<'_>,
        seen: &mut HashSet<String>,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let identifier = parse::identifier(fields, cx);
        if let Some(identifier) = &identifier {
            unique(
                seen,
                identifier,
                "artifact",
                &fields.path_of("identifier"),
                cx,
            );
        }
        fields.accept(&["name"]);
        let spec = if fields.node("template").is_some() {
            fields.not_runnable(&["template"], cx);
            Some(ArtifactSpec::Unsupported {
                artifact_type: "template".to_owned(),
            })
        } else {
            ArtifactSpec::read(fields, cx)
        };
        Some(Self {
            identifier: identifier?,
            spec: spec?,
        })
    }
}

impl ArtifactSpec {
    fn read(fields: &mut Fields<'_>, cx: &mut Context<'_>) -> Option<Self> {
        let kind = fields.required_fixed_text("type", cx);
        fields.accept(&["spec"]);
        let kind = kind?;
        let path = fields.path_of("type");
        if kind.value != "DockerRegistry" {
            if !LATER_ARTIFACTS.contains(&kind.as_str()) {
                unknown_value(
                    &path,
                    &kind,
                    &[&["DockerRegistry"], LATER_ARTIFACTS.as_slice()].concat(),
                    cx,
                );
                return None;
            }
            let message = format!(
                "artifacts of type `{}` are kept, and cannot be deployed yet",
                kind.value
            );
            cx.not_runnable(Code::NotRunnable, &path, kind.position, message);
            return Some(Self::Unsupported {
                artifact_type: kind.value,
            });
        }
        let mut spec = fields.required_map("spec", cx)?;
        let connector = spec.required_reference("connectorRef", Kind::Connector, cx);
        let image_path = spec.required_text("imagePath", cx);
        let non_empty = |field: &TextField| !field.value.text().is_empty();
        let digest = spec.text("digest", cx).filter(non_empty);
        let by_pattern = spec.node("tagRegex").is_some_and(|node| !node.is_empty());
        spec.not_runnable(&["tagRegex"], cx);
        let tag = spec.text("tag", cx).filter(non_empty);
        match (&tag, by_pattern) {
            (None, false) => spec.missing("tag", cx),
            (Some(tag), true) => {
                let message = "`tag` and `tagRegex` exclude each other; remove one";
                cx.error(Code::Conflict, &spec.path_of("tag"), tag.position, message);
            }
            _ => {}
        }
        spec.finish(cx);
        if tag.is_none() && !by_pattern {
            return None;
        }
        Some(Self::DockerRegistry(DockerImage {
            connector: connector?,
            image_path: image_path?,
            tag,
            digest,
        }))
    }
}
