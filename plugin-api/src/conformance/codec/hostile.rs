//! Bytes that nobody wrote: cut short, with one bit flipped, at random.

/// Mutations of this many positions are tried at most; of longer inputs, that many spread evenly, the first
/// and the last 256 bytes being among them.
const POSITIONS: usize = 1024;

fn positions(len: usize) -> impl Iterator<Item = usize> {
    let step = len.div_ceil(POSITIONS).max(1);
    (0..len).filter(move |at| at % step == 0 || *at < 256 || at + 256 >= len)
}

/// Each way to cut the bytes short.
pub(super) fn truncations(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    positions(bytes.len()).map(|len| bytes[..len].to_vec())
}

/// Each way to flip one bit.
pub(super) fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    positions(bytes.len()).flat_map(move |at| {
        (0..8).map(move |bit| {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            flipped
        })
    })
}

/// Bytes with something behind them that does not belong there.
pub(super) fn extended(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    [&[0][..], &[0xFF; 9], b" ", b"}"].into_iter().map(move |tail| [bytes, tail].concat())
}

/// Noise of 0 to 64 bytes, the same each time.
pub(super) fn noise() -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    (0..2000).map(move |i| random.bytes(i % 65))
}

/// A fixed sequence (xorshift): failures can be repeated.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}
