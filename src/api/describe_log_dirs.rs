//! DescribeLogDirs (key 35): what this node's log directory holds, how large it is and what room is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::Outcome;
use crate::api::pieces::survey;
use crate::msg;
use crate::runtime::space::Space;
use crate::shard::survey::{SLICE, Survey};
use crate::shard::{Call, Shard};
use crate::storage::LogId;
use crate::wire::frame::Answer;
use crate::wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use crate::wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition as Row, DescribeLogDirsResult as Dir, DescribeLogDirsTopic as Topic,
};
use crate::wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

/// Serves the request; a null list of topics asks for all.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeLogDirsRequest) -> Outcome {
    let space = shard.space.as_mut().and_then(|probe| probe.look(shard.now));
    let mut found = Found { dir: Arc::clone(&shard.dir), space, topics: BTreeMap::new(), at: 0 };
    let Some(topics) = request.topics else { return survey(shard, call, found) };
    for (topic, partitions) in each_once(topics) {
        for index in partitions {
            if let Ok(log) = shard.partitions.find(&topic, index) {
                found.add(shard, log);
            }
        }
    }
    Outcome::Answer(Box::new(found).answer(call))
}

/// What is asked for, by name and number.
pub(super) fn each_once(topics: Vec<DescribableLogDirTopic>) -> BTreeMap<String, BTreeSet<i32>> {
    let mut once: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics {
        once.entry(topic.topic.to_string()).or_default().extend(topic.partitions);
    }
    once
}

/// What there is.
struct Found {
    dir: Arc<str>,
    space: Option<Space>,
    topics: BTreeMap<Arc<str>, Vec<Row>>,
    /// Places of partitions before this one are looked at.
    at: usize,
}

impl Found {
    fn add(&mut self, shard: &Shard, log: LogId) {
        let Some((partition, log)) = shard.partitions.get(log).zip(shard.store.log(log)) else {
            return;
        };
        let (partition_index, partition_size) = (partition.id.partition, log.size_bytes() as i64);
        let rows = self.topics.entry(Arc::clone(&partition.topic)).or_default();
        rows.push(msg!(Row { partition_index, partition_size }));
    }
}

impl Survey for Found {
    fn look(&mut self, shard: &Shard) -> bool {
        let upto = self.at + SLICE;
        for place in self.at..upto {
            self.add(shard, LogId(place as u32));
        }
        self.at = upto;
        upto >= shard.partitions.places()
    }

    fn answer(self: Box<Self>, call: &Call) -> Answer {
        let topic =
            |(name, partitions): (Arc<str>, _)| msg!(Topic { name: (&*name).into(), partitions });
        let topics = self.topics.into_iter().map(topic).collect();
        let mut dir = msg!(Dir { log_dir: (&*self.dir).into(), topics });
        if let Some(space) = self.space {
            dir.total_bytes = i64::try_from(space.total_bytes).unwrap_or(i64::MAX);
            dir.usable_bytes = i64::try_from(space.usable_bytes).unwrap_or(i64::MAX);
        }
        call.answer(&msg!(DescribeLogDirsResponse { results: vec![dir] }))
    }
}
