//! The records against bytes that a real Kafka wrote.

use bytes::Bytes;
use expect_test::expect;

use super::world::describe_record;
use crate::coordinator::RecordError;
use crate::coordinator::records::{self, Key, Record};

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
    // Version 0: no timestamps of state, no instance, no rebalance timeout; it is the session's.
    let old = unhex("0000 0001 63 00000005 ffff 0001 6d 00000001 0001 6d 0001 63 0001 68 00001770 00000000 00000001 41".replace(' ', "").as_str());
    let group = records::read_group(&old).unwrap();
    let member = &group.members[0];
    assert_eq!((group.generation, group.since_ms, &*member.id), (5, -1, "m"));
    assert_eq!((member.rebalance_timeout_ms, member.session_timeout_ms), (6000, 6000));
    let flexible = unhex("0004 02 63 00000005 00 02 6d 0000000000000001 02 02 6d 00 02 63 02 68 00000001 00001770 01 02 41 00 00".replace(' ', "").as_str());
    let group = records::read_group(&flexible).unwrap();
    let member = &group.members[0];
    assert_eq!((group.generation, group.since_ms, &*member.id), (5, 1, "m"));
    assert_eq!((member.rebalance_timeout_ms, &member.assignment[..]), (1, &b"A"[..]));
    let newer = RecordError::UnknownVersion { what: "offset", version: 5, newest: 4 };
    assert_eq!(records::read_offset(&[0, 5]), Err(newer));
}
