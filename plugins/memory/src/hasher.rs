//! Hashes of keys, under a seed that nobody outside knows.

use std::hash::{BuildHasher, RandomState};

use rapidhash::v3::{rapidhash_v3_inline, RapidSecrets};

/// The hash function of one instance.
///
/// Keys can be chosen by strangers, so every instance draws its own seed and secrets: colliding keys
/// found against one are of no use against another.
#[derive(Debug)]
pub struct Hasher(RapidSecrets);

impl Hasher {
    /// A hasher with a random seed.
    pub fn random() -> Self {
        Hasher::seeded(random_word())
    }

    /// A hasher that everybody who knows the seed can foresee.
    pub fn seeded(seed: u64) -> Self {
        Hasher(RapidSecrets::seed(seed))
    }

    /// The hash of `key`: its upper bits find it within a shard, the lowest choose the shard.
    ///
    /// In place of the algorithm's own last step, a second 128-bit multiplication, the folded first
    /// one goes through a plain multiplication whose upper half is as even (the test below holds it
    /// to that) and comes more than a nanosecond earlier.
    #[inline(always)]
    pub fn hash(&self, key: &[u8]) -> u32 {
        let folded = rapidhash_v3_inline::<false, true, false>(key, &self.0);
        (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }
}

/// An unpredictable word from the standard library's own source of random seeds.
pub fn random_word() -> u64 {
    RandomState::new().hash_one(0_u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chi-squared of `count` hashes in 256 buckets; about 255 for a perfect spread.
    fn spread(hashes: &[u32], bucket: impl Fn(u32) -> u8) -> f64 {
        let mut buckets = [0_f64; 256];
        hashes.iter().for_each(|&hash| buckets[usize::from(bucket(hash))] += 1.0);
        let expected = hashes.len() as f64 / 256.0;
        buckets.iter().map(|found| (found - expected).powi(2) / expected).sum()
    }

    #[test]
    fn keys_that_differ_little_spread_evenly_over_every_byte_of_the_hash() {
        let families: [fn(u64) -> Vec<u8>; 4] = [
            |n| [&[1, 0, 0, 0, 7][..], &(n as u32).to_le_bytes()].concat(),
            |n| [&[1, 0, 0, 0, 7][..], &(n << 32).to_be_bytes()].concat(),
            |n| format!("user:{n:06}").into_bytes(),
            |n| format!("a rather long key of the sort urls make/{n}?page=1").into_bytes(),
        ];
        for (family, key) in families.iter().enumerate() {
            for seed in 0..32 {
                let hasher = Hasher::seeded(seed);
                let hashes: Vec<u32> = (0..65_536).map(|n| hasher.hash(&key(n))).collect();
                for byte in 0..4 {
                    // Four hundred is six standard deviations above the mean.
                    let chi = spread(&hashes, |hash| (hash >> (8 * byte)) as u8);
                    assert!(chi < 400.0, "family {family}, seed {seed}, byte {byte}: {chi}");
                }
            }
        }
    }

    #[test]
    fn instances_have_seeds_of_their_own() {
        assert_ne!(Hasher::random().hash(b"key"), Hasher::random().hash(b"key"));
    }
}
