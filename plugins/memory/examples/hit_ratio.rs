//! Hit ratios of the policies, as JSON lines: `cargo run --release -p retainit-memory --example hit_ratio`.

mod support;

use retainit_memory::Algorithm;
use support::trace::{mean_hit_ratio, Trace};

fn main() {
    for trace in Trace::ALL {
        let requests = trace.requests();
        for size in trace.sizes() {
            let ratio = |policy| mean_hit_ratio(&requests, policy, size);
            let (s3fifo, lru) = (ratio(Algorithm::S3Fifo), ratio(Algorithm::Lru));
            println!(
                r#"{{"trace": "{}", "size": {size}, "s3fifo": {s3fifo:.4}, "lru": {lru:.4}}}"#,
                trace.name()
            );
        }
    }
}
