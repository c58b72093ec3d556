//! Drives every fuzz body on stable Rust: seeds, mutations of seeds, random bytes. `FUZZ_SECONDS=N` runs each for N
//! seconds, `FUZZ_SEED=N` repeats a run; what fails is printed as a Rust byte string to put among the seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use hostel_fuzz::{TARGETS, Target};

/// Inputs per target when no time is given.
const INPUTS: usize = 10_000;
/// An input that keeps a parser busy for longer is a fault, too.
const SLOW: Duration = Duration::from_secs(2);

/// Marsaglia's xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// Below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Bytes that decide something in one grammar or another.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\n",
    b" ",
    b"=",
    b":",
    b",",
    b"-",
    b"--",
    b"\\",
    b"\"",
    b"'",
    b"/",
    b"..",
    b"~",
    b"@",
    b"%",
    b"+",
    b"0",
    b"1",
    b"65535",
    b"4294967295",
    b"18446744073709551616",
    b"-1",
    b"infinity",
    b"K",
    b"1e9",
    b"{",
    b"}",
    b"[",
    b"null",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b"\x1b[2J",
];

fn mutated(random: &mut Random, seeds: &[&str]) -> Vec<u8> {
    let pick = |random: &mut Random| seeds[random.below(seeds.len())].as_bytes().to_vec();
    let mut data = match random.below(8) {
        0 => (0..random.below(64)).map(|_| random.next() as u8).collect(),
        1 => [pick(random), pick(random)].concat(),
        _ => pick(random),
    };
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 if at < data.len() => data[at] ^= 1 << random.below(8),
            1 if at < data.len() => drop(data.remove(at)),
            2 => data.truncate(at),
            3 => {
                let end = at + random.below(data.len() - at + 1).min(16);
                let part = data[at..end].to_vec();
                data.splice(at..at, part.repeat(1 + random.below(32)));
            }
            4 => data.insert(at, random.next() as u8),
            _ => drop(data.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
        }
    }
    data
}

fn drive(target: &Target, seed: u64, seconds: Option<u64>) -> Result<(), String> {
    let mut random = Random(seed | 1);
    let begin = Instant::now();
    let plain = target.seeds.iter().map(|s| s.as_bytes().to_vec());
    let mut inputs = plain.chain([Vec::new(), vec![b'a'; 1 << 16], b"/a".repeat(1 << 15)]);
    for done in 0.. {
        let enough = match seconds {
            Some(seconds) => begin.elapsed() > Duration::from_secs(seconds),
            None => done >= INPUTS,
        };
        if enough {
            break;
        }
        let data = inputs.next().unwrap_or_else(|| mutated(&mut random, target.seeds));
        let start = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| (target.body)(&data))).is_err() {
            return Err(format!("{}: panics on b\"{}\" (FUZZ_SEED={seed})", target.name, data.escape_ascii()));
        }
        if start.elapsed() > SLOW {
            return Err(format!("{}: takes {:?} on b\"{}\"", target.name, start.elapsed(), data.escape_ascii()));
        }
    }
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|v| v.parse().ok())
}

#[test]
fn no_input_panics_or_hangs() {
    let seed = number("FUZZ_SEED").unwrap_or_else(|| std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(7, |t| t.as_nanos() as u64));
    let seconds = number("FUZZ_SECONDS");
    let faults: Vec<String> = TARGETS.iter().filter_map(|target| drive(target, seed, seconds).err()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_body_has_its_wrapper() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets");
    for target in &TARGETS {
        let text = std::fs::read_to_string(dir.join(format!("{}.rs", target.name))).unwrap_or_default();
        assert!(text.contains(&format!("hostel_fuzz::{}(data)", target.name)), "fuzz_targets/{}.rs", target.name);
    }
}
