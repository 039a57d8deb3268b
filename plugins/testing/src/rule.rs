//! One line of a script.

use retainit_plugin_api::sdk::{glob, Error, ErrorKind, Result};
use serde::Deserialize;

/// What a rule may name. `*` stands for all but the last two, which closing and watching a backend use.
const OPERATIONS: [&str; 20] = [
    "get",
    "set",
    "delete",
    "clear",
    "get_many",
    "set_many",
    "delete_many",
    "add",
    "compare_and_set",
    "increment",
    "touch",
    "ttl",
    "scan",
    "count",
    "lease_acquire",
    "lease_renew",
    "lease_release",
    "ping",
    "flush",
    "statistics",
];
const ONLY_BY_NAME: [&str; 2] = ["flush", "statistics"];
const READS: [&str; 2] = ["get", "get_many"];

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // named as the kinds of errors of plugins
pub enum Failure {
    Busy,
    Retryable,
    Timeout,
    Configuration,
    Unsupported,
    Corrupt,
    Fatal,
    Cancelled,
    Invalid,
}

impl Failure {
    /// The kind of the error.
    pub fn kind(self) -> ErrorKind {
        match self {
            Failure::Busy => ErrorKind::Busy,
            Failure::Retryable => ErrorKind::Retryable,
            Failure::Timeout => ErrorKind::Timeout,
            Failure::Configuration => ErrorKind::Configuration,
            Failure::Unsupported => ErrorKind::Unsupported,
            Failure::Corrupt => ErrorKind::Corrupt,
            Failure::Fatal => ErrorKind::Fatal,
            Failure::Cancelled => ErrorKind::Cancelled,
            Failure::Invalid => ErrorKind::Invalid,
        }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It fails at once, and nothing is done.
    Fail {
        /// How.
        kind: Failure,
        /// What the error says.
        message: String,
    },
    /// It is answered properly after so many seconds of the host's clock, whatever its deadline.
    Delay {
        /// From when it came.
        seconds: f64,
    },
    /// It is answered properly so many seconds after its deadline; after it came where it has none.
    Late {
        /// Beyond the deadline.
        seconds: f64,
    },
    /// It is answered when the script's owner releases it, properly.
    Hang,
    /// A read gives bytes that nobody stored.
    Garbage,
    /// It is answered properly, and then once more.
    Twice,
    /// The plugin panics while it works on it.
    Panic,
}

impl Outcome {
    /// Its name in scripts and records.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Fail { .. } => "fail",
            Outcome::Delay { .. } => "delay",
            Outcome::Late { .. } => "late",
            Outcome::Hang => "hang",
            Outcome::Garbage => "garbage",
            Outcome::Twice => "twice",
            Outcome::Panic => "panic",
        }
    }
}

/// Which calls, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// An operation, which `get`, `set` and `delete` are also where they are done to many; `*` for all that
    /// entries, leases and `ping` need.
    #[serde(default = "any")]
    pub operation: String,
    /// What becomes of the call.
    pub outcome: Outcome,
    /// How often; for ever if `None`.
    #[serde(default)]
    pub times: Option<u64>,
    /// The share of the calls, drawn at random.
    #[serde(default = "always")]
    pub probability: f64,
    /// What is drawn is the same in every run for the same seed.
    #[serde(default)]
    pub seed: u64,
    /// A glob that a key of the call has to match; any call if `None`.
    #[serde(default)]
    pub key: Option<String>,
}

fn any() -> String {
    "*".to_owned()
}

fn always() -> f64 {
    1.0
}

impl Rule {
    /// A rule for all calls of `operation`.
    pub fn new(operation: &str, outcome: Outcome) -> Self {
        Rule { operation: operation.to_owned(), outcome, times: None, probability: 1.0, seed: 0, key: None }
    }

    /// Checks that the rule can be followed by a backend that answers later (`is_later`), at once
    /// (`is_inline`), or otherwise by making its callers wait.
    ///
    /// # Errors
    /// `Configuration`: an unknown operation, a number out of range, or an outcome that such a backend or
    /// such an operation cannot have.
    pub fn check(&self, is_later: bool, is_inline: bool) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        let operation = &self.operation;
        if operation != "*" && !OPERATIONS.contains(&operation.as_str()) {
            let known = OPERATIONS.map(|each| format!("`{each}`")).join(", ");
            return wrong(format!(
                "unknown operation `{operation}` in a rule: expected `*` or one of {known}"
            ));
        }
        if !(0.0..=1.0).contains(&self.probability) {
            let found = self.probability;
            return wrong(format!("invalid `probability` of a rule: expected 0 to 1, found `{found}`"));
        }
        if self.times == Some(0) {
            return wrong("invalid `times` of a rule: expected at least 1, found `0`".to_owned());
        }
        match &self.outcome {
            Outcome::Delay { .. } | Outcome::Late { .. } | Outcome::Hang if is_inline => wrong(
                self.impossible("a backend that may keep its callers waiting", "one that answers at once"),
            ),
            Outcome::Twice if !is_later => {
                wrong(self.impossible("a backend that answers later", "one that answers on return"))
            }
            Outcome::Delay { seconds } | Outcome::Late { seconds } if !(0.0..=1e9).contains(seconds) => {
                wrong(format!("invalid `seconds` of a rule: expected 0 to 1e9, found `{seconds}`"))
            }
            Outcome::Garbage if operation != "*" && !READS.contains(&operation.as_str()) => {
                let reads = "an operation that reads values (`get`, `get_many` or `*`)";
                wrong(self.impossible(reads, &format!("`{operation}`")))
            }
            _ => Ok(()),
        }
    }

    fn impossible(&self, expected: &str, found: &str) -> String {
        format!("outcome `{}` of a rule: expected {expected}, found {found}", self.outcome.name())
    }

    fn concerns(&self, operation: &str, keys: &[&[u8]]) -> bool {
        let named = match self.operation.as_str() {
            "*" => !ONLY_BY_NAME.contains(&operation),
            name => operation.strip_suffix("_many").unwrap_or(operation) == name || operation == name,
        };
        let readable = self.outcome != Outcome::Garbage || READS.contains(&operation);
        named
            && readable
            && self.key.as_ref().is_none_or(|key| keys.iter().any(|each| glob(key.as_bytes(), each)))
    }
}

/// A rule, how often it is still to be followed, and its random numbers.
#[derive(Debug)]
pub struct Active {
    rule: Rule,
    left: Option<u64>,
    random: u64,
}

impl Active {
    /// A rule that was not followed yet.
    pub fn new(rule: Rule) -> Self {
        Active { left: rule.times, random: rule.seed, rule }
    }

    /// Whether the rule is used up.
    pub fn is_over(&self) -> bool {
        self.left == Some(0)
    }

    /// What becomes of the call, if the rule says so.
    pub fn follow(&mut self, operation: &str, keys: &[&[u8]]) -> Option<Outcome> {
        if self.is_over() || !self.rule.concerns(operation, keys) || !self.draw() {
            return None;
        }
        self.left = self.left.map(|left| left - 1);
        Some(self.rule.outcome.clone())
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), of which the
    /// upper 53 bits make a number below one.
    fn draw(&mut self) -> bool {
        if self.rule.probability >= 1.0 {
            return true;
        }
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 11) as f64 / (1_u64 << 53) as f64) < self.rule.probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail() -> Outcome {
        Outcome::Fail { kind: Failure::Retryable, message: "down".to_owned() }
    }

    #[test]
    fn an_operation_is_also_the_one_done_to_many() {
        let mut rule = Active::new(Rule::new("get", fail()));
        assert!(rule.follow("get", &[b"k"]).is_some());
        assert!(rule.follow("get_many", &[b"k"]).is_some());
        assert!(rule.follow("set", &[b"k"]).is_none());
        let mut many = Active::new(Rule::new("get_many", fail()));
        assert!(many.follow("get", &[b"k"]).is_none());
        assert!(many.follow("get_many", &[b"k"]).is_some());
    }

    #[test]
    fn a_star_leaves_out_what_closing_and_watching_need() {
        let mut rule = Active::new(Rule::new("*", fail()));
        assert!(rule.follow("lease_renew", &[b"k"]).is_some() && rule.follow("ping", &[]).is_some());
        assert!(rule.follow("flush", &[]).is_none() && rule.follow("statistics", &[]).is_none());
        assert!(Active::new(Rule::new("flush", fail())).follow("flush", &[]).is_some());
    }

    #[test]
    fn a_rule_is_followed_as_often_as_it_says_for_the_keys_it_names() {
        let mut rule = Active::new(Rule { times: Some(2), key: Some("a*".into()), ..Rule::new("*", fail()) });
        let followed = [&b"a1"[..], b"b", b"a2", b"a3"].map(|key| rule.follow("set", &[key]).is_some());
        assert_eq!(followed, [true, false, true, false]);
        assert!(rule.is_over());
    }

    #[test]
    fn chance_is_the_seeds_and_of_the_share_it_says() {
        let run = |seed| {
            let mut rule = Active::new(Rule { probability: 0.3, seed, ..Rule::new("*", fail()) });
            (0..10_000).map(|_| rule.follow("get", &[b"k"]).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let share = run(7).iter().filter(|hit| **hit).count();
        // Six standard deviations.
        assert!((2_725..=3_275).contains(&share), "{share}");
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let refused = |rule: Rule, is_later, is_inline| rule.check(is_later, is_inline).unwrap_err();
        let message = |rule, is_later, is_inline| refused(rule, is_later, is_inline).message().to_owned();
        assert!(message(Rule::new("gte", fail()), false, false).contains("unknown operation `gte`"));
        assert!(message(Rule::new("get", Outcome::Hang), false, true).contains("answers at once"));
        assert!(message(Rule::new("get", Outcome::Twice), false, false).contains("answers later"));
        assert!(message(Rule::new("set", Outcome::Garbage), true, false).contains("found `set`"));
        let delay = Rule::new("*", Outcome::Delay { seconds: f64::NAN });
        assert!(message(delay, true, false).contains("found `NaN`"));
        let never = Rule { times: Some(0), ..Rule::new("*", fail()) };
        assert!(message(never, true, false).contains("at least 1"));
        let often = Rule { probability: 1.5, ..Rule::new("*", fail()) };
        assert!(message(often, true, false).contains("found `1.5`"));
        Rule::new("get", Outcome::Twice).check(true, false).unwrap();
    }
}
