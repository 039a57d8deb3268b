//! What a format string says about an array's buffers and children.

/// How the values of a type lie in buffers.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// All rows are null.
    Null,
    /// A bit each.
    Bool,
    /// So many bytes each.
    Fixed(usize),
    /// Between offsets of 32 or 64 bits.
    Bytes { wide: bool },
    /// By structures of 16 bytes, which have short values in them.
    View,
    /// Rows of the child between offsets.
    List { wide: bool },
    /// Rows of the child by offset and size.
    ListView { wide: bool },
    /// So many rows of the child each.
    FixedList(usize),
    /// A row of each child.
    Struct,
    /// A row of one of the children, which have these numbers.
    Union { dense: bool, numbers: Vec<i8> },
    /// Values by the rows at which they end.
    RunEnd,
}

impl Layout {
    /// That of a type.
    ///
    /// # Errors
    /// A type that is not known here.
    pub fn of(format: &str) -> Result<Layout, String> {
        use Layout::{Bool, Bytes, Fixed, FixedList, List, ListView, Null, RunEnd, Struct, Union, View};
        let unknown = || format!("Arrow data of an unknown type, `{format}`");
        let number = |text: &str| text.parse::<usize>().map_err(|_| unknown());
        Ok(match format {
            "n" => Null,
            "b" => Bool,
            "c" | "C" => Fixed(1),
            "s" | "S" | "e" => Fixed(2),
            "i" | "I" | "f" | "tdD" | "tts" | "ttm" | "tiM" => Fixed(4),
            "l" | "L" | "g" | "tdm" | "ttu" | "ttn" | "tiD" => Fixed(8),
            "tDs" | "tDm" | "tDu" | "tDn" => Fixed(8),
            "tin" => Fixed(16),
            "u" | "z" => Bytes { wide: false },
            "U" | "Z" => Bytes { wide: true },
            "vu" | "vz" => View,
            "+l" | "+m" => List { wide: false },
            "+L" => List { wide: true },
            "+vl" => ListView { wide: false },
            "+vL" => ListView { wide: true },
            "+s" => Struct,
            "+r" => RunEnd,
            _ => match format.split_once(':').ok_or_else(unknown)? {
                ("tss" | "tsm" | "tsu" | "tsn", _) => Fixed(8),
                ("w", width) => Fixed(number(width)?),
                ("+w", size) => FixedList(number(size)?),
                // Precision, scale, and the width in bits where it is not 128.
                ("d", decimal) => Fixed(decimal.split(',').nth(2).map_or(Ok(128), number)? / 8),
                (kind @ ("+ud" | "+us"), numbers) => Union {
                    dense: kind == "+ud",
                    numbers: numbers
                        .split(',')
                        .filter(|each| !each.is_empty())
                        .map(|each| each.parse().map_err(|_| unknown()))
                        .collect::<Result<_, _>>()?,
                },
                _ => return Err(unknown()),
            },
        })
    }

    /// Whether the first buffer says which rows are null.
    pub fn has_validity(&self) -> bool {
        !matches!(self, Layout::Null | Layout::Union { .. } | Layout::RunEnd)
    }
}
