//! The checker, first half: what clients did and were told, one event after the other.
//!
//! Every client tells what it does through a [`Teller`]; the channel keeps the order, so what one
//! client was told before another asked stands before it. When a run fails the log is written to disk.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;

/// Where a record lies: partition, offset.
pub type Place = (i32, i64);

/// A record by who sent it, and its number there. Its value follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    pub producer: u16,
    pub number: u32,
}

impl Record {
    /// What is sent: every byte follows from the record, so that a wrong one is seen.
    pub fn value(self) -> Vec<u8> {
        let mut value = format!("{}:{}:", self.producer, self.number).into_bytes();
        let mut state = u64::from(self.number) << 16 | u64::from(self.producer);
        let len = [0, 20, 300, 3_000][self.number as usize % 4];
        value.extend((0..len).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        }));
        value
    }

    /// Which record has this value; `None` when none has.
    pub fn of(value: &[u8]) -> Option<Self> {
        let mut parts = value.splitn(3, |b| *b == b':');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u32>().ok();
        let (producer, number) = (number()?, number()?);
        let record = Self { producer: producer.try_into().ok()?, number };
        (record.value() == value).then_some(record)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server was killed or stopped for the n-th time.
    Down(u32),
    /// A producer is about to hand a record to its client.
    Sent(Record),
    /// A producer was told that a record lies here.
    Acked(Record, Place),
    /// A reader begins to read a partition anew.
    Began { reader: u16, partition: i32 },
    /// A reader got a record.
    Polled { reader: u16, place: Place, record: Record },
    /// A reader got bytes that are no record of ours.
    Foreign { reader: u16, place: Place, value: Bytes },
    /// A member of the group was told that its commit is done.
    Committed { partition: i32, offset: i64 },
    /// Somebody asks what the group has committed.
    Asked { by: u16, partition: i32 },
    /// The answer.
    Answered { by: u16, partition: i32, offset: i64 },
}

/// How clients tell.
#[derive(Clone)]
pub struct Teller(Sender<Event>);

impl Teller {
    pub fn tell(&self, event: Event) {
        let _ = self.0.send(event);
    }

    /// A reader got a value.
    pub fn polled(&self, reader: u16, place: Place, value: &[u8]) {
        self.tell(match Record::of(value) {
            Some(record) => Event::Polled { reader, place, record },
            None => Event::Foreign { reader, place, value: Bytes::copy_from_slice(value) },
        });
    }
}

/// The log of one run.
pub struct Book {
    pub events: Vec<Event>,
    told: Receiver<Event>,
    file: PathBuf,
}

impl Book {
    /// An empty one; `name` is what its file is called if the run fails.
    pub fn new(name: &str) -> (Teller, Self) {
        let (teller, told) = channel();
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.events"));
        (Teller(teller), Self { events: Vec::new(), told, file })
    }

    /// Takes in what was told meanwhile.
    pub fn read(&mut self) -> &[Event] {
        self.events.extend(self.told.try_iter());
        &self.events
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            for event in self.read() {
                let _ = writeln!(text, "{event:?}");
            }
            eprintln!("all events: {} ({:?})", self.file.display(), fs::write(&self.file, text));
        }
    }
}

#[test]
fn a_value_tells_its_record_and_any_other_byte_is_seen() {
    for number in 0..4 {
        let record = Record { producer: 7, number };
        let mut value = record.value();
        assert_eq!(Record::of(&value), Some(record));
        *value.last_mut().unwrap() ^= 1;
        assert_eq!(Record::of(&value), None);
    }
    assert_eq!(Record::of(b"hello"), None);
}
