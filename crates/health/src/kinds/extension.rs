//! What extends the API: CustomResourceDefinition and APIService.

use serde_json::Value;

use crate::read::condition;
use crate::verdict::Verdict;

pub(super) fn definition(object: &Value) -> Verdict {
    if condition(object, "Terminating").is_some_and(|it| it.is_true()) {
        return Verdict::progressing("is being deleted");
    }
    if let Some(names) = condition(object, "NamesAccepted")
        && names.is_false()
    {
        return Verdict::degraded(names.explain());
    }
    if let Some(schema) = condition(object, "NonStructuralSchema")
        && schema.is_true()
    {
        return Verdict::degraded(schema.explain());
    }
    match condition(object, "Established") {
        Some(established) if established.is_true() => Verdict::healthy("established"),
        Some(established) if established.is_false() && established.reason() != "Installing" => {
            Verdict::degraded(established.explain())
        }
        _ => Verdict::progressing("not established yet"),
    }
}

pub(super) fn api_service(object: &Value) -> Verdict {
    match condition(object, "Available") {
        Some(available) if available.is_true() => Verdict::healthy("available"),
        Some(available) => Verdict::progressing(format!("not available: {}", available.explain())),
        None => Verdict::progressing("not available yet"),
    }
}
