//! An account that is as the manifest says: what is still to be done around it before the pass ends.

use super::{Situation, Step, Verdict};

impl Situation<'_> {
    /// Ends the pass of an account that is in order.
    #[expect(clippy::unused_self, reason = "what it asks for comes with logins and connection Secrets")]
    pub(super) fn ready(&self, verdict: Verdict) -> Step {
        verdict.step()
    }
}
