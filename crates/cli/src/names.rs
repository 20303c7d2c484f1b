//! Names that become part of addresses and of other names: checked before anybody is asked about them.

use sortie_cluster::record;

/// Longest name of a namespace.
const LONGEST: usize = 63;

/// Reads the name of a namespace, for clap: a DNS label (RFC 1123), as Kubernetes has it.
///
/// # Errors
/// The text cannot be the name of a namespace.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = text.len() <= LONGEST
        && text.starts_with(outer)
        && text.ends_with(outer)
        && text.chars().all(|c| outer(c) || c == '-');
    if is_label {
        return Ok(text.to_owned());
    }
    Err(
        "a namespace has 1 to 63 lower-case letters, digits and `-`, the first and last no `-`"
            .to_owned(),
    )
}

/// Reads the name of a release, for clap.
///
/// # Errors
/// The text cannot be the name of a release.
pub(crate) fn release(text: &str) -> Result<String, String> {
    record::Release::new("default", text)
        .map(|release| release.name().to_owned())
        .map_err(|_| {
            "a release name has 1 to 63 lower-case letters, digits, `-` and `.`, each part beginning and ending \
             with a letter or digit"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_accepts() {
        let long = "a".repeat(63);
        for good in ["a", "shop", "shop-2", "0-a", &long] {
            assert_eq!(namespace(good).as_deref(), Ok(good));
            assert_eq!(release(good).as_deref(), Ok(good));
        }
        let longer = "a".repeat(64);
        let bad = [
            "", "../../x", "a/b", "a%2fb", "Bad Ns", "-a", "a-", "A", "ä", "a_b", "a b", "a\n",
            "..", &longer,
        ];
        for bad in bad {
            assert!(namespace(bad).is_err(), "{bad:?}");
            assert!(release(bad).is_err(), "{bad:?}");
        }
        assert!(namespace("a.b").is_err());
        assert_eq!(release("a.b").as_deref(), Ok("a.b"));
    }
}
