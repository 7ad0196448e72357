//! A producer of much: within a round its partitions roll, their oldest segments go and the journal
//! comes around. What it was acknowledged last has to be there afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::common::{Server, Wire, until};
use crate::load::is_loss;

const TOPIC: &str = "bulk";
const PARTITIONS: i32 = 4;
/// Less than what goes past the journal.
const VALUE_BYTES: usize = 60_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// An acknowledged record: its partition, and its offset and number.
type Acked = (i32, (i64, u32));

struct Acks(Sender<Acked>);

impl ClientContext for Acks {}
impl ProducerContext for Acks {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(m) = result {
            let acked = (m.partition(), (m.offset(), number_of(m.payload().unwrap())));
            let _ = self.0.send(acked);
        }
    }
}

/// The number of the record with this value, all of which follows from it.
fn number_of(value: &[u8]) -> u32 {
    let number = u32::from_be_bytes(value[..4].try_into().unwrap());
    assert_eq!(value, self::value(number));
    number
}

fn value(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(VALUE_BYTES / 4)
}

fn produce(config: &ClientConfig, acks: Acks, [stop, rests]: [&AtomicBool; 2]) {
    let client: BaseProducer<_> = config.create_with_context(acks).unwrap();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        if rests.load(Ordering::Relaxed) {
            client.poll(Duration::from_millis(10));
            continue;
        }
        let value = value(number);
        let partition = number.cast_signed() % PARTITIONS;
        let send = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value);
        number += u32::from(client.send(send).is_ok());
        client.poll(Duration::from_millis(1));
    }
}

/// It, at work.
pub struct Bulk {
    config: ClientConfig,
    acks: Receiver<Acked>,
    /// The last acknowledged record of each partition.
    last: BTreeMap<i32, (i64, u32)>,
    stop: Arc<AtomicBool>,
    rests: Arc<AtomicBool>,
    producer: JoinHandle<()>,
}

impl Bulk {
    /// Makes the topic and starts.
    pub fn start(server: &Server) -> Self {
        // The smallest segments, of which few are kept.
        let configs = [("segment.bytes", "1048576"), ("retention.bytes", "16777216")];
        Wire::connect(server.address(0)).create(TOPIC, PARTITIONS, &configs);
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", server.bootstrap()).set("group.id", "none");
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
        config.set("queue.buffering.max.messages", "100").set("linger.ms", "0");
        config.set("auto.offset.reset", "error").set("message.send.max.retries", "0");
        let ((told, acks), stop, rests) = (channel(), Arc::default(), Arc::default());
        let its: (_, [Arc<AtomicBool>; 2]) =
            (config.clone(), [Arc::clone(&stop), Arc::clone(&rests)]);
        let producer = thread::spawn(move || {
            produce(&its.0, Acks(told), its.1.each_ref().map(|flag| &**flag));
        });
        Self { config, acks, last: BTreeMap::new(), stop, rests, producer }
    }

    /// The server is down: takes note of what was acknowledged, and rests. An offset that comes again
    /// belonged to a record that was lost.
    pub fn down(&mut self) {
        self.rests.store(true, Ordering::Relaxed);
        for (partition, acked) in self.acks.try_iter() {
            let before = self.last.insert(partition, acked);
            assert!(before.is_none_or(|b| b < acked), "{partition}: {before:?}, then {acked:?}");
        }
    }

    /// The server is up again, with what was acknowledged last before; goes on.
    pub fn up(&self) {
        assert!(!self.producer.is_finished(), "the producer gave up");
        for (&partition, &(offset, number)) in &self.last {
            let consumer: BaseConsumer = self.config.create().unwrap();
            let mut at = TopicPartitionList::new();
            at.add_partition_offset(TOPIC, partition, Offset::Offset(offset)).unwrap();
            consumer.assign(&at).unwrap();
            let read = until(PATIENCE, "the last record", || match consumer.poll(PATIENCE)? {
                Ok(read) => Some(read),
                Err(e) => {
                    assert!(!is_loss(&e), "partition {partition}, offset {offset}: {e}");
                    None
                }
            });
            let found = (read.offset(), number_of(read.payload().unwrap()));
            assert_eq!(found, (offset, number), "partition {partition}");
        }
        self.rests.store(false, Ordering::Relaxed);
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
