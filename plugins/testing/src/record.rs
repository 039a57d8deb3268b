//! The calls so far.

use std::collections::VecDeque;

use retainit_plugin_api::sdk::NEVER;
use serde_json::{json, Value};

/// One call.
#[derive(Debug)]
pub struct Record {
    /// The operation.
    pub operation: &'static str,
    /// Keys, prefixes or names, one for most operations.
    pub keys: Vec<Vec<u8>>,
    /// Time to live in nanoseconds, where the operation has one.
    pub ttl: Option<i64>,
    /// When it came: Unix time in nanoseconds, on the host's clock.
    pub time: i64,
    /// What the script said, or `proper`.
    pub outcome: &'static str,
    /// Whether the call is over.
    pub answered: bool,
}

/// The last calls, up to a bound.
#[derive(Debug)]
pub struct Records {
    kept: VecDeque<Record>,
    most: usize,
    /// Number of the first one that is kept.
    first: u64,
}

impl Records {
    /// None, with room for `most`.
    pub fn new(most: usize) -> Self {
        Records { kept: VecDeque::new(), most, first: 0 }
    }

    /// Sets the bound.
    pub fn bound(&mut self, most: usize) {
        self.most = most;
        self.trim();
    }

    /// Adds a call; its number.
    pub fn push(&mut self, record: Record) -> u64 {
        let number = self.first + self.kept.len() as u64;
        self.kept.push_back(record);
        self.trim();
        number
    }

    /// Notes that a call is over, if it is still on record.
    pub fn answer(&mut self, number: u64) {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(record) = at.and_then(|at| self.kept.get_mut(at)) {
            record.answered = true;
        }
    }

    /// How many calls of `operation` (`*`: of any) are on record.
    pub fn count(&self, operation: &str) -> usize {
        self.kept.iter().filter(|record| operation == "*" || operation == record.operation).count()
    }

    /// Forgets all of them; what is under way stays unknown when it ends.
    pub fn forget(&mut self) {
        self.first += self.kept.len() as u64;
        self.kept.clear();
    }

    /// All of them, oldest first; keys in hexadecimal digits.
    pub fn describe(&self) -> Value {
        self.kept.iter().map(describe).collect()
    }

    fn trim(&mut self) {
        while self.kept.len() > self.most {
            self.kept.pop_front();
            self.first += 1;
        }
    }
}

fn describe(record: &Record) -> Value {
    let keys: Vec<String> = record.keys.iter().map(|key| hex(key)).collect();
    json!({
        "operation": record.operation,
        "keys": keys,
        "ttl": record.ttl.filter(|ttl| *ttl != NEVER),
        "time": record.time,
        "outcome": record.outcome,
        "answered": record.answered,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: &'static str) -> Record {
        let keys = vec![b"\x0a\xff".to_vec()];
        Record { operation, keys, ttl: Some(NEVER), time: 5, outcome: "proper", answered: false }
    }

    #[test]
    fn the_oldest_calls_leave_and_late_answers_find_the_right_one() {
        let mut records = Records::new(2);
        let first = records.push(call("get"));
        let second = records.push(call("set"));
        records.push(call("get"));
        records.answer(first);
        records.answer(second);
        let described = records.describe();
        assert_eq!(described[0]["operation"], "set");
        assert_eq!(described[0]["answered"], true);
        assert_eq!(described[1]["answered"], false);
        assert_eq!(described[1]["keys"][0], "0aff");
        assert_eq!(described[1]["ttl"], Value::Null, "no time to live that ends");
        assert_eq!((records.count("*"), records.count("get")), (2, 1));
        records.forget();
        records.answer(second);
        assert_eq!(records.describe(), json!([]));
        assert_eq!(records.push(call("get")), 3);
    }
}
