//! The emulated clouds' own wall clock: the system's, or one that stands still, moved forward by tests.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use tokio::sync::watch;

/// Where the clock starts and whether it runs by itself.
#[derive(Clone, Copy, Debug, Default)]
pub enum ClockStart {
    /// The system's time, running.
    #[default]
    System,
    /// Stands at this moment and moves only by [`EmulatedClouds::advance_clock`](crate::EmulatedClouds::advance_clock).
    Stopped(Timestamp),
}

/// The clock of one emulation. Everything that waits, waits for this clock.
pub(crate) struct Clock {
    start: ClockStart,
    offset: watch::Sender<Duration>,
}

impl Clock {
    pub(crate) fn new(start: ClockStart) -> Self {
        Self { start, offset: watch::Sender::new(Duration::ZERO) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let base = match self.start {
            ClockStart::System => Timestamp::now(),
            ClockStart::Stopped(at) => at,
        };
        base + *self.offset.borrow()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.offset.send_modify(|offset| *offset += by);
    }

    /// Returns once the clock shows `at` or later.
    pub(crate) async fn sleep_until(&self, at: Timestamp) {
        let mut offset = self.offset.subscribe();
        loop {
            offset.mark_unchanged();
            let Ok(left) = Duration::try_from(at.duration_since(self.now())) else { return };
            if left.is_zero() {
                return;
            }
            let running = async {
                match self.start {
                    ClockStart::System => tokio::time::sleep(left).await,
                    ClockStart::Stopped(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = running => {}
                _ = offset.changed() => {}
            }
        }
    }
}

/// `2022-01-04T08:57:03Z`, the form of QingCloud's times.
pub(crate) const SECONDS: &str = "%Y-%m-%dT%H:%M:%SZ";
/// `20250102T030405Z`, the form of `X-Sdk-Date`.
pub(crate) const COMPACT: &str = "%Y%m%dT%H%M%SZ";
/// `2020-01-04T09:05:22.701000Z`, the form of IAM's times.
pub(crate) const MICROSECONDS: &str = "%Y-%m-%dT%H:%M:%S.%6fZ";
/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form of the `Date` header.
pub(crate) const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";

/// Reads a UTC time that is written exactly in this form.
pub(crate) fn parse_exactly(form: &str, text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime(form, text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (time.strftime(form).to_string() == text).then_some(time)
}
