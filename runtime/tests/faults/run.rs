//! One run of one fault: how long it is, what is random in it, and the line that says how it went.

use std::{
    fs::OpenOptions,
    io::Write as _,
    ops::Range,
    time::{Duration, Instant},
};

use super::oracle::Verdict;

/// Where the progress of all runs is appended, when the environment names nothing else.
const PROGRESS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/faults.progress");

/// A run under way.
pub struct Run {
    name: &'static str,
    seed: u64,
    state: u64,
    is_long: bool,
    tried: u64,
    started: Instant,
}

impl Run {
    /// The environment says how long (`FAULTS_SCALE=long`) and with which seed (`FAULTS_SEED`).
    pub fn new(name: &'static str) -> Self {
        let seed = std::env::var("FAULTS_SEED").map_or(1, |seed| {
            seed.parse()
                .unwrap_or_else(|error| panic!("FAULTS_SEED={seed}: {error}"))
        });
        let run = Self {
            name,
            seed,
            // Two faults with one seed do not draw the same numbers.
            state: name.bytes().fold(seed, |state, byte| {
                state.wrapping_mul(31).wrapping_add(byte.into())
            }),
            is_long: std::env::var("FAULTS_SCALE").is_ok_and(|scale| scale == "long"),
            tried: 0,
            started: Instant::now(),
        };
        run.note("begins");
        run
    }

    /// What a short run, an ordinary test, does, and what a long one.
    pub fn scaled<T>(&self, short: T, long: T) -> T {
        if self.is_long { long } else { short }
    }

    /// The fault was provoked once more.
    pub fn tried(&mut self) {
        self.tried += 1;
        self.note(&format!("tried {}", self.tried));
    }

    /// A number in the range, drawn from the seed (splitmix64).
    pub fn draw(&mut self, range: Range<u64>) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.state;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        range.start + number % (range.end - range.start)
    }

    /// A time up to `longest`.
    pub fn moment(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap();
        Duration::from_micros(self.draw(0..micros.max(1)))
    }

    /// Prints the one line of this run, and fails when an id is missing or more came twice than may.
    pub fn finish(&self, what: &str, verdict: &Verdict, most: u64) {
        let line = self.finish_lossy(what, verdict, most);
        assert_complete(&line, verdict);
    }

    /// As [`Run::finish`], where something may be missing. Returns the line.
    pub fn finish_lossy(&self, what: &str, verdict: &Verdict, most: u64) -> String {
        let line = self.line(what, verdict, &format!("at most {most}"));
        assert!(verdict.duplicated <= most, "{line}");
        line
    }

    /// As [`Run::finish`], where each of so many deaths may make so many messages come again.
    pub fn finish_each(&self, what: &str, verdict: &Verdict, deaths: u64, each: u64) {
        let (most, at_once) = (deaths * each, verdict.at_once);
        let bounds = format!("at most {most}; at once {at_once} of {each}");
        let line = self.line(what, verdict, &bounds);
        assert!(verdict.duplicated <= most && at_once <= each, "{line}");
        assert_complete(&line, verdict);
    }

    fn line(&self, what: &str, verdict: &Verdict, bounds: &str) -> String {
        let Verdict {
            ids,
            missing,
            duplicated,
            ..
        } = verdict;
        let line = format!(
            "{}{what}: tried {}, ids {ids}, missing {}, duplicated {duplicated} ({bounds}), seed {}, {:.0?}",
            self.name,
            self.tried,
            missing.len(),
            self.seed,
            self.started.elapsed(),
        );
        self.print(&line);
        assert!(*ids > 0 && self.tried > 0, "nothing was tried: {line}");
        line
    }

    #[expect(clippy::print_stdout, reason = "the line is what a run is for")]
    fn print(&self, line: &str) {
        println!("{line}");
        self.note(&format!("ends: {line}"));
    }

    /// Appends a line to the progress of all runs.
    pub fn note(&self, what: &str) {
        let path = std::env::var("FAULTS_PROGRESS").unwrap_or_else(|_| PROGRESS.to_owned());
        let line = format!(
            "{:>6.1} s  {}  {what}\n",
            self.started.elapsed().as_secs_f64(),
            self.name
        );
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

fn assert_complete(line: &str, verdict: &Verdict) {
    let few: Vec<_> = verdict.missing.iter().take(20).collect();
    assert!(few.is_empty(), "{line}: {few:?}");
}
