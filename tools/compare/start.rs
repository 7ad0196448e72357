//! How long a broker takes from its start to the first acknowledged record of a client.

use std::thread::sleep;
use std::time::Duration;

use klamm::client::admin::{self, NewTopic};
use klamm::client::blocking::Client;
use klamm::client::{ClientError, ConnectionOptions, Endpoint, To, Typed};
use klamm::msg;
use klamm::runtime::clock;
use klamm::wire::ErrorCode;
use klamm::wire::codec::Codec;
use klamm::wire::messages::ProduceRequest;
use klamm::wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use klamm::wire::record::{BatchBuilder, ProducerStamp};

use crate::brokers::{Broker, How, Place};
use crate::process::{Outcome, Stop, now};

const TOPIC: &str = "first";
/// Topics go by name up to this version of Produce.
const PRODUCE_VERSION_MAX: i16 = 12;
const ANSWER: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_mins(2);
const ALREADY: ErrorCode = ErrorCode::TOPIC_ALREADY_EXISTS;

/// Milliseconds to the first acknowledged record: of an empty broker, and of the same broker after a
/// clean stop.
pub(crate) fn measure(
    broker: &Broker,
    place: &Place,
    how: &How<'_>,
    stop: &Stop,
) -> Outcome<(f64, f64)> {
    let mut took = [0.0; 2];
    for took in &mut took {
        let began = now();
        let mut running = broker.start(place, how)?;
        running.wait(stop)?;
        let bootstrap = running.bootstrap();
        loop {
            match first_record(&bootstrap) {
                Ok(()) => break,
                Err(e) if now() >= began + LIMIT => return Err(format!("{}: {e}", broker.name)),
                Err(_) => sleep(AGAIN),
            }
            stop.check()?;
            running.check()?;
        }
        *took = now().since(began).as_secs_f64() * 1e3;
        running.stop();
    }
    Ok((took[0], took[1]))
}

fn first_record(bootstrap: &str) -> Result<(), ClientError> {
    let options =
        ConnectionOptions { client_id: "klamm-compare".to_owned(), ..ConnectionOptions::default() };
    let mut client = Client::connect(Endpoint::parse_list(bootstrap)?, options, ANSWER)?;
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: Some(1),
        replication_factor: Some(1),
        ..NewTopic::default()
    };
    let made = client.ask(To::Any, admin::create_topic(&topic, ANSWER.as_millis() as i32))?;
    for topic in made.topics.iter().filter(|t| t.error_code != ALREADY.0) {
        ClientError::check("CreateTopics", topic.error_code, topic.error_message.as_deref())?;
    }
    let mut batch = BatchBuilder::default();
    batch.push(clock::now().1.0, None, Some(b"first"), &[]);
    let records = batch.build(Codec::None, ProducerStamp::NONE).ok();
    let partition_data = vec![msg!(PartitionProduceData { index: 0, records })];
    let data = msg!(TopicProduceData { name: TOPIC.into(), partition_data });
    let request = msg!(ProduceRequest {
        acks: -1,
        timeout_ms: ANSWER.as_millis() as i32,
        topic_data: vec![data],
    });
    let answer = client.ask(To::Any, Typed::up_to(request, PRODUCE_VERSION_MAX))?;
    let partitions = answer.responses.iter().flat_map(|t| &t.partition_responses);
    for partition in partitions {
        let message = partition.error_message.as_deref();
        ClientError::check("Produce", partition.error_code, message)?;
    }
    Ok(())
}
