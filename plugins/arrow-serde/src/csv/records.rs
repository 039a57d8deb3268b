//! Cells and lines: quotes, and nothing else.

use retainit_plugin_api::sdk::Result;

use crate::contain::corrupt;

/// Appends a text, in quotes where it needs them. The empty text does, to differ from null.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b',' | b'\n' | b'\r');
    if !text.is_empty() && !text.as_bytes().iter().any(special) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for part in text.split_inclusive('"') {
        out.extend_from_slice(part.as_bytes());
        if part.ends_with('"') {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

/// What lies between two commas.
#[derive(Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// A text, which is in the buffer of [`Records`] where it had quotes within.
    Text(&'a str),
}

/// A place in a text.
pub struct Records<'a> {
    rest: &'a str,
    /// A text of which doubled quotes were made single ones.
    unquoted: String,
}

/// What follows a cell.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Cell,
    Line,
}

impl<'a> Records<'a> {
    /// The lines in `text`, each of which ends with a line feed.
    pub fn new(text: &'a str) -> Self {
        Records { rest: text, unquoted: String::new() }
    }

    /// Whether all lines have been read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads the line of the columns' names, which must be these.
    pub fn names(&mut self, names: &[&str]) -> Result<()> {
        self.line(names.len(), |place, cell| match cell {
            Cell::Text(text) if text == names[place] => Ok(()),
            _ => {
                Err(corrupt(format_args!("column {place} of a csv file has another name than in the schema")))
            }
        })
    }

    /// Reads a line of `count` cells, and gives each with its place.
    pub fn line(&mut self, count: usize, mut visit: impl FnMut(usize, Cell<'_>) -> Result<()>) -> Result<()> {
        if count == 0 {
            return match self.rest.strip_prefix('\n') {
                Some(rest) => {
                    self.rest = rest;
                    Ok(())
                }
                None => Err(corrupt("a csv line has cells where the schema has no columns")),
            };
        }
        for place in 0..count {
            let next = self.cell(|cell| visit(place, cell))?;
            let expected = if place + 1 == count { Next::Line } else { Next::Cell };
            if next != expected {
                return Err(corrupt(format_args!("a csv line has another number of cells than {count}")));
            }
        }
        Ok(())
    }

    fn cell(&mut self, visit: impl FnOnce(Cell<'_>) -> Result<()>) -> Result<Next> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.bytes().position(|byte| matches!(byte, b',' | b'\n' | b'"'));
            let Some(end) = end else { return Err(corrupt("a csv file ends within a line")) };
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            visit(if text.is_empty() { Cell::Null } else { Cell::Text(text) })?;
            return self.separator();
        };
        let Some(end) = quoted.find('"') else { return Err(corrupt("a csv file ends within quotes")) };
        let (text, rest) = (&quoted[..end], &quoted[end + 1..]);
        if !rest.starts_with('"') {
            self.rest = rest;
            visit(Cell::Text(text))?;
            return self.separator();
        }
        self.unquoted.clear();
        self.unquoted.push_str(text);
        let mut rest = rest;
        while let Some(more) = rest.strip_prefix('"') {
            let Some(end) = more.find('"') else { return Err(corrupt("a csv file ends within quotes")) };
            self.unquoted.push('"');
            self.unquoted.push_str(&more[..end]);
            rest = &more[end + 1..];
        }
        self.rest = rest;
        visit(Cell::Text(&self.unquoted))?;
        self.separator()
    }

    fn separator(&mut self) -> Result<Next> {
        let mut rest = self.rest.chars();
        let next = match rest.next() {
            Some(',') => Next::Cell,
            Some('\n') => Next::Line,
            Some(other) => return Err(corrupt(format_args!("a csv cell is followed by {other:?}"))),
            None => return Err(corrupt("a csv file ends within a line")),
        };
        self.rest = rest.as_str();
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str, count: usize) -> Result<Vec<Option<String>>> {
        let mut records = Records::new(text);
        let mut found = Vec::new();
        while !records.is_at_end() {
            records.line(count, |place, cell| {
                assert_eq!(place, found.len() % count);
                found.push(match cell {
                    Cell::Null => None,
                    Cell::Text(text) => Some(text.to_owned()),
                });
                Ok(())
            })?;
        }
        Ok(found)
    }

    #[test]
    fn texts_come_back_and_differ_from_null() {
        for text in ["", "a", "\"", "\"\"", "a\"b", "\"a\"", ",", "\n", "\r\n", " ", "ü,\"🦀\"\n", "#"] {
            let mut line = Vec::new();
            write_text(text, &mut line);
            line.extend(b",,");
            write_text(text, &mut line);
            line.push(b'\n');
            let line = String::from_utf8(line).unwrap();
            assert_eq!(
                cells(&line, 3).unwrap(),
                [Some(text.to_owned()), None, Some(text.to_owned())],
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_line_of_one_column_may_be_empty() {
        assert_eq!(cells("\n\"\"\n\n", 1).unwrap(), [None, Some(String::new()), None]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for text in ["a", "a,b", "a\n", "a,b,c\n", "\"a", "\"a\"\"", "\"a\"b,c\n", "a\"b,c\n", "a,b\nc"] {
            assert!(cells(text, 2).is_err(), "{text:?}");
        }
    }
}
