//! Hit ratios of the policies, as JSON lines: `cargo run --release -p retainit-memory --example hit_ratio`.

mod support;

use support::trace::{hit_ratio, Trace};

fn main() {
    for trace in Trace::ALL {
        let requests = trace.requests();
        for size in trace.sizes() {
            let (s3fifo, lru) = (hit_ratio(&requests, "s3fifo", size), hit_ratio(&requests, "lru", size));
            println!(
                r#"{{"trace": "{}", "size": {size}, "s3fifo": {s3fifo:.4}, "lru": {lru:.4}}}"#,
                trace.name()
            );
        }
    }
}
