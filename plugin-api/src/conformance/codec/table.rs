//! A table of columns, as samples of Arrow streams have it.

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Column {
    Ints(Vec<Option<i64>>),
    /// By their bits, so that NaN equals itself.
    Floats(Vec<Option<u64>>),
    Texts(Vec<Option<String>>),
}

impl Column {
    pub(super) fn len(&self) -> usize {
        match self {
            Column::Ints(cells) => cells.len(),
            Column::Floats(cells) => cells.len(),
            Column::Texts(cells) => cells.len(),
        }
    }

    fn extend(&mut self, more: Column) {
        match (self, more) {
            (Column::Ints(cells), Column::Ints(more)) => cells.extend(more),
            (Column::Floats(cells), Column::Floats(more)) => cells.extend(more),
            (Column::Texts(cells), Column::Texts(more)) => cells.extend(more),
            _ => unreachable!("batches of one stream have one schema"),
        }
    }
}

/// Named columns of one length, in batches.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) names: Vec<String>,
    /// For each batch its columns.
    pub(super) batches: Vec<Vec<Column>>,
}

impl Table {
    /// The same rows in one batch: where batches end is the serializer's own.
    pub(super) fn joined(self) -> Table {
        let mut batches = self.batches.into_iter();
        let mut joined: Vec<Column> = batches.next().unwrap_or_default();
        for batch in batches {
            joined.iter_mut().zip(batch).for_each(|(column, more)| column.extend(more));
        }
        // A table without rows may come as no batch at all.
        let batches = if joined.iter().all(|column| column.len() == 0) { Vec::new() } else { vec![joined] };
        Table { names: self.names, batches }
    }
}
