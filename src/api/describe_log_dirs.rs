//! DescribeLogDirs (key 35): what this node's log directory holds, how large it is and what room is left.

use std::collections::BTreeMap;

use crate::api::Outcome;
use crate::msg;
use crate::shard::{Call, Shard};
use crate::wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition as Row, DescribeLogDirsResult as Dir, DescribeLogDirsTopic as Topic,
};
use crate::wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

/// Serves the request; a null list of topics asks for all.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeLogDirsRequest) -> Outcome {
    let wanted = |topic: &str, partition: i32| match &request.topics {
        None => true,
        Some(topics) => {
            topics.iter().any(|t| &*t.topic == topic && t.partitions.contains(&partition))
        }
    };
    let mut topics: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for partition in shard.partitions.iter() {
        let (topic, index) = (&*partition.topic, partition.id.partition);
        let Some(log) = shard.store.log(partition.log).filter(|_| wanted(topic, index)) else {
            continue;
        };
        let partition_size = log.size_bytes() as i64;
        topics.entry(topic).or_default().push(msg!(Row { partition_index: index, partition_size }));
    }
    let topics = topics.into_iter();
    let topics = topics.map(|(name, partitions)| msg!(Topic { name: name.into(), partitions }));
    let mut dir = msg!(Dir { log_dir: (&*shard.dir).into(), topics: topics.collect() });
    if let Some(space) = shard.space.as_mut().and_then(|probe| probe.look(shard.now)) {
        dir.total_bytes = i64::try_from(space.total_bytes).unwrap_or(i64::MAX);
        dir.usable_bytes = i64::try_from(space.usable_bytes).unwrap_or(i64::MAX);
    }
    Outcome::answer(call, &msg!(DescribeLogDirsResponse { results: vec![dir] }))
}
