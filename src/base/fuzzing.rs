//! Damage for tests that feed a reader what nobody would send: a valid input, changed in ways that a
//! shrinker can undo one by one.
//!
//! `FUZZ_CASES=n` sets how many inputs each such test tries (`make fuzz` goes on for ever); what
//! failed once lies in `proptest-regressions/` and is tried first.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    /// These bytes stand at this place.
    Set(usize, Vec<u8>),
    /// The rest is missing.
    Cut(usize),
    /// These bytes came in between.
    Insert(usize, Vec<u8>),
    /// This many bytes are missing.
    Remove(usize, usize),
}

/// Numbers that lengths and counts break at, then anything.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let numbers = [0, 1, -1, i32::MAX, i32::MIN, 0x7f, 0x80, 0xffff, 200_001];
    prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(vec![0, 1, 0x7f, 0x80, 0xff]).prop_map(|byte| vec![byte]),
        prop::sample::select(numbers.to_vec()).prop_map(|n: i32| n.to_be_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ]
}

/// A few changes, or none.
pub(crate) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let place = any::<prop::sample::Index>().prop_map(|at| at.index(1 << 20));
    let one = prop_oneof![
        4 => (place.clone(), bytes()).prop_map(|(at, bytes)| Damage::Set(at, bytes)),
        1 => place.clone().prop_map(Damage::Cut),
        1 => (place.clone(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (place, 1..9_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
    ];
    prop::collection::vec(one, 0..5)
}

/// Does it.
pub(crate) fn damaged(valid: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for damage in damages {
        let within = |at: usize| at % (bytes.len() + 1);
        match damage {
            Damage::Set(at, new) => {
                let at = within(*at);
                let count = new.len().min(bytes.len() - at);
                bytes[at..at + count].copy_from_slice(&new[..count]);
            }
            Damage::Cut(at) => {
                let at = within(*at);
                bytes.truncate(at);
            }
            Damage::Insert(at, new) => {
                let at = within(*at);
                bytes.splice(at..at, new.iter().copied());
            }
            Damage::Remove(at, count) => {
                let at = within(*at);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
        }
    }
    bytes
}

/// Tries `check` on each of the valid inputs with changes. It fails by a panic.
pub(crate) fn fuzz<T: std::fmt::Debug>(valid: &[(T, Vec<u8>)], check: impl Fn(&T, &[u8])) {
    let cases = std::env::var("FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let inputs = (0..valid.len(), damages());
    let tried = runner.run(&inputs, |(which, damages)| {
        let (what, bytes) = &valid[which];
        check(what, &damaged(bytes, &damages));
        Ok(())
    });
    if let Err(failed) = tried {
        panic!("{failed}");
    }
}
