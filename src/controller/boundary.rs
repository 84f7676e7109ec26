//! What a pass cannot get out of: a panic or its deadline ends the pass, and nothing but the pass.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;

/// Why a pass did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A bug of ours.
    #[error("a pass panicked; this is a bug, please report it")]
    Panicked,
    /// It took longer than everything in it may take together.
    #[error("a pass was cut off at its deadline")]
    TimedOut,
}

/// Runs a pass to its end, but no longer than `deadline`.
pub fn within<T>(deadline: Duration, pass: impl Future<Output = T>) -> impl Future<Output = Result<T, Broken>> {
    // Not an async function, which would keep the place of a second, large pass beside the one that it runs.
    tokio::time::timeout(deadline, AssertUnwindSafe(pass).catch_unwind()).map(|ended| match ended {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(_)) => Err(Broken::Panicked),
        Err(_) => Err(Broken::TimedOut),
    })
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn panic_of_a_pass_and_one_that_hangs_end_with_it() {
        assert_eq!(within(DEADLINE, future::ready(1)).await, Ok(1));
        let panics = async { panic!("a bug") };
        assert_eq!(within::<()>(DEADLINE, panics).await, Err(Broken::Panicked));
        assert_eq!(within(DEADLINE, future::pending::<()>()).await, Err(Broken::TimedOut));
    }
}
