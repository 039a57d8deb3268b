//! Small numbers for reference tables, so that a record needs one byte instead of a pointer.

use retainit_plugin_api::abi::value::RefTable;

/// A host has two or three tables; entries under further ones keep their values boxed.
const LIMIT: usize = 8;

/// The tables seen by one shard. Number zero is "nothing to count".
#[derive(Debug)]
pub struct Tables {
    known: [*const RefTable; LIMIT],
    len: usize,
}

// SAFETY: tables are immutable, and only looked at through values that keep them valid.
unsafe impl Send for Tables {}

impl Default for Tables {
    fn default() -> Self {
        Tables { known: [std::ptr::null(); LIMIT], len: 1 }
    }
}

impl Tables {
    /// The number of `table`, given at the first sight; `None` when there are none left.
    pub fn number(&mut self, table: *const RefTable) -> Option<u8> {
        if let Some(number) = self.known[..self.len].iter().position(|&known| known == table) {
            return Some(number as u8);
        }
        if self.len == LIMIT {
            return None;
        }
        self.known[self.len] = table;
        self.len += 1;
        Some(self.len as u8 - 1)
    }

    /// The table of a number.
    #[inline(always)]
    pub fn get(&self, number: u8) -> *const RefTable {
        self.known[usize::from(number) % LIMIT]
    }
}
