//! How durations are written, in flags and in manifests.

use std::time::Duration;

/// Longest duration that can be written. Far beyond any use, and small enough that no sum of times overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads a duration greater than zero: `200ms`, `3s`, `10m`, `1h`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a duration that may be `0s`.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    let malformed = || "write a duration like 200ms, 3s, 10m or 1h30m".to_owned();
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(malformed()),
        };
        // Largest unit first and each once, so that `1m1m` and `30m1h` are seen as the slips they are.
        if number.is_empty() || milliseconds >= smaller_than {
            return Err(malformed());
        }
        smaller_than = milliseconds;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
        total = part
            .and_then(|part| total.checked_add(Duration::from_millis(part)))
            .filter(|total| *total <= LONGEST)
            .ok_or("must be at most 8760h (a year)")?;
        rest = tail;
    }
    if text.is_empty() { Err(malformed()) } else { Ok(total) }
}
