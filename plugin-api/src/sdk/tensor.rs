//! The description of an n-dimensional array, and what can be told from it.

/// Description of an n-dimensional array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type as in NumPy's array interface, such as `<f8`.
    pub dtype: String,
    /// Extents.
    pub shape: Vec<i64>,
    /// Strides in bytes, as many as extents.
    pub strides: Vec<i64>,
}

impl TensorInfo {
    /// Bytes of one element; `None` for element types that are not `<kind><number>` behind a byte order, such as
    /// objects and records.
    pub fn item_size(&self) -> Option<usize> {
        let mut chars = self.dtype.chars();
        let (order, kind) = (chars.next()?, chars.next()?);
        let mut number = chars.as_str();
        if matches!(kind, 'm' | 'M') {
            // The unit, as in `<M8[ns]`, has no part in the size.
            number = match number.split_once('[') {
                Some((number, unit)) if unit.ends_with(']') => number,
                Some(_) => return None,
                None => number,
            };
        }
        if !matches!(order, '<' | '>' | '|') || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let number: usize = number.parse().ok()?;
        match kind {
            'b' | 'i' | 'u' | 'f' | 'c' | 'm' | 'M' => (number > 0).then_some(number),
            'S' | 'V' => Some(number),
            'U' => number.checked_mul(4),
            _ => None,
        }
    }

    /// Number of elements; `None` where an extent is negative or the product too large.
    pub fn count(&self) -> Option<usize> {
        if self.shape.iter().any(|extent| *extent < 0) {
            return None;
        }
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape.iter().try_fold(1usize, |count, extent| count.checked_mul(usize::try_from(*extent).ok()?))
    }

    /// Whether every element lies in the first `len` bytes; `false` where the size of one cannot be told.
    pub fn fits(&self, len: usize) -> bool {
        let (Some(size), Some(count)) = (self.item_size(), self.count()) else {
            return false;
        };
        if self.shape.len() != self.strides.len() {
            return false;
        }
        if count == 0 {
            return true;
        }
        // The first element lies at the first byte, so no stride may lead back; one without steps is not taken.
        let end =
            self.shape.iter().zip(&self.strides).try_fold(0i64, |end, (extent, stride)| match extent - 1 {
                0 => Some(end),
                _ if *stride < 0 => None,
                steps => end.checked_add(steps.checked_mul(*stride)?),
            });
        let end = end.and_then(|end| usize::try_from(end).ok()?.checked_add(size));
        end.is_some_and(|end| end <= len)
    }

    /// Strides of elements that lie one behind the other, the last axis closest (C) or the first (Fortran);
    /// `None` where [`TensorInfo::item_size`] or [`TensorInfo::count`] is.
    pub fn packed_strides(&self, fortran: bool) -> Option<Vec<i64>> {
        let mut stride = i64::try_from(self.item_size()?).ok()?;
        self.count()?;
        let mut strides = vec![0; self.shape.len()];
        let mut axis = |i: usize| {
            strides[i] = stride;
            // An extent of zero makes no stride zero, as NumPy has it.
            stride = stride.checked_mul(self.shape[i].max(1))?;
            Some(())
        };
        if fortran {
            (0..self.shape.len()).try_for_each(&mut axis)?;
        } else {
            (0..self.shape.len()).rev().try_for_each(&mut axis)?;
        }
        Some(strides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(dtype: &str, shape: &[i64], strides: &[i64]) -> TensorInfo {
        TensorInfo { dtype: dtype.to_owned(), shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn sizes_are_read_from_types() {
        let size = |dtype: &str| tensor(dtype, &[], &[]).item_size();
        assert_eq!(size("<f8"), Some(8));
        assert_eq!(size("|b1"), Some(1));
        assert_eq!(size(">c16"), Some(16));
        assert_eq!(size("<U3"), Some(12));
        assert_eq!(size("|S0"), Some(0));
        assert_eq!(size("<M8[ns]"), Some(8));
        assert_eq!(size("<m8[25s]"), Some(8));
        for other in
            ["", "<", "<f", "f8", "=f8", "<f0", "<q8", "<f+8", "<f8[ns]", "<M8[ns", "|O", "[('a', '<f8')]"]
        {
            assert_eq!(size(other), None, "{other}");
        }
        assert_eq!(size("<U99999999999999999999"), None);
        assert_eq!(size("<U4611686018427387904"), None);
    }

    #[test]
    fn a_tensor_fits_where_its_last_element_ends() {
        assert!(tensor("<f8", &[2, 3], &[24, 8]).fits(48));
        assert!(!tensor("<f8", &[2, 3], &[24, 8]).fits(47));
        assert!(tensor("<f8", &[2, 3], &[8, 16]).fits(48), "fortran order");
        assert!(tensor("<f8", &[1000], &[0]).fits(8), "one element many times");
        assert!(tensor("<f8", &[0, i64::MAX], &[1, 1]).fits(0), "no element");
        assert!(tensor("<f8", &[], &[]).fits(8));
        assert!(!tensor("<f8", &[], &[]).fits(7));
        assert!(tensor("<f8", &[1], &[i64::MIN]).fits(8), "a stride without steps");
        assert!(!tensor("<f8", &[2], &[-8]).fits(16));
        assert!(!tensor("<f8", &[2], &[i64::MAX]).fits(16));
        assert!(!tensor("<f8", &[i64::MAX, i64::MAX], &[8, 8]).fits(usize::MAX));
        assert!(!tensor("<f8", &[-1], &[8]).fits(16));
        assert!(!tensor("<f8", &[1, 1], &[8]).fits(8));
        assert!(!tensor("|O", &[1], &[8]).fits(8));
    }

    #[test]
    fn packed_strides_are_those_of_numpy() {
        let shape = [2, 3, 4];
        assert_eq!(tensor("<f8", &shape, &[]).packed_strides(false), Some(vec![96, 32, 8]));
        assert_eq!(tensor("<f8", &shape, &[]).packed_strides(true), Some(vec![8, 16, 48]));
        assert_eq!(tensor("<f8", &[2, 0, 3], &[]).packed_strides(false), Some(vec![24, 24, 8]));
        assert_eq!(tensor("<f8", &[i64::MAX, 2], &[]).packed_strides(true), None);
    }
}
