//! AlterReplicaLogDirs (key 34): replicas move to another directory of their node. A node has one
//! directory, so a replica is where it is wanted already, or cannot go there.

use std::collections::BTreeMap;

use crate::api::Outcome;
use crate::msg;
use crate::shard::partition::Missing;
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult as Row, AlterReplicaLogDirTopicResult as Topic,
};
use crate::wire::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

/// Serves the request; of a partition that comes twice, the last directory counts.
pub fn handle(shard: &mut Shard, call: &Call, request: AlterReplicaLogDirsRequest) -> Outcome {
    let mut topics: BTreeMap<&str, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in dir.topics.iter().filter(|t| !t.partitions.is_empty()) {
            let rows = topics.entry(&*topic.name).or_default();
            let code = |&index: &i32| (index, code(shard, &dir.path, &topic.name, index));
            rows.extend(topic.partitions.iter().map(code));
        }
    }
    let row = |(partition_index, code): (i32, ErrorCode)| {
        msg!(Row { partition_index, error_code: code.0 })
    };
    let results = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(row).collect();
        msg!(Topic { topic_name: name.into(), partitions })
    });
    Outcome::answer(call, &msg!(AlterReplicaLogDirsResponse { results: results.collect() }))
}

fn code(shard: &Shard, dir: &str, topic: &str, index: i32) -> ErrorCode {
    if dir != &*shard.dir {
        return ErrorCode::LOG_DIR_NOT_FOUND;
    }
    match shard.partitions.find(topic, index) {
        Ok(_) => ErrorCode::NONE,
        Err(Missing::NotLeader) => ErrorCode::REPLICA_NOT_AVAILABLE,
        Err(missing) => missing.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;
    use crate::wire::messages::alter_replica_log_dirs_request::{
        AlterReplicaLogDir, AlterReplicaLogDirTopic,
    };

    #[test]
    fn a_replica_is_in_the_one_directory_already_or_cannot_go_there() {
        let mut world = World::new(2, "");
        world.create("t", &[0, 1]);
        world.shards[1].dir = "/data/node-1".into();
        let mut ask = |dirs: &[(&str, &str, &[i32])]| {
            let dir = |&(path, name, partitions): &(&str, &str, &[i32])| {
                let partitions = partitions.to_vec();
                let topics = vec![msg!(AlterReplicaLogDirTopic { name: name.into(), partitions })];
                msg!(AlterReplicaLogDir { path: path.into(), topics })
            };
            let dirs = dirs.iter().map(dir).collect();
            let request = msg!(AlterReplicaLogDirsRequest { dirs });
            let answer: AlterReplicaLogDirsResponse = world.ask(1, 2, &request);
            let topics = answer.results.iter().map(|t| {
                let row = |p: &Row| format!(" {} {}", p.partition_index, p.error_code);
                format!("{}:{}", &*t.topic_name, t.partitions.iter().map(row).collect::<String>())
            });
            topics.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(ask(&[("/data/node-1", "t", &[1, 0, 9])]), "t: 0 9 1 0 9 3");
        assert_eq!(ask(&[("/data/node-0", "t", &[1])]), "t: 1 57");
        let twice: &[(&str, &str, &[i32])] =
            &[("/data/node-1", "t", &[1]), ("/x", "t", &[1]), ("/data/node-1", "s", &[])];
        assert_eq!(ask(twice), "t: 1 57");
    }
}
