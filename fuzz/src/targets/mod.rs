//! The targets, a file each.

mod codecs;
mod compress;
mod config;
mod entry;
mod frames;
mod plugin;
mod tree;

/// One reader of what others wrote.
pub struct Target {
    /// As on the command line.
    pub name: &'static str,
    /// Bytes of the longest input worth trying.
    pub longest: usize,
    /// Reads the input and panics where a promise is broken; `None` where the input is too short.
    pub run: fn(&[u8]) -> Option<()>,
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "entry", longest: 1024, run: entry::any, seeds: entry::seeds },
    Target { name: "sealed", longest: 512, run: entry::sealed, seeds: entry::recipes },
    Target { name: "config", longest: 4096, run: config::read, seeds: config::seeds },
    Target { name: "manifest", longest: 4096, run: plugin::manifest, seeds: plugin::manifests },
    Target { name: "binary", longest: 16384, run: plugin::binary, seeds: plugin::binaries },
    Target { name: "zstd", longest: 4096, run: compress::zstd, seeds: compress::zstd_seeds },
    Target { name: "lz4", longest: 4096, run: compress::lz4, seeds: compress::lz4_seeds },
    Target { name: "tree", longest: 4096, run: tree::check, seeds: tree::seeds },
    Target { name: "msgpack", longest: 4096, run: codecs::msgpack, seeds: tree::seeds },
    Target { name: "json", longest: 4096, run: codecs::json, seeds: codecs::json_seeds },
    Target { name: "text", longest: 256, run: codecs::text, seeds: codecs::text_seeds },
    Target { name: "npy", longest: 2048, run: codecs::npy, seeds: codecs::npy_seeds },
    Target { name: "arrow", longest: 8192, run: frames::arrow, seeds: frames::arrow_seeds },
    Target { name: "parquet", longest: 8192, run: frames::parquet, seeds: frames::parquet_seeds },
    Target { name: "csv", longest: 4096, run: frames::csv, seeds: frames::csv_seeds },
];
