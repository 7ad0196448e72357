//! Validation of a produced batch, as far as its log: `single_batch`, then `check`.
//!
//! Question: does checking produced batches stay under 10 % of a core at 1 GiB/s, and what does a
//! topic pay that asks for another codec or looks into the records?
//! Budget: unopened >= 10 GiB/s from 16 KiB on, whatever the codec, and < 200 ns for 1 KiB: it is a
//! checksum and a header. Opened: <= 30 ns a record beyond what the codec itself takes.
//! Records of 100 B from a seed, that halve under compression; sizes are those before it.

#![allow(missing_docs, reason = "criterion_group! generates an undocumented function")]
#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it cannot do")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use klamm::base::WallMs;
use klamm::partition::append::{Body, Rules, check, single_batch};
use klamm::wire::codec::Codec;
use klamm::wire::record::{BatchBuilder, ProducerStamp};

const SEED: u64 = 0x5eed;
const SIZES: [usize; 3] = [1 << 10, 16 << 10, 1 << 20];
const VALUE_BYTES: usize = 100;
const NOW: WallMs = WallMs(1_700_000_000_000);

fn unopened(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch_unopened");
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        for size in SIZES {
            let batch = batch(codec, size);
            group.throughput(Throughput::Bytes(batch.len() as u64));
            let id = BenchmarkId::new(codec.name(), size);
            group.bench_with_input(id, &batch, |b, batch| {
                b.iter(|| validate(black_box(batch), &Rules::default(), false));
            });
        }
    }
    group.finish();
}

fn opened(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch_opened");
    let compacted = Rules { compacted: true, ..Rules::default() };
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        for size in SIZES {
            let batch = batch(codec, size);
            group.throughput(Throughput::Elements((size / VALUE_BYTES) as u64));
            let id = BenchmarkId::new(codec.name(), size);
            group.bench_with_input(id, &batch, |b, batch| {
                b.iter(|| validate(black_box(batch), &compacted, false));
            });
        }
    }
    group.finish();
}

fn recoded(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch_recoded");
    let ways = [(Codec::None, Codec::Lz4), (Codec::Lz4, Codec::Zstd), (Codec::Zstd, Codec::None)];
    for (from, to) in ways {
        let rules = Rules { codec: Some((to, to.default_level())), ..Rules::default() };
        for size in SIZES {
            let batch = batch(from, size);
            group.throughput(Throughput::Bytes(size as u64));
            let id = BenchmarkId::new(format!("{}_to_{}", from.name(), to.name()), size);
            group.bench_with_input(id, &batch, |b, batch| {
                b.iter(|| validate(black_box(batch), &rules, true));
            });
        }
    }
    group.finish();
}

fn validate(batch: &[u8], rules: &Rules, written_anew: bool) {
    let (header, bytes) = single_batch(batch, rules).unwrap();
    let checked = check(header, bytes, rules, NOW, None).unwrap();
    assert_eq!(matches!(checked.batch, Body::Rewritten(_)), written_anew);
    black_box(checked);
}

/// As many records as fit into `size` bytes; one batch of them.
fn batch(codec: Codec, size: usize) -> Bytes {
    let mut random = SEED;
    let mut builder = BatchBuilder::default();
    for i in 0_u32.. {
        if builder.size_bytes() + VALUE_BYTES + 20 > size {
            break;
        }
        let mut letter = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'a' + (random >> 60) as u8
        };
        let value: Vec<u8> = (0..VALUE_BYTES).map(|_| letter()).collect();
        builder.push(NOW.0 + i64::from(i), Some(&i.to_be_bytes()), Some(&value), &[]);
    }
    builder.build(codec, ProducerStamp::NONE).unwrap()
}

criterion_group!(benches, unopened, opened, recoded);
criterion_main!(benches);
