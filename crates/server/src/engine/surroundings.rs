//! The service, the environment and the infrastructure of a stage, read into the roots.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};
use sortie_model::connector::{ClusterCredential, ConnectorSpec};
use sortie_model::infrastructure::InfrastructureSpec;
use sortie_model::service::image::image_name;
use sortie_model::service::{
    Artifact, ArtifactSpec, DeploymentType, DockerImage, Manifest, ManifestSpec, ServiceDefinition,
    ServiceHook,
};
use sortie_model::{EntitySpec, Kind};
use sortie_store::Scope;

use super::compile::{self, reference};
use super::fault::Fault;
use super::library::{Found, Library};
use super::parameters::StageParameters;
use super::roots::{Roots, variables};

/// What a stage deploys and where to.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The manifests of the service.
    pub manifests: Vec<Manifest>,
    /// The hooks of the service.
    pub hooks: Vec<ServiceHook>,
    /// Where the service lives: its references start from there.
    pub service_scope: Scope,
    /// Names the service: scope and identifier.
    pub service_id: String,
    /// Names the environment.
    pub environment_id: String,
    /// Names the infrastructure.
    pub infrastructure_id: String,
    /// Namespace to deploy to.
    pub namespace: String,
    /// Name of the release.
    pub release_name: String,
    /// Selectors of the cluster's connector.
    pub selectors: Vec<String>,
}

/// Reads the entities of a stage and adds `env`, `service`, `serviceVariables`, `artifacts`,
/// `manifests` and `infra` to the roots.
pub(super) async fn read(
    library: &Library<'_>,
    scope: &Scope,
    stage: &StageParameters,
    roots: &mut Roots,
) -> Result<Surroundings, Fault> {
    let environment_ref = roots.text("environmentRef", &stage.environment)?;
    let environment = library
        .find(Kind::Environment, &environment_ref, scope, "")
        .await?;
    add_environment(&environment, &environment_ref, roots)?;
    let service_ref = roots.text("serviceRef", &stage.service)?;
    let service = library.find(Kind::Service, &service_ref, scope, "").await?;
    let definition = add_service(library, &service, roots).await?;
    let infrastructure_ref = roots.text("infrastructure identifier", &stage.infrastructure)?;
    let infrastructure = library
        .find(
            Kind::Infrastructure,
            &infrastructure_ref,
            &environment.scope,
            &environment.entity.identifier,
        )
        .await?;
    let target =
        add_infrastructure(library, &infrastructure, &service, &environment, roots).await?;
    Ok(Surroundings {
        manifests: definition.manifests,
        hooks: definition.hooks,
        service_id: qualified(&service),
        service_scope: service.scope,
        environment_id: qualified(&environment),
        infrastructure_id: qualified(&infrastructure),
        namespace: target.namespace,
        release_name: target.release_name,
        selectors: target.selectors,
    })
}

struct Target {
    namespace: String,
    release_name: String,
    selectors: Vec<String>,
}

fn add_environment(found: &Found, reference: &str, roots: &mut Roots) -> Result<(), Fault> {
    let EntitySpec::Environment(environment) = &found.entity.spec else {
        return Err(other_kind(Kind::Environment, found));
    };
    roots.set(
        "env",
        json!({
            "identifier": found.entity.identifier,
            "name": found.entity.name,
            "description": found.entity.description,
            "type": environment.environment_type.as_str(),
            "tags": found.entity.tags,
            "environmentRef": reference,
            "variables": variables(&compile::variables(&environment.variables)),
        }),
    );
    Ok(())
}

async fn add_service(
    library: &Library<'_>,
    found: &Found,
    roots: &mut Roots,
) -> Result<ServiceDefinition, Fault> {
    let EntitySpec::Service(service) = &found.entity.spec else {
        return Err(other_kind(Kind::Service, found));
    };
    let Some(definition) = service.definition.clone() else {
        return Err(Fault::mismatch(format!(
            "service `{}` has no serviceDefinition, so there is nothing to deploy",
            found.entity.identifier
        )));
    };
    roots.set(
        "service",
        json!({
            "identifier": found.entity.identifier,
            "name": found.entity.name,
            "description": found.entity.description,
            "type": deployment_type(&definition.deployment_type),
            "tags": found.entity.tags,
            "gitOpsEnabled": false,
        }),
    );
    roots.set(
        "serviceVariables",
        variables(&compile::variables(&definition.variables)),
    );
    let manifests: Map<String, Value> = definition
        .manifests
        .iter()
        .map(|manifest| {
            let identifier = manifest.identifier.value.clone();
            let kind = match &manifest.spec {
                ManifestSpec::K8sManifest { .. } => "K8sManifest",
                ManifestSpec::Values { .. } => "Values",
                ManifestSpec::Unsupported { manifest_type } => manifest_type,
            };
            let value = json!({"identifier": identifier, "type": kind});
            (identifier, value)
        })
        .collect();
    roots.set("manifests", manifests.into());
    let artifacts = artifacts(library, found, &definition, roots).await?;
    if let Some(primary) = artifacts.get("primary") {
        roots.set("artifact", primary.clone());
    }
    roots.set("artifacts", artifacts);
    Ok(definition)
}

async fn artifacts(
    library: &Library<'_>,
    service: &Found,
    definition: &ServiceDefinition,
    roots: &Roots,
) -> Result<Value, Fault> {
    let mut value = Map::new();
    if let Some(primary) = &definition.artifacts.primary {
        let chosen = roots.text("primaryArtifactRef", primary.chosen.text())?;
        let source = primary
            .sources
            .iter()
            .find(|source| source.identifier.value == chosen)
            .ok_or_else(|| {
                Fault::mismatch(format!(
                    "service `{}` has no artifact source `{chosen}`, which primaryArtifactRef names",
                    service.entity.identifier
                ))
            })?;
        value.insert(
            "primary".to_owned(),
            artifact(library, service, source, roots).await?,
        );
    }
    let mut sidecars = Map::new();
    for sidecar in &definition.artifacts.sidecars {
        let described = artifact(library, service, sidecar, roots).await?;
        sidecars.insert(sidecar.identifier.value.clone(), described);
    }
    if !sidecars.is_empty() {
        value.insert("sidecars".to_owned(), sidecars.into());
    }
    Ok(value.into())
}

async fn artifact(
    library: &Library<'_>,
    service: &Found,
    artifact: &Artifact,
    roots: &Roots,
) -> Result<Value, Fault> {
    let identifier = &artifact.identifier.value;
    match &artifact.spec {
        ArtifactSpec::DockerRegistry(image) => {
            docker_image(library, service, identifier, image, roots).await
        }
        ArtifactSpec::Unsupported { artifact_type } => Err(Fault::not_runnable(format!(
            "artifact `{identifier}` is of type {artifact_type}, which cannot be run yet"
        ))),
    }
}

/// An image. Its parts keep their expressions; they are resolved by whoever uses them.
async fn docker_image(
    library: &Library<'_>,
    service: &Found,
    identifier: &str,
    image: &DockerImage,
    roots: &Roots,
) -> Result<Value, Fault> {
    let connector_ref = roots.text("connectorRef", &reference(&image.connector.value))?;
    let connector = library
        .find(Kind::Connector, &connector_ref, &service.scope, "")
        .await?;
    let EntitySpec::Connector(spec) = &connector.entity.spec else {
        return Err(other_kind(Kind::Connector, &connector));
    };
    let ConnectorSpec::DockerRegistry(registry) = &spec.spec else {
        return Err(Fault::mismatch(format!(
            "artifact `{identifier}` needs a DockerRegistry connector, and `{connector_ref}` is of another type"
        )));
    };
    let url = roots.text("dockerRegistryUrl", registry.url.text())?;
    let written = [
        image.image_path.text(),
        image.tag.as_ref().map_or("", |tag| tag.text()),
        image.digest.as_ref().map_or("", |digest| digest.text()),
    ];
    let [path, tag, digest] = written.map(|part| {
        roots.text("artifact", part).unwrap_or_else(|_| {
            // Not used, not failed: it stays as written and fails where it is used.
            part.to_owned()
        })
    });
    let set = |text: &str| !text.is_empty();
    let name = image_name(
        &url,
        &path,
        Some(tag.as_str()).filter(|tag| set(tag)),
        Some(digest.as_str()).filter(|digest| set(digest)),
    );
    Ok(json!({
        "identifier": identifier,
        "type": "DockerRegistry",
        "connectorRef": connector_ref,
        "imagePath": path,
        "tag": tag,
        "version": tag,
        "digest": digest,
        "image": name,
    }))
}

async fn add_infrastructure(
    library: &Library<'_>,
    found: &Found,
    service: &Found,
    environment: &Found,
    roots: &mut Roots,
) -> Result<Target, Fault> {
    let EntitySpec::Infrastructure(infrastructure) = &found.entity.spec else {
        return Err(other_kind(Kind::Infrastructure, found));
    };
    let identifier = &found.entity.identifier;
    let InfrastructureSpec::KubernetesDirect {
        connector,
        namespace,
        release_name,
    } = &infrastructure.spec
    else {
        return Err(Fault::not_runnable(format!(
            "infrastructure `{identifier}` is of a type that cannot be run yet"
        )));
    };
    let scoped = roots.list(
        "scopedServices",
        &compile::list(&infrastructure.scoped_services),
    )?;
    if !scoped.is_empty() && !scoped.contains(&service.entity.identifier) {
        return Err(Fault::mismatch(format!(
            "infrastructure `{identifier}` takes only the services {}, not `{}`",
            scoped.join(", "),
            service.entity.identifier
        )));
    }
    let connector_ref = roots.text("connectorRef", &reference(&connector.value))?;
    let (connector, selectors) = cluster(library, found, &connector_ref, roots).await?;
    let namespace = roots.text("namespace of the infrastructure", namespace.text())?;
    let key = infrastructure_key(service, environment, &connector_ref, &namespace);
    let short = key.get(..6).unwrap_or(&key).to_owned();
    roots.set("INFRA_KEY", key.clone().into());
    roots.set("INFRA_KEY_SHORT_ID", short.clone().into());
    let mut value = json!({
        "infraIdentifier": identifier,
        "identifier": identifier,
        "name": found.entity.name,
        "tags": found.entity.tags,
        "connectorRef": connector_ref,
        "connector": {
            "identifier": connector.entity.identifier,
            "name": connector.entity.name,
            "description": connector.entity.description,
        },
        "namespace": namespace,
        "infrastructureKey": key,
        "infrastructureKeyShortId": short,
        "environment": {
            "identifier": environment.entity.identifier,
            "name": environment.entity.name,
        },
    });
    roots.set("infra", value.clone());
    let release_name = roots.text("releaseName of the infrastructure", release_name.text())?;
    if let Some(infra) = value.as_object_mut() {
        infra.insert("releaseName".to_owned(), release_name.clone().into());
    }
    roots.set("infra", value);
    Ok(Target {
        namespace,
        release_name,
        selectors,
    })
}

/// The connector of an infrastructure, and the delegates that may use it.
async fn cluster(
    library: &Library<'_>,
    found: &Found,
    connector_ref: &str,
    roots: &Roots,
) -> Result<(Found, Vec<String>), Fault> {
    let connector = library
        .find(Kind::Connector, connector_ref, &found.scope, "")
        .await?;
    let EntitySpec::Connector(connector_spec) = &connector.entity.spec else {
        return Err(other_kind(Kind::Connector, &connector));
    };
    let ConnectorSpec::K8sCluster(ClusterCredential::InheritFromDelegate) = &connector_spec.spec
    else {
        return Err(Fault::mismatch(format!(
            "infrastructure `{}` needs a K8sCluster connector that inherits from the delegate, and `{connector_ref}` is none",
            found.entity.identifier
        )));
    };
    let selectors = roots.list(
        "delegateSelectors of the connector",
        &compile::list(&connector_spec.delegate_selectors),
    )?;
    Ok((connector, selectors))
}

/// A stable key of what is deployed where: hex, 40 digits.
fn infrastructure_key(
    service: &Found,
    environment: &Found,
    connector: &str,
    namespace: &str,
) -> String {
    let text = format!(
        "{}\n{}\n{connector}\n{namespace}",
        qualified(service),
        qualified(environment)
    );
    digest(&SHA256, text.as_bytes())
        .as_ref()
        .iter()
        .take(20)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Scope and identifier in one: `org.project.id`, `org.id`, or `id` at account level.
fn qualified(found: &Found) -> String {
    let Scope { org, project } = &found.scope;
    [
        org.as_deref(),
        project.as_deref(),
        Some(&found.entity.identifier),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(".")
}

fn deployment_type(kind: &DeploymentType) -> &str {
    match kind {
        DeploymentType::Kubernetes => "Kubernetes",
        DeploymentType::Unsupported(other) => other,
    }
}

fn other_kind(kind: Kind, found: &Found) -> Fault {
    Fault::not_runnable(format!(
        "the stored {kind} `{}` is of another kind; store it again",
        found.entity.identifier
    ))
}
