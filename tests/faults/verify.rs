//! The checker, second half: what must hold of the events of a run.
//!
//! - V1. What was acknowledged lies where its producer was told.
//! - V2. An offset never changes its value, and what anybody has seen stays.
//! - V3. Nothing is there that was never sent, in another partition, or with other bytes.
//! - V4. The records of a producer are in order, and none is there twice (idempotent producers, and
//!   those that never send a record again).
//! - V5. A reader gets every offset of a partition, one after the other, from where it began.
//! - V6. Committed offsets never go back, nor behind what a member was told.
//! - V7. The members of the group together got every record below what they committed.
//!
//! One reader, the auditor, has read everything from the start at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Event, Place, Record};

/// The reader that reads everything at the end.
pub const AUDITOR: u16 = 0;
/// Readers from here on are members of the group.
pub const MEMBERS: u16 = 100;
/// The most violations that are told.
const TOLD: usize = 20;

/// What a run was like.
pub struct Run {
    pub partitions: i32,
    /// By producer: it may send a record twice.
    pub repeats: Vec<bool>,
}

impl Run {
    /// The partition that a record goes to.
    pub fn partition(&self, record: Record) -> i32 {
        (record.number % self.partitions.cast_unsigned()).cast_signed()
    }

    /// All that does not hold; empty when all is well.
    pub fn violations(&self, events: &[Event]) -> Vec<String> {
        let mut found = Vec::new();
        let log = audited(events);
        self.values(events, &log, &mut found);
        self.order(&log, &mut found);
        readers(events, &mut found);
        commits(events, &mut found);
        members(events, &mut found);
        found.truncate(TOLD);
        found
    }

    /// V1, V2, V3.
    fn values(&self, events: &[Event], log: &BTreeMap<Place, Record>, found: &mut Vec<String>) {
        let mut sent = BTreeSet::new();
        for event in events {
            match event {
                Event::Sent(record) => drop(sent.insert(*record)),
                Event::Acked(record, place) if log.get(place) != Some(record) => {
                    let there = log.get(place);
                    found.push(format!("V1: {record:?} was acknowledged at {place:?}: {there:?}"));
                }
                Event::Polled { reader, place, record } => {
                    let there = log.get(place);
                    if there != Some(record) {
                        found.push(format!("V2: {reader} saw {record:?} at {place:?}: {there:?}"));
                    }
                    if !sent.contains(record) || self.partition(*record) != place.0 {
                        found.push(format!("V3: {record:?} at {place:?} was never sent there"));
                    }
                }
                Event::Foreign { reader, place, value } => {
                    let bytes = value.len();
                    found.push(format!("V3: {reader} got {bytes} strange bytes at {place:?}"));
                }
                _ => (),
            }
        }
    }

    /// V4.
    fn order(&self, log: &BTreeMap<Place, Record>, found: &mut Vec<String>) {
        let mut last: BTreeMap<(i32, u16), u32> = BTreeMap::new();
        for (place, record) in log {
            let before = last.insert((place.0, record.producer), record.number);
            let repeats = self.repeats.get(usize::from(record.producer)) == Some(&true);
            if !repeats && before.is_some_and(|before| before >= record.number) {
                found.push(format!("V4: {record:?} at {place:?} comes after {before:?}"));
            }
        }
    }
}

/// V7.
fn members(events: &[Event], found: &mut Vec<String>) {
    let mut got = BTreeSet::new();
    let mut committed: BTreeMap<i32, i64> = BTreeMap::new();
    for event in events {
        match event {
            Event::Polled { reader, place, .. } if *reader >= MEMBERS => {
                got.insert(*place);
            }
            Event::Committed { partition, offset } => {
                committed.insert(*partition, *offset);
            }
            _ => (),
        }
    }
    for (partition, end) in committed {
        let missing = (0..end).find(|offset| !got.contains(&(partition, *offset)));
        if let Some(offset) = missing {
            found.push(format!("V7: no member got {partition}@{offset}, below {end}"));
        }
    }
}

/// What the auditor read.
fn audited(events: &[Event]) -> BTreeMap<Place, Record> {
    let read = events.iter().filter_map(|event| match event {
        Event::Polled { reader: AUDITOR, place, record } => Some((*place, *record)),
        _ => None,
    });
    read.collect()
}

/// V5.
fn readers(events: &[Event], found: &mut Vec<String>) {
    let mut at: BTreeMap<(u16, i32), i64> = BTreeMap::new();
    for event in events {
        match event {
            Event::Began { reader, partition } => drop(at.remove(&(*reader, *partition))),
            Event::Polled { reader, place: (partition, offset), .. }
            | Event::Foreign { reader, place: (partition, offset), .. } => {
                let whole = *reader < MEMBERS;
                let expected = at.insert((*reader, *partition), offset + 1);
                let expected = expected.or(whole.then_some(0));
                if expected.is_some_and(|expected| expected != *offset) {
                    found.push(format!("V5: {reader} got {partition}@{offset}, not {expected:?}"));
                }
            }
            _ => (),
        }
    }
}

/// V6. Several may ask at a time, so each answer is held against what was known at its question.
fn commits(events: &[Event], found: &mut Vec<String>) {
    let mut known: BTreeMap<i32, i64> = BTreeMap::new();
    let mut asked: BTreeMap<(u16, i32), i64> = BTreeMap::new();
    for event in events {
        match event {
            Event::Asked { by, partition } => {
                asked.insert((*by, *partition), known.get(partition).copied().unwrap_or_default());
            }
            Event::Committed { partition, offset } | Event::Answered { partition, offset, .. } => {
                let known = known.entry(*partition).or_default();
                *known = (*known).max(*offset);
            }
            _ => (),
        }
        if let Event::Answered { by, partition, offset } = event
            && let Some(least) = asked.remove(&(*by, *partition))
            && *offset < least
        {
            found.push(format!("V6: {partition} is at {offset}, it was at {least}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: fn() -> Run = || Run { partitions: 1, repeats: vec![false, true] };

    fn record(producer: u16, number: u32) -> Record {
        Record { producer, number }
    }

    fn polled(reader: u16, offset: i64, number: u32) -> Event {
        Event::Polled { reader, place: (0, offset), record: record(0, number) }
    }

    /// Two records, sent, acknowledged, read by the auditor and the group, committed.
    fn good() -> Vec<Event> {
        vec![
            Event::Sent(record(0, 0)),
            Event::Sent(record(0, 1)),
            Event::Acked(record(0, 0), (0, 0)),
            Event::Began { reader: MEMBERS, partition: 0 },
            polled(MEMBERS, 0, 0),
            polled(MEMBERS, 1, 1),
            Event::Committed { partition: 0, offset: 2 },
            Event::Asked { by: 0, partition: 0 },
            Event::Answered { by: 0, partition: 0, offset: 2 },
            polled(AUDITOR, 0, 0),
            polled(AUDITOR, 1, 1),
        ]
    }

    #[test]
    fn a_good_run_has_no_violation_and_each_bad_one_has_its_own() {
        assert_eq!(RUN().violations(&good()), Vec::<String>::new());
        let foreign = Event::Foreign { reader: 1, place: (0, 0), value: bytes::Bytes::new() };
        let answered = Event::Answered { by: 0, partition: 0, offset: 1 };
        let bad = [
            ("V1", 2, Event::Acked(record(0, 1), (0, 0))),
            ("V1", 2, Event::Acked(record(0, 2), (0, 2))),
            ("V2", 4, polled(MEMBERS, 0, 1)),
            ("V3", 1, Event::Sent(record(0, 5))),
            ("V3", 7, foreign),
            ("V4", 10, polled(AUDITOR, 1, 0)),
            ("V5", 9, polled(AUDITOR, 1, 1)),
            ("V6", 8, answered),
            ("V7", 4, Event::Down(1)),
        ];
        for (rule, i, event) in bad {
            let mut events = good();
            events[i] = event;
            let found = RUN().violations(&events);
            assert!(found.iter().any(|f| f.starts_with(rule)), "{rule} {i}: {found:?}");
        }
    }
}
