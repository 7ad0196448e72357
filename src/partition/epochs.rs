//! Which leader epoch began at which offset.
//!
//! Answers OffsetForLeaderEpoch and divergence in Fetch (KIP-101, KIP-320). On disk it is Kafka's
//! `leader-epoch-checkpoint`: a version line `0`, the number of entries, then `epoch startOffset`.
//!
//! Invariant E1: epochs and start offsets both grow from entry to entry.

use std::fmt::Write as _;

use crate::base::{LeaderEpoch, Offset};

/// Start offsets of the leader epochs of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// The text is not a leader-epoch checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the leader-epoch checkpoint is not valid: {text:?}")]
pub struct EpochsError {
    /// 1-based.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

impl Epochs {
    /// No epochs.
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of `epoch` was appended with base offset `base`. Only a new epoch changes anything.
    pub fn on_append(&mut self, epoch: LeaderEpoch, base: Offset) {
        if self.latest().is_none_or(|latest| epoch > latest) && epoch.0 >= 0 {
            self.entries.retain(|&(_, start)| start < base);
            self.entries.push((epoch, base));
        }
    }

    /// Newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|e| e.0)
    }

    /// Oldest epoch with its start.
    pub fn earliest(&self) -> Option<(LeaderEpoch, Offset)> {
        self.entries.first().copied()
    }

    /// Epoch that the record at `offset` was written in.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.entries.iter().rev().find(|&&(_, start)| start <= offset).map(|e| e.0)
    }

    /// The epoch and end offset to answer for `asked` (Kafka's `LeaderEpochFileCache`):
    /// `log_end` for the newest epoch; `None` when `asked` is newer than every known one; the start
    /// of the first known epoch when it is older; else the largest known epoch not above `asked`
    /// and where the next one starts.
    pub fn end_offset_for(
        &self,
        asked: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let (first, first_start) = self.earliest()?;
        let latest = self.latest()?;
        if asked.0 < 0 || asked > latest {
            return None;
        }
        if asked == latest {
            return Some((asked, log_end));
        }
        if asked < first {
            return Some((asked, first_start));
        }
        let next = self.entries.partition_point(|e| e.0 <= asked);
        Some((self.entries[next - 1].0, self.entries[next].1))
    }

    /// Forgets what lies wholly below `log_start`; the epoch of `log_start` then begins there.
    pub fn truncate_start(&mut self, log_start: Offset) {
        let keep = self.entries.partition_point(|e| e.1 <= log_start).saturating_sub(1);
        self.entries.drain(..keep);
        if let Some(first) = self.entries.first_mut() {
            first.1 = first.1.max(log_start);
        }
    }

    /// Forgets epochs that begin at or after `log_end`.
    pub fn truncate_end(&mut self, log_end: Offset) {
        self.entries.retain(|e| e.1 < log_end);
    }

    /// The checkpoint's text.
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            let _ = writeln!(text, "{epoch} {start}");
        }
        text
    }

    /// Reads the checkpoint's text.
    ///
    /// # Errors
    /// [`EpochsError`] names the first line that is not valid, a wrong count or order included.
    pub fn from_text(text: &str) -> Result<Self, EpochsError> {
        let bad = |line: usize| EpochsError {
            line: line + 1,
            text: text.lines().nth(line).unwrap_or_default().to_owned(),
        };
        let mut lines = text.lines().enumerate();
        lines.next().filter(|(_, l)| *l == "0").ok_or_else(|| bad(0))?;
        let count: usize = lines.next().and_then(|(_, l)| l.parse().ok()).ok_or_else(|| bad(1))?;
        let mut entries: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for (at, line) in lines {
            let (epoch, start) = line.split_once(' ').ok_or_else(|| bad(at))?;
            let epoch = LeaderEpoch(epoch.parse().map_err(|_| bad(at))?);
            let start = Offset(start.parse().map_err(|_| bad(at))?);
            if entries.last().is_some_and(|&(e, s)| e >= epoch || s > start) {
                return Err(bad(at));
            }
            entries.push((epoch, start));
        }
        if entries.len() == count { Ok(Self { entries }) } else { Err(bad(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> Epochs {
        let mut e = Epochs::new();
        for (epoch, base) in [(2, 10), (2, 12), (5, 20), (7, 30)] {
            e.on_append(LeaderEpoch(epoch), Offset(base));
        }
        e
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_one_starts() {
        let ask = |e| epochs().end_offset_for(LeaderEpoch(e), Offset(40)).map(|(e, o)| (e.0, o.0));
        assert_eq!(ask(7), Some((7, 40)), "the newest ends at the log's end");
        assert_eq!(ask(8), None, "newer than all");
        assert_eq!(ask(-1), None, "no epoch");
        assert_eq!(ask(1), Some((1, 10)), "older than all");
        assert_eq!(ask(2), Some((2, 20)));
        assert_eq!(ask(4), Some((2, 20)), "between two");
        assert_eq!(Epochs::new().end_offset_for(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn the_checkpoint_reads_back_and_damage_names_its_line() {
        let text = epochs().to_text();
        assert_eq!(text, "0\n3\n2 10\n5 20\n7 30\n");
        assert_eq!(Epochs::from_text(&text), Ok(epochs()));
        for (damaged, line) in [("1\n0\n", 1), ("0\n2\n1 1\n", 2), ("0\n1\n1 x\n", 3), ("", 1)] {
            assert_eq!(Epochs::from_text(damaged).unwrap_err().line, line, "{damaged:?}");
        }
    }

    #[test]
    fn truncation_keeps_the_epoch_of_the_first_and_of_the_last_record() {
        let mut e = epochs();
        e.truncate_start(Offset(25));
        assert_eq!(e.to_text(), "0\n2\n5 25\n7 30\n");
        e.truncate_end(Offset(30));
        assert_eq!(e.to_text(), "0\n1\n5 25\n");
        assert_eq!(e.epoch_of(Offset(26)), Some(LeaderEpoch(5)));
    }
}
