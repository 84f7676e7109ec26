//! The table that a run ends with, on the screen and in `docs/performance.md`.

use std::{fmt::Write as _, fs, io::Write as _, path::Path, time::Instant};

use crate::Sizes;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// What was measured so far.
pub struct Report {
    begin: Instant,
    heading: String,
    ratios: String,
    facts: String,
}

impl Report {
    /// An empty one.
    pub fn new(sizes: &Sizes) -> Self {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory.split_whitespace().nth(1).and_then(|it| it.parse::<f64>().ok()).unwrap_or_default();
        let heading = format!(
            "Machine: {processors} processors, {:.0} GiB, which also run the API server, etcd and the cloud. The cloud \
             takes {} ms for a change. {} repetitions; medians.",
            memory / 1024.0 / 1024.0,
            sizes.latency.as_millis(),
            sizes.repetitions,
        );
        Self { begin: Instant::now(), heading, ratios: String::new(), facts: String::new() }
    }

    /// Tells the person at the screen.
    pub fn say(&self, text: &str) {
        // A closed screen is no reason to stop measuring.
        let _ = writeln!(std::io::stderr(), "[{:4.0} s] {text}", self.begin.elapsed().as_secs_f64());
    }

    /// A measure beside its limit, with the ratio that is to be reached.
    pub fn compare(&mut self, what: &str, ours: &str, limit: &str, ratio: f64, goal: f64) {
        let met = if ratio <= goal { "yes" } else { "**no**" };
        self.say(&format!("{what}: {ours} beside {limit}: {ratio:.2} (goal {goal:.2})"));
        let _ = writeln!(self.ratios, "| {what} | {ours} | {limit} | {ratio:.2} | ≤ {goal:.2} | {met} |");
    }

    /// A measure with a limit of its own.
    pub fn bound(&mut self, what: &str, ours: f64, unit: &str, goal: f64) {
        let met = if ours <= goal { "yes" } else { "**no**" };
        self.say(&format!("{what}: {ours:.1} {unit} (goal {goal:.0})"));
        let _ = writeln!(self.ratios, "| {what} | {ours:.1} {unit} | – | – | ≤ {goal:.0} {unit} | {met} |");
    }

    /// A measure without a goal.
    pub fn fact(&mut self, what: &str, value: &str) {
        self.say(&format!("{what}: {value}"));
        let _ = writeln!(self.facts, "| {what} | {value} |");
    }

    /// Prints the table and puts it into the page.
    pub fn finish(self) {
        let Self { heading, ratios, facts, .. } = self;
        let table = format!(
            "{heading}\n\n| measure | operator | bare writer | ratio | goal | met |\n| --- | --- | --- | --- | --- | --- |\n\
             {ratios}\n| also measured | |\n| --- | --- |\n{facts}"
        );
        let _ = std::io::stdout().write_all(table.as_bytes());
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/performance.md");
        let text = fs::read_to_string(&page).expect("docs/performance.md is there");
        let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
        let (_, after) = rest.split_once(END).expect("the place for the table has an end");
        fs::write(page, format!("{before}{BEGIN}\n\n{table}\n{END}{after}")).expect("the page can be written");
    }
}

/// The middle of some numbers; of an even number of them, the mean of the two in the middle.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (upper, lower) = (sorted.len() / 2, sorted.len().saturating_sub(1) / 2);
    match (sorted.get(lower), sorted.get(upper)) {
        (Some(lower), Some(upper)) => f64::midpoint(*lower, *upper),
        _ => f64::NAN,
    }
}

/// The number that this part of some numbers does not exceed.
pub fn percentile(numbers: &[f64], part: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    // A place in a list of at most some thousand samples.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
    let place = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(place - 1).copied().unwrap_or(f64::NAN)
}
