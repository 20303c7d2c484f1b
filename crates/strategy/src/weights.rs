//! Shares of the traffic, in percent.

use std::collections::BTreeSet;

use thiserror::Error;

/// Why shares cannot be given out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WeightError {
    /// No destination, or no destination with a weight.
    #[error("no destination has a weight")]
    Nothing,
    /// More destinations with a weight than there are hundredths.
    #[error("{destinations} destinations are too many")]
    TooMany {
        /// How many.
        destinations: usize,
    },
    /// A destination that the route does not have.
    #[error("there is no destination {name} among {}", .known.join(", "))]
    Unknown {
        /// Its name.
        name: String,
        /// Those the route has.
        known: Vec<String>,
    },
    /// The same destination twice.
    #[error("destination {name} comes twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// The named ones ask for more than everything.
    #[error("together they are {sum}, more than 100")]
    Over {
        /// Their sum.
        sum: u64,
    },
    /// All are named, and they do not make a hundred.
    #[error("together they are {sum}, not 100")]
    NotAll {
        /// Their sum.
        sum: u64,
    },
}

/// Whole percents in proportion to `weights`, with the sum 100: each its proportion rounded down, and what is left one by one
/// to the largest remainders, the first of equal ones. Nothing stays nothing, and what had a weight keeps at least 1.
///
/// # Errors
/// There is no weight, or there are more than a hundred.
pub fn normalised(weights: &[u32]) -> Result<Vec<u32>, WeightError> {
    shared(weights, 100)
}

/// As [`normalised`], with the sum `whole`.
pub(crate) fn shared(weights: &[u32], whole: u32) -> Result<Vec<u32>, WeightError> {
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    if sum == 0 {
        return Err(WeightError::Nothing);
    }
    let destinations = weights.iter().filter(|weight| **weight > 0).count();
    if u32::try_from(destinations).unwrap_or(u32::MAX) > whole {
        return Err(WeightError::TooMany { destinations });
    }
    // Everyone's first percent is given before the rest is shared: a small weight is not rounded away.
    let mut given: Vec<u32> = weights
        .iter()
        .map(|weight| u32::from(*weight > 0))
        .collect();
    let part = |weight: u32| u64::from(weight) * u64::from(whole);
    for (given, weight) in given.iter_mut().zip(weights) {
        *given = (*given).max(u32::try_from(part(*weight) / sum).unwrap_or(whole));
    }
    // How far each is from its exact share, in units of 1/sum.
    let lack =
        |given: u32, weight: u32| i128::from(part(weight)) - i128::from(given) * i128::from(sum);
    loop {
        let total: u32 = given.iter().sum();
        let candidates = given.iter().zip(weights).enumerate();
        let candidates =
            candidates.map(|(index, (given, weight))| (index, *given, lack(*given, *weight)));
        if total < whole {
            let most = candidates.max_by_key(|(index, _, lack)| (*lack, std::cmp::Reverse(*index)));
            if let Some((index, ..)) = most {
                given[index] += 1;
            }
        } else if total > whole {
            let least = candidates
                .filter(|(_, given, _)| *given > 1)
                .min_by_key(|(index, _, lack)| (*lack, *index));
            match least {
                Some((index, ..)) => given[index] -= 1,
                None => return Err(WeightError::TooMany { destinations }),
            }
        } else {
            return Ok(given);
        }
    }
}

/// The named destinations get what they ask for, in percent; the others share the rest in the proportions they have, or
/// equally where none of them has any. Returns the percents of all, in the order of `current`.
///
/// # Errors
/// A name is unknown or comes twice, the named ones ask for more than everything, or leave something and nobody to get it.
pub fn rescaled(current: &[(&str, u32)], named: &[(&str, u32)]) -> Result<Vec<u32>, WeightError> {
    let mut seen = BTreeSet::new();
    for (name, _) in named {
        if !current.iter().any(|(known, _)| known == name) {
            let known = current
                .iter()
                .map(|(known, _)| (*known).to_owned())
                .collect();
            let name = (*name).to_owned();
            return Err(WeightError::Unknown { name, known });
        }
        if !seen.insert(*name) {
            return Err(WeightError::Twice {
                name: (*name).to_owned(),
            });
        }
    }
    let sum: u64 = named.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let rest = u32::try_from(sum)
        .ok()
        .and_then(|sum| 100_u32.checked_sub(sum));
    let rest = rest.ok_or(WeightError::Over { sum })?;
    let others: Vec<u32> = current
        .iter()
        .filter(|(name, _)| !seen.contains(name))
        .map(|(_, weight)| *weight)
        .collect();
    let others = match (others.is_empty(), rest) {
        (true, 0) => Vec::new(),
        (true, _) => return Err(WeightError::NotAll { sum }),
        (false, 0) => vec![0; others.len()],
        (false, _) if others.iter().all(|weight| *weight == 0) => {
            shared(&vec![1; others.len()], rest)?
        }
        (false, _) => shared(&others, rest)?,
    };
    let mut others = others.into_iter();
    let of = |name: &str| {
        named
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, weight)| *weight)
    };
    Ok(current
        .iter()
        .map(|(name, _)| of(name).or_else(|| others.next()).unwrap_or(0))
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_become_percents() {
        for (weights, expected) in [
            (&[1, 1][..], &[50, 50][..]),
            (&[1, 1, 1], &[34, 33, 33]),
            (&[2, 1], &[67, 33]),
            (&[100, 0], &[100, 0]),
            (&[9999, 1], &[99, 1]),
            (&[5], &[100]),
            (&[u32::MAX, u32::MAX], &[50, 50]),
            (&[1000, 1, 1, 1], &[97, 1, 1, 1]),
        ] {
            assert_eq!(normalised(weights).unwrap(), expected, "{weights:?}");
        }
        assert_eq!(normalised(&[0, 0]), Err(WeightError::Nothing));
        assert_eq!(normalised(&[]), Err(WeightError::Nothing));
        assert_eq!(
            normalised(&[1; 101]),
            Err(WeightError::TooMany { destinations: 101 })
        );
    }

    #[test]
    fn the_others_are_rescaled_in_proportion() {
        let three = [("a", 60), ("b", 30), ("c", 10)];
        for (current, named, expected) in [
            (&three[..], &[("a", 40)][..], &[40, 45, 15][..]),
            (&three, &[("a", 100)], &[100, 0, 0]),
            (&three, &[("c", 50), ("a", 20)], &[20, 30, 50]),
            (
                &[("stable", 100), ("canary", 0)],
                &[("canary", 10)],
                &[90, 10],
            ),
            (
                &[("stable", 0), ("canary", 100)],
                &[("canary", 40)],
                &[60, 40],
            ),
            (
                &[("a", 0), ("b", 0), ("c", 100)],
                &[("c", 50)],
                &[25, 25, 50],
            ),
            (&[("a", 7)], &[("a", 100)], &[100]),
            (&three, &[], &[60, 30, 10]),
        ] {
            assert_eq!(
                rescaled(current, named).unwrap(),
                expected,
                "{current:?} {named:?}"
            );
        }
        let known = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        assert_eq!(
            rescaled(&three, &[("d", 1)]),
            Err(WeightError::Unknown {
                name: "d".to_owned(),
                known
            })
        );
        assert_eq!(
            rescaled(&three, &[("a", 1), ("a", 2)]),
            Err(WeightError::Twice {
                name: "a".to_owned()
            })
        );
        assert_eq!(
            rescaled(&three, &[("a", 70), ("b", 31)]),
            Err(WeightError::Over { sum: 101 })
        );
        assert_eq!(
            rescaled(&[("a", 7)], &[("a", 99)]),
            Err(WeightError::NotAll { sum: 99 })
        );
    }

    proptest! {
        #[test]
        fn percents_make_a_hundred(weights in prop::collection::vec(0_u32..=2000, 1..=100)) {
            match normalised(&weights) {
                Err(error) => prop_assert_eq!(error, WeightError::Nothing),
                Ok(percents) => {
                    prop_assert_eq!(percents.iter().sum::<u32>(), 100);
                    for (percent, weight) in percents.iter().zip(&weights) {
                        prop_assert_eq!(*percent == 0, *weight == 0);
                    }
                    for (one, a) in percents.iter().zip(&weights) {
                        for (other, b) in percents.iter().zip(&weights) {
                            prop_assert!(a < b || one >= other || a == b && other - one <= 1, "{:?} {:?}", weights, percents);
                        }
                    }
                }
            }
        }

        #[test]
        fn what_is_named_is_given(weights in prop::collection::vec(0_u32..=100, 2..6), named in 0_u32..=100) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let current: Vec<(&str, u32)> = names.into_iter().zip(weights.iter().copied()).collect();
            // Fewer hundredths than others with a weight: refused, never rounded away.
            match rescaled(&current, &[("a", named)]) {
                Ok(percents) => {
                    prop_assert_eq!(percents[0], named);
                    prop_assert_eq!(percents.iter().sum::<u32>(), 100);
                }
                Err(error) => prop_assert!(matches!(error, WeightError::TooMany { .. }) && named > 94, "{:?}", error),
            }
        }
    }
}
