//! Fields that kubectl has set by themselves, and that stay in what a release takes over.

use std::collections::BTreeMap;

use sortie_cluster::apply::Planned;

use crate::report::Unit;
use crate::run::Run;

/// Fields of an object that are named; more are counted.
const NAMED: usize = 5;

/// Say what stays of it, and what to do about it.
pub(super) fn tell(run: &Run<'_>, unit: Unit, planned: &[Planned]) {
    for planned in planned {
        for line in lines(planned) {
            run.warn(unit, format!("{}: {line}", planned.target.id));
        }
    }
}

/// What stays in an object that is taken over, manager by manager.
pub(crate) fn lines(planned: &Planned) -> Vec<String> {
    let mut managers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in planned.remaining() {
        managers.entry(one.manager).or_default().push(one.path);
    }
    let line = |(manager, mut paths): (String, Vec<String>)| {
        let more = paths.len().saturating_sub(NAMED);
        paths.truncate(NAMED);
        if more > 0 {
            paths.push(format!("{more} more fields"));
        }
        let paths = paths.join(", ");
        format!(
            "{manager} has set {paths}, which the manifest does not name: it stays as it is; name it in the manifest, or take it away by kubectl"
        )
    };
    managers.into_iter().map(line).collect()
}
