//! CSV as RFC 4180 has it, after a line that holds the schema.
//!
//! ```text
//! # retainit schema: <base64 of an IPC stream of the table without rows>
//! name,price
//! bread,2.5
//! "",
//! ```
//!
//! Lines end with a line feed alone. A cell without anything is null; an empty text is `""`.
//!
//! | file | what it holds |
//! |---|---|
//! | `records` | cells and lines: quotes, and nothing else |
//! | `column` | how the cells of a column are written |
//! | `parser` | how they become a column again |
//! | `number` | numbers to text and back, exactly |
//! | `calendar` | dates and times to text and back |
//! | `write`, `read` | tables to text and back |

mod calendar;
mod column;
mod number;
mod parser;
mod read;
mod records;
mod write;

pub use read::decode;
pub use write::encode;

/// What the first line begins with.
const HEADER: &str = "# retainit schema: ";
