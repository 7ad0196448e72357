//! The records against bytes that a real Kafka wrote, whole and damaged.

use bytes::Bytes;
use expect_test::expect;

use super::world::describe_record;
use super::world::{at_ms, limits};
use crate::base::fuzzing::fuzz;
use crate::coordinator::records::{self, Key, Record};
use crate::coordinator::{Groups, RecordError};

/// Values of groups in version 0, without timestamps of states, instances and rebalance timeouts, and in
/// version 4, with lengths of one byte.
const OLD: &str = "0000 0001 63 00000005 ffff 0001 6d 00000001 0001 6d 0001 63 0001 68 00001770 00000000 00000001 41";
const FLEXIBLE: &str = "0004 02 63 00000005 00 02 6d 0000000000000001 02 02 6d 00 02 63 02 68 00000001 00001770 01 02 41 00 00";
/// Values of offsets in version 1, which expires, and in version 4, with a topic id.
const EXPIRES: &str = "0001 0000000000000007 0001 6d 0000000000000009 000000000000000b";
const OF_TOPIC: &str = "0004 0000000000000007 00000002 02 6d 0000000000000009 01 00 10 30313233343536373839616263646566";

/// Key and value of every record in the file.
fn kafka_records() -> Vec<Record> {
    let text = include_str!("../../../tests/data/consumer_offsets.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let record = |line: &str| {
        let (key, value) = line.split_once(' ').unwrap();
        let value = if value == "-" { None } else { Some(unhex(value)) };
        Record { key: unhex(key), value }
    };
    lines.map(record).collect()
}

fn unhex(text: &str) -> Bytes {
    let text = text.replace(' ', "");
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

#[test]
fn kafkas_records_are_read() {
    let read: Vec<_> = kafka_records().iter().map(describe_record).collect();
    expect![[r#"
        group fix-b gen 0
        group fix-b gen 1 [inst-1-116c5066-961b-4639-9b86-e62abbe4deeb b"ASG1"]
        group fix-b gen 2 [kdiff-b665584a-1df8-4bc0-9ec7-4439e4526043 b"ASG2"] [inst-1-116c5066-961b-4639-9b86-e62abbe4deeb b"ASG1"]
        offset fix-b ft/0=5
        offset fix-b ft/1=6
        offset fix-b ft/2=7
        offset fix-b ft/0=8
        group fix-b gen 3
        no offset fix-b ft/1
        no offset fix-b ft/2
        no offset fix-b ft/0
        no group fix-b
    "#]]
    .assert_eq(&(read.join("\n") + "\n"));
}

#[test]
fn every_record_is_written_with_kafkas_own_bytes() {
    for record in kafka_records() {
        let key = Key::parse(&record.key).unwrap();
        let written = match (&key, record.value.as_deref()) {
            (_, None) => key.tombstone(),
            (Key::Group(group), Some(value)) => {
                records::group_record(group, &records::read_group(value).unwrap())
            }
            (_, Some(value)) => records::offset_record(&key, &records::read_offset(value).unwrap()),
        };
        assert_eq!(written, record, "{}", describe_record(&record));
    }
}

#[test]
fn a_cut_record_is_an_error_and_not_a_panic() {
    for record in kafka_records() {
        for cut in 0..record.key.len() {
            assert!(Key::parse(&record.key[..cut]).is_err(), "key cut at {cut}");
        }
        let Some(value) = record.value else { continue };
        for cut in 0..value.len() {
            let value = &value[..cut];
            let read = match Key::parse(&record.key).unwrap() {
                Key::Group(_) => records::read_group(value).map(|_| ()),
                _ => records::read_offset(value).map(|_| ()),
            };
            assert!(read.is_err(), "value cut at {cut}");
        }
    }
}

#[test]
fn old_and_flexible_versions_are_read_and_newer_ones_are_refused() {
    let group = records::read_group(&unhex(OLD)).unwrap();
    let member = &group.members[0];
    assert_eq!((group.generation, group.since_ms, &*member.id), (5, -1, "m"));
    assert_eq!((member.rebalance_timeout_ms, member.session_timeout_ms), (6000, 6000));
    let group = records::read_group(&unhex(FLEXIBLE)).unwrap();
    let member = &group.members[0];
    assert_eq!((group.generation, group.since_ms, &*member.id), (5, 1, "m"));
    assert_eq!((member.rebalance_timeout_ms, &member.assignment[..]), (1, &b"A"[..]));
    let newer = RecordError::UnknownVersion { what: "offset", version: 5, newest: 4 };
    assert_eq!(records::read_offset(&[0, 5]), Err(newer));
}

#[test]
fn fuzzed_records_read_back_as_they_were_read_or_are_refused() {
    let values = [OLD, FLEXIBLE, EXPIRES, OF_TOPIC].map(|value| ("value", unhex(value).to_vec()));
    let of = |r: Record| [("key", Some(r.key)), ("value", r.value)];
    let parts = kafka_records().into_iter().flat_map(of);
    let parts = parts.filter_map(|(part, bytes)| Some((part, bytes?.to_vec())));
    let valid: Vec<_> = parts.chain(values).collect();
    let key = Key::Offset { group: "g", topic: "t", partition: 0 };
    fuzz(&valid, |_, bytes| {
        if let Ok(key) = Key::parse(bytes)
            && key != Key::Other
        {
            assert_eq!(Key::parse(&key.bytes()), Ok(key));
        }
        if let Ok(offset) = records::read_offset(bytes) {
            let again = records::offset_record(&key, &offset).value.unwrap();
            assert_eq!(records::read_offset(&again), Ok(offset));
        }
        if let Ok(group) = records::read_group(bytes) {
            assert!(group.members.len() <= bytes.len());
            let again = records::group_record("g", &group).value.unwrap();
            assert_eq!(records::read_group(&again), Ok(group));
        }
        let topics = records::subscribed_topics(bytes);
        assert!(topics.is_none_or(|topics| topics.len() <= bytes.len()));
        let mut groups = Groups::<()>::new(limits(), 1);
        groups.load(0, &mut Vec::new());
        let _ = groups.replay(0, bytes, None);
        for key in [key, Key::Group("g")] {
            let _ = groups.replay(0, &key.bytes(), Some(bytes));
        }
        groups.loaded(0, at_ms(0), &mut Vec::new());
    });
}
