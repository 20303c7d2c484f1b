//! What a step tells, so that it fits into one message.

use serde_json::Value;

/// Most bytes of a step's outputs. They travel in one message of the session, which has a limit of 1 MiB.
const LIMIT: usize = 768 * 1024;

/// The member that names what was left out.
const LEFT_OUT: &str = "leftOut";

/// Outputs as JSON. Members for which there is no room are left out, the largest first, and named in `leftOut`: a
/// manifest, or the differences of a very large set. They are in the step's log.
pub(super) fn fitting(mut outputs: Value) -> String {
    let mut text = outputs.to_string();
    let mut left_out = Vec::new();
    while text.len() > LIMIT {
        let Some(members) = outputs.as_object_mut() else {
            return Value::Null.to_string();
        };
        let size = |value: &Value| value.to_string().len();
        let sizes = members.iter().filter(|(key, _)| *key != LEFT_OUT);
        let largest = sizes.max_by_key(|(_, value)| size(value));
        let Some(key) = largest.map(|(key, _)| key.clone()) else {
            return Value::Null.to_string();
        };
        members.shift_remove(&key);
        left_out.push(key);
        members.insert(LEFT_OUT.to_owned(), left_out.clone().into());
        text = outputs.to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_is_told_whole() {
        let outputs = json!({"releaseName": "web", "objects": [1, 2]});
        assert_eq!(fitting(outputs.clone()), outputs.to_string());
    }

    #[test]
    fn the_largest_members_are_left_out_and_named() {
        let outputs = json!({
            "releaseName": "web",
            "small": "x".repeat(400 * 1024),
            "large": "x".repeat(500 * 1024),
            "manifest": "x".repeat(5 * 1024 * 1024),
        });
        let text = fitting(outputs);
        assert!(text.len() <= LIMIT);
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["releaseName"], "web");
        assert_eq!(told["leftOut"], json!(["manifest", "large"]));
        assert_eq!(told["small"].as_str().unwrap().len(), 400 * 1024);
        assert_eq!(fitting(json!("x".repeat(LIMIT))), "null");
    }
}
