//! The Python literals that a header is made of: a dict of a string, a flag and a tuple of integers.

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description<'a> {
    pub(super) dtype: &'a str,
    pub(super) fortran: bool,
    pub(super) shape: Vec<i64>,
}

/// Reads `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`: each key once, in any order, spaces
/// anywhere between, and nothing else.
pub(super) fn parse(text: &str) -> Option<Description<'_>> {
    let mut literal = Literal(text);
    let (mut dtype, mut fortran, mut shape) = (None, None, None);
    literal.expect('{')?;
    loop {
        if literal.take('}') {
            break;
        }
        let key = literal.string()?;
        literal.expect(':')?;
        let first = match key {
            "descr" => dtype.replace(literal.string()?).is_none(),
            "fortran_order" => fortran.replace(literal.flag()?).is_none(),
            "shape" => shape.replace(literal.integers()?).is_none(),
            _ => false,
        };
        if !first {
            return None;
        }
        if !literal.take(',') {
            literal.expect('}')?;
            break;
        }
    }
    literal.skip();
    literal.0.is_empty().then_some(())?;
    Some(Description { dtype: dtype?, fortran: fortran?, shape: shape? })
}

/// What is left of a text.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    fn skip(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
    }

    fn take(&mut self, character: char) -> bool {
        self.skip();
        let rest = self.0.strip_prefix(character);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, character: char) -> Option<()> {
        self.take(character).then_some(())
    }

    /// A string without escapes: no plain type and no key has one.
    fn string(&mut self) -> Option<&'a str> {
        let quote = if self.take('\'') { '\'' } else { self.expect('"').map(|()| '"')? };
        let (string, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        (!string.contains('\\')).then_some(string)
    }

    fn flag(&mut self) -> Option<bool> {
        self.skip();
        let (flag, rest) = match self.0.strip_prefix("True") {
            Some(rest) => (true, rest),
            None => (false, self.0.strip_prefix("False")?),
        };
        self.0 = rest;
        Some(flag)
    }

    /// A tuple, of one item with its comma.
    fn integers(&mut self) -> Option<Vec<i64>> {
        self.expect('(')?;
        let mut integers = Vec::new();
        loop {
            if self.take(')') {
                return Some(integers);
            }
            integers.push(self.integer()?);
            if !self.take(',') {
                self.expect(')')?;
                // `(3)` is no tuple but a number.
                return (integers.len() != 1).then_some(integers);
            }
        }
    }

    fn integer(&mut self) -> Option<i64> {
        self.skip();
        let end = self.0.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        // `007` is no number to Python.
        let padded = digits.len() > 1 && digits.starts_with('0');
        if padded {
            None
        } else {
            digits.parse().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_in_any_spelling() {
        let expected = Description { dtype: "<f8", fortran: false, shape: vec![3, 4] };
        for text in [
            "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }   \n",
            "{\"shape\":(3,4,),\"descr\":\"<f8\",\"fortran_order\":False}",
            " { 'fortran_order' : False ,\n'descr' : '<f8' , 'shape' : ( 3 , 4 ) } ",
        ] {
            assert_eq!(parse(text).as_ref(), Some(&expected), "{text}");
        }
        let shape = |shape: &str| {
            parse(&format!("{{'descr': '|b1', 'fortran_order': True, 'shape': {shape}}}")).map(|d| d.shape)
        };
        assert_eq!(shape("()"), Some(vec![]));
        assert_eq!(shape("(7,)"), Some(vec![7]));
        assert_eq!(shape("(9223372036854775807, 0)"), Some(vec![i64::MAX, 0]));
        for other in
            ["(7)", "7", "(-1,)", "(,)", "(1,,2)", "(9223372036854775808,)", "(01,)", "(1 2)", "(1", "[1]"]
        {
            assert_eq!(shape(other), None, "{other}");
        }
    }

    #[test]
    fn whatever_else_is_no_header() {
        for text in [
            "",
            "{",
            "{}",
            "{'descr': '<f8', 'fortran_order': False}",
            "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'more': 1}",
            "{'descr': '<f8', 'fortran_order': 0, 'shape': ()}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': ()} ()",
            "{'descr': '<f8 'fortran_order': False, 'shape': ()}",
            "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': ()}",
            "{'descr': '\\x3cf8', 'fortran_order': False, 'shape': ()}",
            "{,'descr': '<f8', 'fortran_order': False, 'shape': ()}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
