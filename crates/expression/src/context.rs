//! What names mean.

use serde_json::Value;

/// Gives names their values.
pub trait Context {
    /// The value of a path such as `["service", "name"]`. Indexes are elements too: `list[1]` is `["list", "1"]`.
    /// A string that holds expressions is evaluated in turn. Never called with an empty path.
    fn resolve(&self, path: &[String]) -> Lookup;

    /// Calls `functor.function(arguments)`, or `function(arguments)` with an empty functor. `Ok(None)`: there is
    /// no such function. Asked before the built-in functions, so that a context may replace them.
    ///
    /// # Errors
    /// One line that says why the call failed, without secrets.
    fn call(
        &self,
        functor: &str,
        function: &str,
        arguments: &[Value],
    ) -> Result<Option<Lookup>, String> {
        let _ = (functor, function, arguments);
        Ok(None)
    }
}

/// What a context knows about a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// Its value.
    Value(Value),
    /// There is no such name.
    Undefined,
    /// The name will have a value later in the execution.
    Deferred,
    /// The name stands for the secret with this identifier, such as `account.token`.
    Secret(String),
}

impl Lookup {
    /// Looks up the rest of a path inside a value: keys of maps, indexes of lists.
    pub fn within(value: &Value, path: &[String]) -> Self {
        let mut value = value;
        for name in path {
            let inner = match value {
                Value::Object(map) => map.get(name),
                Value::Array(list) => name.parse::<usize>().ok().and_then(|i| list.get(i)),
                _ => None,
            };
            match inner {
                Some(inner) => value = inner,
                None => return Self::Undefined,
            }
        }
        Self::Value(value.clone())
    }
}

/// A context that is one JSON object: its keys are the roots.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonContext(Value);

impl JsonContext {
    /// Everything that is not in `roots` is undefined.
    pub fn new(roots: Value) -> Self {
        Self(roots)
    }
}

impl Context for JsonContext {
    fn resolve(&self, path: &[String]) -> Lookup {
        Lookup::within(&self.0, path)
    }
}
