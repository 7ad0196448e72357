//! Ids of members, and which partition of the offsets topic a group belongs to.

use std::sync::Arc;

/// Makes member ids out of a seed: the same seed gives the same ids, so a simulation repeats.
#[derive(Debug)]
pub(super) struct MemberIds {
    state: u64,
}

impl MemberIds {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `<name>-<uuid>` with a random (version 4) UUID; the name is the instance or the client id.
    pub(super) fn next(&mut self, name: &str) -> Arc<str> {
        let (high, low) = (self.bits(), self.bits());
        let version = (high & !0xf000) | 0x4000;
        let variant = (low & !(0b11 << 62)) | (0b10 << 62);
        let hex = format!("{version:016x}{variant:016x}");
        let (first, second, third) = (&hex[..8], &hex[8..12], &hex[12..16]);
        format!("{name}-{first}-{second}-{third}-{}-{}", &hex[16..20], &hex[20..]).into()
    }

    /// SplitMix64.
    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Partition of the offsets topic that holds `group`: the absolute value of Java's string hash, modulo.
/// Zero for a topic without partitions.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0).checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_id_is_the_name_and_a_random_uuid() {
        let mut ids = MemberIds::new(7);
        let (one, two) = (ids.next("app"), ids.next("app"));
        assert_ne!(one, two);
        assert_eq!((one.len(), &one[..4]), (40, "app-"));
        assert_eq!((&one[18..19], one.matches('-').count()), ("4", 5), "{one}");
        assert!("89ab".contains(&one[23..24]), "{one}");
    }

    #[test]
    fn a_group_lies_where_kafka_puts_it() {
        for (group, partition) in
            [("fix-a", 9), ("neg-grp-7919-x", 16), ("", 0), ("h\u{e4}\u{1f600}", 21)]
        {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
        assert_eq!(partition_of("g", 0), 0);
    }
}
