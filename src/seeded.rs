//! Known mistakes, switched on one at a time to see that the tests notice. They exist in builds for tests alone, those of
//! the unit tests and those with the feature `seeded-bugs`: everywhere else [`seeded`] is the constant `false`.
//!
//! Most were found in operators of this kind; each is one condition at the place where it would be made.
//! `hack/test-seeded` runs the tests once with each, named by `SEEDED_BUG`, and fails where they pass.

/// The mistakes. The name of each is what `SEEDED_BUG` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An account of the right name counts as ours.
    AdoptedByName,
    /// Status of another object of the same name is believed: compared by name, not by uid.
    StatusOfAnotherObject,
    /// A journal entry that was copied from another object is believed.
    IntentOfAnotherObject,
    /// A forged journal entry is believed.
    SealNotChecked,
    /// The call goes out before the journal says so.
    CallBeforeIntent,
    /// A call whose answer was lost is repeated.
    RepeatedOnTimeout,
    /// A young list that does not show an account proves that it is not there.
    YoungListBelieved,
    /// A job that is not shown yet was never accepted.
    YoungJobNeverWas,
    /// A job whose record may have expired was never accepted.
    OldJobNeverWas,
    /// A list that failed is an empty list.
    ErrorIsAbsence,
    /// Ready as soon as the job is accepted.
    ReadyBeforeJobEnds,
    /// A failed job is one that has ended.
    FailedJobIsSuccess,
    /// A password that was changed while nobody looked is noted, and not set.
    RotationMissed,
    /// Any new version of the Secret is a new password.
    VersionIsPassword,
    /// Under a new operator key every password is a new one.
    NewKeyIsChange,
    /// A missing Secret is a reason to do something.
    RecreatedWithoutPassword,
    /// What was deleted to be made again is forgotten when the policy changes in between.
    RecreationForgotten,
    /// The object goes while its create is in doubt, and nobody looks for the account.
    OrphanedByCrash,
    /// A delete that failed is a delete.
    FailedDeletionReleases,
    /// `deletionPolicy: Retain` is not looked at.
    RetainIgnored,
    /// `suspend` is not looked at.
    SuspendIgnored,
    /// The reference now means another instance, and nobody notices.
    OtherInstanceUsed,
    /// Status is written in every pass.
    StatusAlwaysWritten,
    /// The transition time of a condition is that of its last write.
    TransitionTimeMoves,
    /// The line break that `echo` leaves behind is cut off in silence.
    LineBreakCutOff,
    /// A list that lags hides what this process has just done.
    OwnChangesForgotten,
    /// A change may be what finds out whether a cloud in trouble is well again.
    ChangeProbesBreaker,
}

/// Whether this mistake is to be made.
#[cfg(any(test, feature = "seeded-bugs"))]
pub(crate) fn seeded(bug: Bug) -> bool {
    static SEEDED: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| std::env::var("SEEDED_BUG").ok());
    SEEDED.as_deref().is_some_and(|seeded| seeded == format!("{bug:?}"))
}

/// Whether this mistake is to be made: never.
#[cfg(not(any(test, feature = "seeded-bugs")))]
pub(crate) const fn seeded(_: Bug) -> bool {
    false
}
