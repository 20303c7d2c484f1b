//! Is an object healthy, and if not, why?
//!
//! Three layers, each a pure function or state machine over untyped JSON objects; time comes in as an argument:
//!
//! 1. [`assess`] gives a [`Verdict`] for one object, by the rules of its kind. [`assess_after`] counts a verdict
//!    only when the object was read at or after our own write, and [`assess_with`] adds what the caller knows
//!    from elsewhere ([`Facts`]). A user's own rule for the object or its kind ([`Rule`], [`ClusterRules`]) comes before.
//! 2. [`diagnosis`] looks at a workload together with the pods of its *new* revision and finds out early, on a
//!    budget, that it will never get there: an image that does not exist, a crash loop, a probe that keeps failing.
//! 3. [`steady`] joins the two for whoever waits: go on waiting, reached, or failed and why.
//!
//! `docs/health.md` lists every rule.

mod cel;
pub mod diagnosis;
mod kinds;
mod line;
mod read;
mod rules;
pub mod steady;
mod verdict;
mod written;

pub use kinds::{Facts, VolumeBinding, assess, assess_with, selects};
pub use line::squeezed;
pub use rules::{ClusterRules, Rule, RuleError};
pub use verdict::{Status, Verdict};
pub use written::{Written, assess_after};
