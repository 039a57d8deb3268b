//! Memory of hashes of entries that left: four bytes a hash.

/// Hashes that share a bucket; a bucket is half a cache line.
const WAYS: usize = 8;
/// Room is one part in this more than the capacity, since hashes do not fill buckets evenly.
const SLACK: usize = 4;
/// Steps of a hash's age from new to forgotten.
const STEPS: u16 = 1024;

/// The hashes of about as many evicted entries as the shard has entries.
///
/// Each is kept as 16 bits of fingerprint and 16 of age, in a small bucket that the upper bits
/// choose. A stranger is mistaken for one that returns about once in 8000 times, which costs a place
/// in the main queue and nothing else.
#[derive(Debug, Default)]
pub struct Ghost {
    marks: Box<[Mark]>,
    capacity: usize,
    remembered: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    fingerprint: u16,
    /// Step of the clock when the entry left; zero: no mark.
    step: u16,
}

impl Ghost {
    /// Notes that the entry of `hash` left a shard of `capacity` entries.
    pub fn remember(&mut self, hash: u32, capacity: usize) {
        // Sized at the first eviction, when the shard is as large as it gets; sized anew, at the
        // price of what it knew, if that turns out to be wrong by far.
        if capacity > 2 * self.capacity {
            self.capacity = capacity.max(WAYS);
            let buckets = (self.capacity + self.capacity / SLACK).div_ceil(WAYS);
            self.marks = vec![Mark::default(); buckets * WAYS].into_boxed_slice();
        }
        self.remembered += 1;
        let mark = Mark { fingerprint: fingerprint(hash), step: self.step() };
        let step = mark.step;
        let bucket = self.bucket(hash);
        let place = bucket
            .iter_mut()
            .max_by_key(|known| match known.step {
                0 => u16::MAX,
                noted => step.wrapping_sub(noted),
            })
            .expect("a bucket has marks");
        *place = mark;
    }

    /// Whether the entry of `hash` left not long ago; forgets it.
    pub fn take(&mut self, hash: u32) -> bool {
        if self.marks.is_empty() {
            return false;
        }
        let (now, fingerprint) = (self.step(), fingerprint(hash));
        let known = self.bucket(hash).iter_mut().find(|known| {
            known.step != 0 && known.fingerprint == fingerprint && now.wrapping_sub(known.step) <= STEPS
        });
        known.map(std::mem::take).is_some()
    }

    /// The clock: it makes [`STEPS`] steps while as many hashes are noted as there is capacity for.
    fn step(&self) -> u16 {
        ((self.remembered * u64::from(STEPS) / self.capacity as u64) as u16).max(1)
    }

    fn bucket(&mut self, hash: u32) -> &mut [Mark] {
        let buckets = self.marks.len() / WAYS;
        let bucket = ((u64::from(hash) * buckets as u64) >> 32) as usize;
        &mut self.marks[bucket * WAYS..(bucket + 1) * WAYS]
    }
}

/// Bits that neither the bucket nor the shard is chosen by alone.
fn fingerprint(hash: u32) -> u16 {
    (hash.wrapping_mul(0x9E37_79B1) >> 12) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u32) -> u32 {
        n.wrapping_mul(0x9E37_79B9) ^ (n >> 3)
    }

    #[test]
    fn remembers_the_latest_and_forgets_the_oldest() {
        let mut ghost = Ghost::default();
        (0..3000).for_each(|n| ghost.remember(hash(n), 1000));
        let latest = (2100..3000).filter(|&n| ghost.take(hash(n))).count();
        assert!(latest > 860, "{latest} of 900");
        let oldest = (0..1900).filter(|&n| ghost.take(hash(n))).count();
        assert!(oldest < 5, "{oldest} of 1900");
    }

    #[test]
    fn forgets_what_returned() {
        let mut ghost = Ghost::default();
        ghost.remember(7, 10);
        assert!(ghost.take(7));
        assert!(!ghost.take(7));
    }
}
