//! Seeded traces, and what share of them a policy finds.

use retainit_memory::{Algorithm, Config, MemoryBackend};
use retainit_plugin_api::sdk::{Backend, Call, Entry, Value, NEVER};

use super::{call, host, Random};

/// Requests of a trace.
const REQUESTS: usize = 600_000;
/// Distinct keys of the skewed part.
const POPULAR: u64 = 100_000;
/// Distinct keys of the loop.
const LOOP: u64 = 20_000;
/// Shards of every cache: the default depends on the machine, and the figures must not.
const SHARDS: usize = 4;
/// Seeds of the hash function that a figure is the mean of. Which keys share a shard depends on them,
/// and for a loop of twice the cache's size that decides what is found.
pub const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;

/// A sequence of requests.
#[derive(Debug, Clone, Copy)]
pub enum Trace {
    /// Zipf's law with exponent 0.9: a few keys get most requests.
    Zipf,
    /// The same, interrupted by runs of keys that are asked for once.
    Scan,
    /// The same keys, in the same order, over and over.
    Loop,
}

impl Trace {
    /// All traces.
    pub const ALL: [Trace; 3] = [Trace::Zipf, Trace::Scan, Trace::Loop];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Trace::Zipf => "zipf",
            Trace::Scan => "scan-mixed",
            Trace::Loop => "loop",
        }
    }

    /// Cache sizes to look at.
    pub const fn sizes(self) -> [u64; 3] {
        match self {
            Trace::Zipf | Trace::Scan => [1_000, 5_000, 20_000],
            Trace::Loop => [5_000, 10_000, 18_000],
        }
    }

    /// The keys asked for, in order.
    pub fn requests(self) -> Vec<u64> {
        let mut random = Random::new(2026);
        match self {
            Trace::Zipf => {
                let zipf = Zipf::new();
                (0..REQUESTS).map(|_| zipf.draw(&mut random)).collect()
            }
            Trace::Scan => {
                let (zipf, mut fresh) = (Zipf::new(), POPULAR..);
                let scans = |at: usize| at % 20_000 >= 15_000;
                (0..REQUESTS)
                    .map(|at| if scans(at) { fresh.next().expect("endless") } else { zipf.draw(&mut random) })
                    .collect()
            }
            Trace::Loop => (0..REQUESTS as u64).map(|at| at % LOOP).collect(),
        }
    }
}

/// The mean over [`SEEDS`] of [`hit_ratio`].
pub fn mean_hit_ratio(requests: &[u64], policy: Algorithm, size: u64) -> f64 {
    let ratios = SEEDS.map(|seed| hit_ratio(requests, policy, size, seed));
    ratios.sum::<f64>() / SEEDS.count() as f64
}

/// Share of requests found by a cache of `size` entries under `policy`, which is filled by what it
/// does not find. The same in every run.
pub fn hit_ratio(requests: &[u64], policy: Algorithm, size: u64, seed: u64) -> f64 {
    let options = Config { policy, max_size: Some(size), shards: Some(SHARDS), ..Config::default() };
    let cache = MemoryBackend::seeded(options, host(), seed).expect("good options");
    let raw = call(1);
    let call = Call::new(&raw);
    let mut hits = 0_u64;
    for request in requests {
        let key = request.to_le_bytes();
        if cache.get(&call, &key).expect("a hit or a miss").is_some() {
            hits += 1;
        } else {
            let entry = Entry { key: &key, value: Value::from_vec(Vec::new()), ttl: NEVER };
            cache.set(&call, entry).expect("stored");
        }
    }
    hits as f64 / requests.len() as f64
}

/// Numbers by Zipf's law, through the cumulated shares.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new() -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=POPULAR).map(|rank| {
            sum += (rank as f64).powf(-0.9);
            sum
        });
        Zipf(cumulated.collect())
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let share = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        let rank = self.0.partition_point(|&below| below < share * self.0[self.0.len() - 1]);
        // Popular keys are not neighbours.
        (rank as u64).wrapping_mul(48_271) % POPULAR
    }
}
