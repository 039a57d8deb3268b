//! Tensors: written in any layout, compared by their elements.

use crate::sdk::TensorInfo;

/// A tensor's description and its memory.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) info: TensorInfo,
    pub(super) memory: Vec<u8>,
}

impl Tensor {
    /// Bytes that differ from each other as far as they can, in C order.
    pub(super) fn c_order(dtype: &str, shape: &[i64]) -> Tensor {
        let mut info = TensorInfo { dtype: dtype.to_owned(), shape: shape.to_vec(), strides: Vec::new() };
        info.strides = info.packed_strides(false).expect("samples have plain types");
        let bytes = info.count().zip(info.item_size()).map_or(0, |(count, size)| count * size);
        Tensor { info, memory: (0..bytes).map(|i| (i * 7 % 251) as u8).collect() }
    }

    /// The same memory seen with its axes reversed: Fortran order.
    pub(super) fn transposed(mut self) -> Tensor {
        self.info.shape.reverse();
        self.info.strides.reverse();
        self
    }

    /// Every second element along the first axis.
    pub(super) fn stepped(mut self) -> Tensor {
        self.info.shape[0] = (self.info.shape[0] + 1) / 2;
        self.info.strides[0] *= 2;
        self
    }

    /// The elements one by one in C order, wherever they lie; an error where one lies outside.
    pub(super) fn elements(&self) -> Result<Vec<u8>, String> {
        let (info, len) = (&self.info, self.memory.len());
        let size = match info.item_size() {
            Some(size) if info.fits(len) => size,
            _ => return Err(format!("{info:?} reaches beyond its {len} bytes")),
        };
        if info.shape.contains(&0) {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let mut index = vec![0i64; info.shape.len()];
        loop {
            let at = index.iter().zip(&info.strides).map(|(i, stride)| i * stride).sum::<i64>() as usize;
            found.extend(&self.memory[at..at + size]);
            let Some(axis) = (0..index.len()).rev().find(|axis| index[*axis] + 1 < info.shape[*axis]) else {
                return Ok(found);
            };
            index[axis] += 1;
            index[axis + 1..].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_any_layout() {
        let plain = Tensor { memory: (0..6).collect(), ..Tensor::c_order("|u1", &[2, 3]) };
        assert_eq!(plain.elements().unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(plain.clone().transposed().elements().unwrap(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(plain.clone().transposed().stepped().elements().unwrap(), [0, 3, 2, 5]);
        let beyond = Tensor { memory: vec![0; 5], ..plain };
        assert!(beyond.elements().unwrap_err().contains("reaches beyond its 5 bytes"));
    }
}
