//! DescribeProducers (key 61): what a partition remembers of its idempotent producers.

use crate::api::{Outcome, pieces};
use crate::msg;
use crate::partition::producers::{Producer, Producers};
use crate::shard::{Call, Shard};
use crate::wire::ErrorCode;
use crate::wire::messages::describe_producers_response::{
    PartitionResponse as Row, ProducerState, TopicResponse as Topic,
};
use crate::wire::messages::{DescribeProducersRequest, DescribeProducersResponse};

/// Serves the request. One partition may have very many producers, more than a turn can tell of.
pub fn handle(shard: &mut Shard, call: &Call, request: DescribeProducersRequest) -> Outcome {
    let mut size = 0;
    let topics = request.topics.into_iter().map(|topic| {
        let known = topic.partition_indexes.iter().map(|&index| {
            let producers = producers(shard, &topic.name, index);
            size += producers.as_ref().map_or(1, Producers::len);
            (index, producers)
        });
        let known: Vec<_> = known.collect();
        (topic.name, known)
    });
    let topics: Vec<_> = topics.collect();
    pieces::answer_long(shard, call, size, move |call| {
        let topics = topics.into_iter().map(|(name, known)| {
            let partitions = known.into_iter().map(row).collect();
            msg!(Topic { name, partitions })
        });
        let topics = topics.collect();
        call.answer(&msg!(DescribeProducersResponse { topics }))
    })
}

fn producers(shard: &Shard, topic: &str, index: i32) -> Result<Producers, ErrorCode> {
    let log = shard.partitions.find(topic, index)?;
    let state = shard.store.log(log).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)?;
    Ok(state.producers().clone())
}

fn row((partition_index, known): (i32, Result<Producers, ErrorCode>)) -> Row {
    let state = |(producer_id, producer): (i64, &Producer)| {
        msg!(ProducerState {
            producer_id,
            producer_epoch: i32::from(producer.epoch),
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: -1,
            current_txn_start_offset: -1,
        })
    };
    match known {
        Ok(known) => {
            msg!(Row { partition_index, active_producers: known.iter().map(state).collect() })
        }
        Err(code) => msg!(Row { partition_index, error_code: code.0 }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::api::testing::World;
    use crate::base::LeaderEpoch;
    use crate::runtime::network::ConnectionId;
    use crate::shard::{ShardIndex, Slot};
    use crate::storage::Append;
    use crate::wire::batch::BatchHeader;
    use crate::wire::codec::Codec;
    use crate::wire::messages::describe_producers_request::TopicRequest;
    use crate::wire::record::{BatchBuilder, ProducerStamp};

    #[test]
    fn very_many_producers_are_told_of_beside_the_turn() {
        let mut world = World::new(1, "");
        world.create("t", &[0]);
        let log = world.shards[0].partitions.find("t", 0).unwrap();
        for (count, at_once) in [(500, true), (1000, false)] {
            for id in 0..count {
                let mut builder = BatchBuilder::default();
                builder.push(1, None, None, &[]);
                let stamp = ProducerStamp { id, epoch: 2, sequence: 0, transactional: false };
                let batch = builder.build(Codec::None, stamp).unwrap();
                let header = BatchHeader::parse(&batch).unwrap();
                let how = Append { leader_epoch: LeaderEpoch(0), append_time: None };
                let times = (world.shards[0].now, world.shards[0].wall);
                world.shards[0].store.append(log, &batch, &header, how, times).unwrap();
            }
            let topic = msg!(TopicRequest { name: "t".into(), partition_indexes: vec![0, 1] });
            let request = msg!(DescribeProducersRequest { topics: vec![topic] });
            let slot = Slot { shard: ShardIndex(0), connection: 1, sequence: 0 };
            let (peer, client_id) = (IpAddr::V4(Ipv4Addr::LOCALHOST), "".into());
            let call = Call { slot, api_key: 61, version: 0, correlation_id: 1, client_id, peer };
            let outcome = handle(&mut world.shards[0], &call, request.clone());
            assert_eq!(matches!(outcome, Outcome::Answer(_)), at_once, "{outcome:?}");
            world.shards[0].openings.drop_connection(ConnectionId(1));
            let told: DescribeProducersResponse = world.ask(0, 0, &request);
            let rows = &told.topics[0].partitions;
            let ids = rows[0].active_producers.iter().map(|p| p.producer_id);
            assert!(ids.eq(0..count));
            assert_ne!(rows[1].error_code, 0);
        }
    }
}
