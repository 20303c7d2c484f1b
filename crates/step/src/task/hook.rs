//! Hooks of a service.

/// A script that runs around what a step does with the manifests of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHook {
    /// Its identifier, for people.
    pub id: String,
    /// Whether it runs before or after its actions.
    pub time: HookTime,
    /// What it runs around.
    pub actions: Vec<HookAction>,
    /// For bash, with the expressions as they are written.
    pub script: String,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookTime {
    /// Before the action.
    Before,
    /// After the action, when it went well.
    After,
}

/// What a hook runs around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAction {
    /// Manifests and values files are brought to the delegate.
    FetchFiles,
    /// Manifests are rendered.
    TemplateManifest,
    /// What was written becomes healthy.
    SteadyStateCheck,
}

impl HookAction {
    /// Its name in the YAML of a service.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FetchFiles => "FetchFiles",
            Self::TemplateManifest => "TemplateManifest",
            Self::SteadyStateCheck => "SteadyStateCheck",
        }
    }
}
