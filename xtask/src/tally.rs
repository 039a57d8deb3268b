//! How many tests ran, read from the runners' own output.

use std::time::Duration;

/// A count of tests, of one stage or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that ran and held.
    pub passed: u64,
    /// Tests that ran and did not.
    pub failed: u64,
    /// Tests that did not run.
    pub ignored: u64,
}

impl Tally {
    /// Counts the line if it is a runner's summary: cargo's `test result: ...` or pytest's `== ... in 1.2s ==`.
    pub fn read(&mut self, line: &str) {
        let line = line.trim();
        let counts = if let Some(rest) = line.strip_prefix("test result: ") {
            rest
        } else if line.starts_with('=') && line.ends_with('=') && line.contains(" in ") {
            line.trim_matches('=')
        } else {
            return;
        };
        let words: Vec<&str> = counts.split([' ', ';', ',', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<u64>() else {
                continue;
            };
            match pair[1] {
                "passed" | "xfailed" => self.passed += count,
                "failed" | "error" | "errors" | "xpassed" => self.failed += count,
                "ignored" | "skipped" => self.ignored += count,
                _ => {}
            }
        }
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// The sum as a test runner says it.
    pub fn summary(self, took: Duration) -> String {
        let verdict = if self.failed == 0 { "ok" } else { "FAILED" };
        let Self { passed, failed, ignored } = self;
        let seconds = took.as_secs_f64();
        format!(
            "test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; \
             0 measured; 0 filtered out; finished in {seconds:.2}s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn counts_of_cargo_and_of_pytest_are_added() {
        let tally = read(&[
            "running 3 tests",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s",
            "===== 1 failed, 12 passed, 2 skipped, 1 error in 3.21s =====",
        ]);
        assert_eq!(tally, Tally { passed: 14, failed: 2, ignored: 3 });
    }

    #[test]
    fn only_summaries_count() {
        let tally = read(&["5 passed the bar", "===== 3 passed the post =====", "test foo ... ok"]);
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_summary_can_be_read_again() {
        let tally = Tally { passed: 3, failed: 1, ignored: 2 };
        assert_eq!(read(&[&tally.summary(Duration::from_millis(1500))]), tally);
    }
}
