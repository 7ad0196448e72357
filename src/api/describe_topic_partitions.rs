//! DescribeTopicPartitions (key 75): topics in pages, each page with a cursor to the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_wire::describe_topic_partitions_request::Cursor as AskedCursor;
use kafka_wire::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};

use crate::api::metadata::{leader_error, node_ids};
use crate::api::pieces::read_long;
use crate::api::{Outcome, PARTITIONS_MAX, rights};
use crate::controller::check_topic_name;
use crate::image::{Image, Partition, is_internal_topic};
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::{
    self as kafka_wire, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use crate::wire::{ErrorCode, frame};

/// A name takes about this much.
const NAME_BYTES: usize = 32;

/// Serves the request.
pub fn handle(shard: &mut Shard, call: &Call, body: &[u8]) -> Outcome {
    let (image, limit_max) = (Arc::clone(&shard.image), shard.config.described_partitions_max);
    let (body, size) = (shard.keep(body), body.len() / NAME_BYTES);
    read_long(shard, call, size, move |call| {
        let request = frame::decode_request(body, call.version, PARTITIONS_MAX)?;
        Ok(call.answer(&respond(&image, limit_max.max(1), &request)))
    })
}

fn respond(
    image: &Image,
    limit_max: usize,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let asked: BTreeSet<String> = request.topics.iter().map(|t| t.name.to_string()).collect();
    let cursor = request.cursor.as_ref();
    let known = |c: &AskedCursor| asked.is_empty() || asked.contains(c.topic_name.as_str());
    if cursor.is_some_and(|c| c.partition_index < 0 || !known(c)) {
        let names = asked.iter();
        let topics = names.map(|n| failed(n, ErrorCode::INVALID_REQUEST, rights::NOT_ASKED));
        return msg!(DescribeTopicPartitionsResponse { topics: topics.collect() });
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, limit_max);
    let first = cursor.map_or("", |c| c.topic_name.as_str());
    let mut page = Page { image, cursor, left: limit, topics: Vec::new(), next: None };
    if asked.is_empty() {
        let names = image.topics_from(first).map(|t| &*t.name);
        page.fill(names);
    } else {
        page.fill(asked.iter().map(String::as_str).filter(|n| *n >= first));
    }
    let (topics, next_cursor) = (page.topics, page.next);
    msg!(DescribeTopicPartitionsResponse { topics, next_cursor })
}

/// One response in the making.
struct Page<'a> {
    image: &'a Image,
    cursor: Option<&'a AskedCursor>,
    /// Partitions that still fit.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

impl Page<'_> {
    fn fill<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        for name in names {
            if self.left == 0 {
                self.next = Some(msg!(Cursor { topic_name: name.into() }));
                return;
            }
            if !self.add(name) {
                return;
            }
        }
    }

    /// Adds a topic; false when only a part of it fitted.
    fn add(&mut self, name: &str) -> bool {
        let Some(topic) = self.image.topic(name) else {
            let code = match check_topic_name(name) {
                Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
            };
            self.topics.push(failed(name, code, rights::TOPIC));
            return true;
        };
        let start = self.cursor.filter(|c| c.topic_name.as_str() == name);
        let start = start.map_or(0, |c| usize::try_from(c.partition_index).unwrap_or(0));
        let rest = topic.partitions.iter().enumerate().skip(start);
        let partitions: Vec<_> = rest.take(self.left).map(|(i, p)| partition(i, p)).collect();
        let end = start.saturating_add(partitions.len());
        self.left -= partitions.len();
        self.topics.push(msg!(DescribeTopicPartitionsResponseTopic {
            name: Some(name.into()),
            topic_id: topic.id.into(),
            is_internal: is_internal_topic(name),
            partitions,
            topic_authorized_operations: rights::TOPIC,
        }));
        if end >= topic.partitions.len() {
            return true;
        }
        self.next = Some(msg!(Cursor { topic_name: name.into(), partition_index: end as i32 }));
        false
    }
}

fn partition(index: usize, state: &Partition) -> DescribeTopicPartitionsResponsePartition {
    msg!(DescribeTopicPartitionsResponsePartition {
        error_code: leader_error(state).0,
        partition_index: index as i32,
        leader_id: state.leader.0,
        leader_epoch: state.leader_epoch.0,
        replica_nodes: node_ids(&state.replicas),
        isr_nodes: node_ids(&state.isr),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
    })
}

fn failed(
    name: &str,
    code: ErrorCode,
    topic_authorized_operations: i32,
) -> DescribeTopicPartitionsResponseTopic {
    msg!(DescribeTopicPartitionsResponseTopic {
        error_code: code.0,
        name: Some(name.into()),
        is_internal: is_internal_topic(name),
        topic_authorized_operations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::change::{create_missing, decide};
    use crate::api::testing::World;
    use crate::controller::NewTopic;
    use expect_test::{Expect, expect};
    use std::fmt::Write as _;

    use kafka_wire::describe_topic_partitions_request::TopicRequest;

    /// Two topics, `a` of two partitions and `b` of one.
    fn world() -> World {
        let mut world = World::new(1, "");
        world.shards[0].miss(vec!["b".to_owned()]);
        create_missing(&mut world.shards[0]);
        let a = NewTopic {
            name: "a".into(),
            partitions: 2,
            replication_factor: 1,
            ..NewTopic::default()
        };
        let (records, _) = decide(&mut world.shards[0], |c| c.create_topics(vec![a], false));
        world.shards[0].propose(&records, None).unwrap();
        ask(&mut world, &[], 1, None);
        world
    }

    fn ask(
        world: &mut World,
        names: &[&str],
        limit: i32,
        cursor: Option<(&str, i32)>,
    ) -> DescribeTopicPartitionsResponse {
        let topic = |name: &&str| msg!(TopicRequest { name: (*name).into() });
        let request = msg!(DescribeTopicPartitionsRequest {
            topics: names.iter().map(topic).collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, index)| {
                msg!(AskedCursor { topic_name: name.into(), partition_index: index })
            }),
        });
        world.ask(0, 0, &request)
    }

    #[track_caller]
    fn check(names: &[&str], limit: i32, cursor: Option<(&str, i32)>, expect: &Expect) {
        let response = ask(&mut world(), names, limit, cursor);
        let mut text = String::new();
        for topic in &response.topics {
            let indexes: Vec<_> = topic.partitions.iter().map(|p| p.partition_index).collect();
            let name = topic.name.as_deref().unwrap_or("-");
            write!(text, "{name} {} {indexes:?}; ", topic.error_code).unwrap();
        }
        let next = response.next_cursor.as_ref();
        let next = next.map(|c| format!("next {} {}", c.topic_name, c.partition_index));
        expect.assert_eq(&(text + next.as_deref().unwrap_or("end")));
    }

    #[test]
    fn a_page_ends_with_the_place_of_the_next_one() {
        check(&["b", "a", "a"], 2000, None, &expect!["a 0 [0, 1]; b 0 [0]; end"]);
        check(&["a", "b"], 1, None, &expect!["a 0 [0]; next a 1"]);
        check(&["a", "b"], 2, None, &expect!["a 0 [0, 1]; next b 0"]);
        check(&["a", "b"], 0, Some(("a", 1)), &expect!["a 0 [1]; next b 0"]);
        check(&["a", "b"], 9, Some(("b", 0)), &expect!["b 0 [0]; end"]);
        check(&["a", "nope", "a b"], 9, None, &expect!["a 0 [0, 1]; a b 17 []; nope 3 []; end"]);
        check(&[], 2, None, &expect!["a 0 [0, 1]; next b 0"]);
        check(&[], 2, Some(("b", 0)), &expect!["b 0 [0]; end"]);
    }

    #[test]
    fn a_cursor_that_points_nowhere_is_refused() {
        check(&["a"], 9, Some(("a", -1)), &expect!["a 42 []; end"]);
        check(&["a"], 9, Some(("zz", 0)), &expect!["a 42 []; end"]);
        check(&["a"], 9, Some(("a", 99)), &expect!["a 0 []; end"]);
    }
}
