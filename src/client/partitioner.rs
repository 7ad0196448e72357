//! Which partition a record goes to: murmur2 of its key, as every Kafka client does, so that a key
//! stays where it is whoever produces it; records without a key fill one partition after another.

/// Kafka's murmur2: 32 bits, fixed seed, little-endian words.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (i, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Partition of a key among `partitions`, of which there is at least one.
pub fn partition_of_key(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions.max(1)
}

/// Draws partitions for records without a key: the same one until its batch is full.
#[derive(Debug, Clone)]
pub struct Sticky {
    state: u64,
    current: Option<usize>,
}

impl Sticky {
    /// `seed` makes the draws differ between clients.
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1, current: None }
    }

    /// The partition to fill now, among `partitions`, of which there is at least one.
    pub fn current(&mut self, partitions: usize) -> usize {
        if let Some(current) = self.current.filter(|&c| c < partitions) {
            return current;
        }
        // xorshift64: even enough to spread batches.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let drawn = (self.state >> 16) as usize % partitions.max(1);
        self.current = Some(drawn);
        drawn
    }

    /// The batch of the current partition is full.
    pub fn next_batch(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_the_values_of_kafkas_own_tests() {
        let known: [(&[u8], i32); 8] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
            (b"abcd", -1_323_649_548),
        ];
        for (key, value) in known {
            assert_eq!(murmur2(key).cast_signed(), value, "{key:?}");
        }
    }

    #[test]
    fn keys_go_where_kafka_puts_them() {
        let three: Vec<_> = ["k1", "k2", "k3", "k9"]
            .map(|k| partition_of_key(k.as_bytes(), 3))
            .into_iter()
            .collect();
        assert_eq!(three, [2, 0, 1, 2]);
    }

    #[test]
    fn a_sticky_partition_stays_until_its_batch_is_full_and_all_get_their_turn() {
        let mut sticky = Sticky::new(7);
        let mut seen = [0; 8];
        for _ in 0..800 {
            let first = sticky.current(8);
            assert_eq!(sticky.current(8), first);
            seen[first] += 1;
            sticky.next_batch();
        }
        assert!(seen.iter().all(|&n| n > 50), "{seen:?}");
        let mut sticky = Sticky::new(7);
        sticky.current(8);
        assert_eq!(sticky.current(1), 0);
    }
}
