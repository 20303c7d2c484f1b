//! Weights of destinations.

use super::error::RoutingError;
use super::request::{Destination, Services};
use crate::weights::{WeightError, normalised, rescaled};

/// The percents of a route's destinations. Where none has a weight, all get the same.
///
/// # Errors
/// All weights are 0, or there are too many destinations.
pub fn percents(route: &str, destinations: &[Destination]) -> Result<Vec<u32>, RoutingError> {
    let given = destinations.iter().map(|one| one.weight);
    let weights: Vec<u32> = if given.clone().all(|weight| weight.is_none()) {
        vec![1; destinations.len()]
    } else {
        given.map(|weight| weight.unwrap_or(0)).collect()
    };
    normalised(&weights).map_err(of_route(route))
}

/// New percents of a rule's backends, where backend `index` of `named` gets that weight and the others share the rest as
/// they did. Named ones that ask for more than everything, or have nobody beside them, share everything among themselves.
pub(super) fn shifted(
    route: &str,
    current: &[u32],
    named: &[(usize, u32)],
) -> Result<Vec<u32>, RoutingError> {
    let sum: u64 = named.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if sum > 100 || named.len() == current.len() {
        let weights: Vec<u32> = named.iter().map(|(_, weight)| *weight).collect();
        let shares = normalised(&weights).map_err(of_route(route))?;
        let mut percents = vec![0; current.len()];
        for ((index, _), share) in named.iter().zip(shares) {
            percents[*index] = share;
        }
        return Ok(percents);
    }
    let names: Vec<String> = (0..current.len()).map(|index| index.to_string()).collect();
    let current: Vec<(&str, u32)> = names
        .iter()
        .map(String::as_str)
        .zip(current.iter().copied())
        .collect();
    let named: Vec<(&str, u32)> = named
        .iter()
        .filter_map(|(index, weight)| Some((names.get(*index)?.as_str(), *weight)))
        .collect();
    rescaled(&current, &named).map_err(of_route(route))
}

/// The Services of a route's destinations.
pub(super) fn service<'a>(
    route: &str,
    destination: &'a Destination,
    services: &'a Services,
) -> Result<&'a str, RoutingError> {
    services
        .named(&destination.host)
        .ok_or_else(|| RoutingError::Unresolved {
            route: route.to_owned(),
            word: destination.host.clone(),
        })
}

fn of_route(route: &str) -> impl Fn(WeightError) -> RoutingError {
    move |source| RoutingError::Weights {
        route: route.to_owned(),
        source,
    }
}
