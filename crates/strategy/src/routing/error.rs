//! What cannot be routed as asked.

use thiserror::Error;

use crate::weights::WeightError;

/// Why a route cannot be as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoutingError {
    /// The router has no such condition.
    #[error("{kind} cannot match {rule} by {how} (route {route})")]
    Unsupported {
        /// Kind of the object.
        kind: &'static str,
        /// The route's name.
        route: String,
        /// The condition's name.
        rule: &'static str,
        /// How it is compared.
        how: &'static str,
        /// What could be asked for instead.
        instead: &'static str,
    },
    /// A word that stands for a Service, of which there is none.
    #[error("there is no Service that \"{word}\" stands for (route {route})")]
    Unresolved {
        /// The route's name.
        route: String,
        /// The word.
        word: String,
    },
    /// A host that the router cannot lead to.
    #[error("{kind} leads to Services of its own namespace, not to {host:?} (route {route})")]
    Host {
        /// Kind of the object.
        kind: &'static str,
        /// The route's name.
        route: String,
        /// The host.
        host: String,
    },
    /// The port of a Service is not known.
    #[error("the port of the Service {service} is not known (route {route})")]
    NoPort {
        /// The route's name.
        route: String,
        /// The Service.
        service: String,
    },
    /// Nothing is asked for, or something that every route needs is missing.
    #[error("{what}")]
    Incomplete {
        /// What is missing.
        what: String,
    },
    /// The weights make no shares.
    #[error("the weights of route {route} make no shares")]
    Weights {
        /// The route's name.
        route: String,
        /// Why.
        #[source]
        source: WeightError,
    },
    /// Other backends have weights, beside which these shares cannot be told in whole numbers.
    #[error(
        "beside its other backends, {object} cannot give {percent} % of {whole} in whole numbers"
    )]
    Coarse {
        /// `Kind/name`.
        object: String,
        /// The share.
        percent: u32,
        /// What is shared.
        whole: u64,
    },
    /// No route has the name, and none has these destinations.
    #[error("{object} has no route {route} with {}", .hosts.join(", "))]
    NoSuchRoute {
        /// `Kind/name`, or where it was looked for.
        object: String,
        /// The route's name.
        route: String,
        /// The destinations.
        hosts: Vec<String>,
    },
    /// The object is not as its kind says.
    #[error("{object} has no usable {field}")]
    Malformed {
        /// `Kind/name`.
        object: String,
        /// The field.
        field: &'static str,
    },
    /// Requests would go to nobody.
    #[error("the Service {service} is to get requests, and has no ready endpoint")]
    Deserted {
        /// The Service.
        service: String,
    },
    /// Somebody else decides what the object says.
    #[error("{object} is managed by {by}")]
    Managed {
        /// `Kind/name`.
        object: String,
        /// Who.
        by: String,
    },
}

impl RoutingError {
    /// Its stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } | Self::Host { .. } => "SRT-P001",
            Self::Unresolved { .. } | Self::NoPort { .. } => "SRT-P002",
            Self::Incomplete { .. } | Self::Weights { .. } => "SRT-P003",
            Self::NoSuchRoute { .. } | Self::Malformed { .. } | Self::Coarse { .. } => "SRT-P004",
            Self::Managed { .. } => "SRT-P005",
            Self::Deserted { .. } => "SRT-P006",
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unsupported { instead, .. } => instead,
            Self::Host { .. } => "name a Service of the release's namespace",
            Self::Unresolved { .. } => {
                "deploy the stable and the new Service first, or name the Services themselves"
            }
            Self::NoPort { .. } => "deploy the Service first, or give the destination its port",
            Self::Incomplete { .. } => "complete the step's trafficRouting",
            Self::Weights { .. } => {
                "give each destination a weight from 0 to 100, one of them more than 0"
            }
            Self::Coarse { .. } => "let the weights of the route's backends make 100",
            Self::NoSuchRoute { .. } => {
                "use the name of a route that an earlier step made, or the destinations of one that is there"
            }
            Self::Malformed { .. } => "mend the object",
            Self::Deserted { .. } => {
                "look at the Service's selector and at the pods that it should reach; deploy them first"
            }
            Self::Managed { .. } => {
                "let one of them decide: set the annotation sortie.dev/managed: \"true\" on the object, or change it where it is managed"
            }
        }
    }
}
