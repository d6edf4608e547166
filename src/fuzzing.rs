//! Every decoder of stored bytes as a function of bytes that may do anything but panic: for the targets in `fuzz/`,
//! and for the test below, which replays what they found. Only compiled for those two.

pub use crate::cache::fuzz_kept as kept;
pub use crate::index::fuzzing::{current, export, graph, records, snapshot};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    type Target = (&'static str, fn(&[u8]));

    const TARGETS: [Target; 6] = [
        ("current", super::current),
        ("export", super::export),
        ("graph", super::graph),
        ("kept", super::kept),
        ("records", super::records),
        ("snapshot", super::snapshot),
    ];

    fn corpus(target: &str) -> PathBuf {
        let root: PathBuf = env!("CARGO_MANIFEST_DIR").into();
        root.join("fuzz/corpus").join(target)
    }

    #[test]
    fn what_fuzzing_found_is_decoded_without_a_panic() {
        for (name, target) in TARGETS {
            let mut inputs = 0;
            for entry in fs::read_dir(corpus(name)).unwrap() {
                target(&fs::read(entry.unwrap().path()).unwrap());
                inputs += 1;
            }
            assert!(inputs > 0, "{name}");
        }
    }

    /// The seeds of fuzzing: `cargo test -p bridgetower seeds -- --ignored`.
    #[test]
    #[ignore = "writes to fuzz/corpus"]
    fn seeds() {
        let seeds = crate::index::fuzzing::seeds();
        let kept = crate::cache::kept_seeds().into_iter();
        for (target, bytes) in seeds.into_iter().chain(kept.map(|bytes| ("kept", bytes))) {
            let name = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes));
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(corpus(target).join(name), bytes).unwrap();
        }
    }
}
