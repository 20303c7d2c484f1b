//! Job and CronJob. A Job that runs is not done: only its conditions say so.

use serde_json::Value;

use crate::line::times;
use crate::read::{condition, count, flag, has, int, list, time};
use crate::verdict::Verdict;

pub(super) fn job(object: &Value) -> Verdict {
    for failure in ["Failed", "FailureTarget"] {
        if let Some(failed) = condition(object, failure)
            && failed.is_true()
        {
            return Verdict::degraded(failed.explain());
        }
    }
    let succeeded = count(object, "/status/succeeded");
    if condition(object, "Complete").is_some_and(|complete| complete.is_true()) {
        return Verdict::healthy(format!(
            "complete: succeeded {}",
            times(succeeded.max(1).unsigned_abs())
        ));
    }
    if flag(object, "/spec/suspend")
        || condition(object, "Suspended").is_some_and(|it| it.is_true())
    {
        return Verdict::suspended("suspended: the job runs when spec.suspend is removed");
    }
    if condition(object, "SuccessCriteriaMet").is_some_and(|met| met.is_true()) {
        return Verdict::progressing("has succeeded, its remaining pods are ending");
    }
    if !has(object, "/status/startTime") {
        return Verdict::progressing("not started yet");
    }
    let active = count(object, "/status/active");
    let failed = count(object, "/status/failed");
    let wanted = int(object, "/spec/completions")
        .or_else(|| int(object, "/spec/parallelism"))
        .unwrap_or(1);
    let failures = if failed > 0 {
        format!(", {failed} failed")
    } else {
        String::new()
    };
    Verdict::progressing(format!(
        "{succeeded} of {wanted} done, {active} running{failures}"
    ))
}

pub(super) fn cron_job(object: &Value) -> Verdict {
    if flag(object, "/spec/suspend") {
        return Verdict::suspended("suspended: no run is started until spec.suspend is removed");
    }
    let active = list(object, "/status/active").len();
    let Some(scheduled) = time(object, "/status/lastScheduleTime") else {
        return Verdict::healthy("has not run yet");
    };
    if active > 0 {
        return Verdict::healthy(format!("{active} running since {scheduled}"));
    }
    match time(object, "/status/lastSuccessfulTime") {
        None => Verdict::healthy(format!("last run at {scheduled}, none has succeeded yet")),
        Some(success) if success < scheduled => Verdict::degraded(format!(
            "the run of {scheduled} did not succeed; last success at {success}"
        )),
        Some(success) => Verdict::healthy(format!("last run succeeded at {success}")),
    }
}
