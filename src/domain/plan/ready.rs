//! An account that is as the manifest says: what is still to be done around it before the pass ends.

use super::{Situation, Step, Verdict};

impl Situation<'_> {
    /// Ends the pass of an account that is in order.
    pub(super) fn ready(&self, verdict: Verdict) -> Step {
        verdict.step()
    }
}
