//! Damage for tests that feed a reader what nobody would send: a valid input as it is, then changed.
//!
//! Valid inputs are what a test makes, and the corpus in `tests/fuzz`: real ones, and what failed
//! once. `FUZZ_CASES=n` sets how many changed inputs each such test tries (`make fuzz` goes on for
//! ever). A failure prints the changes, made as few as can be found, and the seed that repeats it.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use bolero::generator::{TypeGenerator, ValueGenerator};
use bolero::produce;

/// Where changes are made, before it is cut to the length of the input.
const PLACES: usize = 1 << 20;
/// Bytes and numbers that lengths and counts break at.
const EDGES: [u8; 5] = [0, 1, 0x7f, 0x80, 0xff];
const NUMBERS: [i32; 9] = [0, 1, -1, i32::MAX, i32::MIN, 0x7f, 0x80, 0xffff, 200_001];

/// Bytes to put in.
#[derive(Debug, Clone, TypeGenerator)]
enum Piece {
    Byte(u8),
    Edge(#[generator(0..EDGES.len())] usize),
    Number(#[generator(0..NUMBERS.len())] usize),
    Bytes(#[generator(produce::<Vec<u8>>().with().len(0..20_usize))] Vec<u8>),
}

/// One change.
#[derive(Debug, Clone, TypeGenerator)]
enum Damage {
    /// These bytes stand at this place.
    Set(#[generator(0..PLACES)] usize, Piece),
    /// The rest is missing, in one of four of these.
    Cut(#[generator(0..PLACES)] usize, #[generator(0..4_u8)] u8),
    /// These bytes came in between.
    Insert(#[generator(0..PLACES)] usize, Piece),
    /// This many bytes are missing.
    Remove(#[generator(0..PLACES)] usize, #[generator(1..9_usize)] usize),
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Byte(byte) => vec![*byte],
            Self::Edge(at) => vec![EDGES[*at]],
            Self::Number(at) => NUMBERS[*at].to_be_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// A few changes, or none.
fn damages() -> impl ValueGenerator<Output = Vec<Damage>> {
    produce::<Vec<Damage>>().with().len(0..5_usize)
}

/// Makes them.
fn damaged(valid: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for damage in damages {
        let within = |at: usize| at % (bytes.len() + 1);
        match damage {
            Damage::Set(at, piece) => {
                let (at, new) = (within(*at), piece.bytes());
                let count = new.len().min(bytes.len() - at);
                bytes[at..at + count].copy_from_slice(&new[..count]);
            }
            Damage::Cut(at, 0) => {
                let at = within(*at);
                bytes.truncate(at);
            }
            Damage::Cut(..) => {}
            Damage::Insert(at, piece) => {
                let at = within(*at);
                bytes.splice(at..at, piece.bytes());
            }
            Damage::Remove(at, count) => {
                let at = within(*at);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
        }
    }
    bytes
}

/// The inputs of a file of the corpus: a line has a name, blanks allowed, and the bytes in hex.
pub(crate) fn corpus(file: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let byte = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(digits, 16).unwrap()
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let input = |line: &str| {
        let (name, hex) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), hex.as_bytes().chunks(2).map(byte).collect())
    };
    lines.map(input).collect()
}

/// Tries `check` on each of the valid inputs, then with changes. It fails by a panic.
pub(crate) fn fuzz<T: Debug>(valid: &[(T, Vec<u8>)], check: impl Fn(&T, &[u8])) {
    for (what, bytes) in valid {
        check(what, bytes);
    }
    let cases = std::env::var("FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let check = AssertUnwindSafe(|which: usize, damages: &[Damage]| {
        let (what, bytes) = &valid[which];
        check(what, &damaged(bytes, damages));
    });
    let inputs = (0..valid.len(), damages());
    bolero::check!()
        .with_iterations(cases)
        .with_generator(inputs)
        .for_each(|(which, damages)| check(*which, damages));
}

#[test]
#[should_panic(expected = "test failed")]
fn fuzzing_finds_a_reader_that_cannot_bear_more_bytes() {
    fuzz(&[("zeros", vec![0; 64])], |_, bytes| assert!(bytes.len() <= 64));
}
