//! Whether a map has a key twice.

use std::ops::Range;

/// Up to this many keys, comparing each with each is faster than sorting.
const FEW: usize = 12;

/// Keys of the maps that are open, as places in the text or tree that holds them. One list serves all: an inner
/// map's keys lie behind those of the maps around it, and are gone when it ends.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Range<usize>>);

impl Keys {
    /// Begins a map; what this returns goes to [`Keys::end`].
    pub(super) fn begin(&self) -> usize {
        self.0.len()
    }

    /// Notes a key.
    pub(super) fn push(&mut self, place: Range<usize>) {
        self.0.push(place);
    }

    /// Ends the map: `true` if all its keys differ.
    pub(super) fn end(&mut self, begin: usize, holder: &[u8]) -> bool {
        let keys = &mut self.0[begin..];
        let key = |place: &Range<usize>| &holder[place.clone()];
        let differ = if keys.len() <= FEW {
            keys.iter().enumerate().all(|(i, left)| keys[..i].iter().all(|right| key(left) != key(right)))
        } else {
            // Sorted rather than hashed: no choice of keys makes it slow.
            keys.sort_unstable_by(|left, right| key(left).cmp(key(right)));
            keys.windows(2).all(|pair| key(&pair[0]) != key(&pair[1]))
        };
        self.0.truncate(begin);
        differ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_within_maps_have_keys_of_their_own() {
        let text = b"abcabc";
        let mut keys = Keys::default();
        let outer = keys.begin();
        keys.push(0..1);
        let inner = keys.begin();
        keys.push(3..4);
        keys.push(1..2);
        assert!(keys.end(inner, text), "`a` of the outer map is another's");
        keys.push(2..3);
        assert!(keys.end(outer, text));
        assert_eq!(keys.begin(), 0);
    }

    #[test]
    fn a_key_twice_is_found_among_few_and_many() {
        for count in [2, FEW, FEW + 1, 100] {
            let text: Vec<u8> = (0..count as u8).chain([count as u8 / 2]).collect();
            let found = |len: usize| {
                let mut keys = Keys::default();
                (0..len).for_each(|i| keys.push(i..i + 1));
                keys.end(0, &text)
            };
            assert!(found(count), "{count}");
            assert!(!found(count + 1), "{count}");
        }
    }
}
