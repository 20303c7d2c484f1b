/// The path of a field inside a document, written as people and the API server write it:
/// `spec.containers[0].env[name=A].value`, and `labels["app.kubernetes.io/name"]` for a key that
/// is not a plain word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '$'));
        let path = &self.0;
        Self(match (plain, path.is_empty()) {
            (true, true) => key.to_owned(),
            (true, false) => format!("{path}.{key}"),
            (false, _) => format!("{path}[{key:?}]"),
        })
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(crate) fn named(&self, name: &str) -> Self {
        Self(format!("{}[name={name}]", self.0))
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}
