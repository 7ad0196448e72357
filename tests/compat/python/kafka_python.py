"""kafka-python against a broker: kafka_python.py HOST:PORT. One line a check; stops at the first that fails."""

import sys
import time

import kafka
from facts import CODECS, EDGES, HEADERS, LATE, MADE, PATIENCE, RECORDS, TIMED, Facts, same, within
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic, OffsetSpec

BROKER = sys.argv[1]
facts = Facts("kafka-python", kafka.__version__)
check = facts.check
admin = KafkaAdminClient(bootstrap_servers=BROKER)


def produce(topic, records, made=None, **options):
    producer = KafkaProducer(bootstrap_servers=BROKER, linger_ms=5, **options)
    sent = [
        producer.send(topic, key=k, value=v, headers=HEADERS, timestamp_ms=made and made + 1000 * i)
        for i, (k, v) in enumerate(records)
    ]
    producer.flush(PATIENCE)
    for each in sent:
        each.get(PATIENCE)
    producer.close()


def reader(topic, **options):
    consumer = KafkaConsumer(bootstrap_servers=BROKER, group_id=None, **options)
    parts = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(parts)
    return consumer, parts


# A poll of this client that ends in the midst of joining may forget what it was assigned: so not too short.
def take(consumer, millis=1000):
    return [record for batch in consumer.poll(timeout_ms=millis).values() for record in batch]


def read(topic, count, offset=None):
    consumer, parts = reader(topic, auto_offset_reset="earliest")
    for part in parts if offset is not None else []:
        consumer.seek(part, offset)
    [got] = drain([consumer], count)
    consumer.close()
    return got


def pairs(records):
    return [(r.key, r.value) for r in records]


def round_trip(what, topic, records=RECORDS, **options):
    produce(topic, records, **options)
    got = read(topic, len(records))
    check(what, same(pairs(got), records), pairs(got)[:3])
    return got


def producing():
    for acks in (0, 1, "all"):
        got = round_trip(f"acks {acks}", f"acks-{acks}", acks=acks, enable_idempotence=False)
    check("keys and headers", all(list(r.headers) == HEADERS for r in got), got[0])
    for codec in CODECS:
        round_trip(codec, codec, compression_type=codec)
    for what, records in EDGES.items():
        round_trip(what, what.replace(" ", "-"), records)
    round_trip("idempotent producer", "idempotent", acks="all", enable_idempotence=True)


def consuming():
    admin.create_topics([NewTopic(name="timed", num_partitions=1, replication_factor=1)])
    produce("timed", TIMED, MADE)
    check("from the earliest", pairs(read("timed", 10)) == TIMED)
    check("from an offset", pairs(read("timed", 3, 7)) == TIMED[7:])
    consumer, [part] = reader("timed")
    at = consumer.offsets_for_times({part: MADE + 4500})[part].offset
    consumer.close()
    check("by timestamp", at == 5 and pairs(read("timed", 5, at)) == TIMED[5:], at)
    consumer, _ = reader("gzip", auto_offset_reset="latest")
    got = []
    for _ in within():
        produce("gzip", [LATE])
        got += take(consumer, 100)
        if got:
            break
    consumer.close()
    check("from the latest", got and all(p == LATE for p in pairs(got)), pairs(got)[:3])


class Assigned(ConsumerRebalanceListener):
    count = 0

    def on_partitions_revoked(self, _):
        pass

    def on_partitions_assigned(self, _):
        self.count += 1


def member(group, listener=None, **options):
    consumer = KafkaConsumer(bootstrap_servers=BROKER, group_id=group, **{
        "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 500} | options)
    consumer.subscribe(["shared"], listener=listener)
    return consumer


def share(members, wanted):
    """Polls until the members have `wanted` partitions each; no record may come meanwhile."""
    for _ in within():
        got = [r for c in members for r in take(c)]
        check("no record comes twice while members come and go", not got, got) if got else None
        if [len(c.assignment()) for c in members] == wanted:
            return True
    return False


def drain(members, count):
    got = [[] for _ in members]
    for _ in within():
        for c, mine in zip(members, got):
            mine += take(c)
        if sum(map(len, got)) >= count:
            return got
    return got


def groups():
    admin.create_topics([NewTopic(name="shared", num_partitions=4, replication_factor=1)])
    produce("shared", RECORDS)
    one = member("group")
    [first] = drain([one], len(RECORDS))
    check("join: a group of one reads everything", same(pairs(first), RECORDS), first[:3])
    one.commit()
    two = member("group")
    check("rebalance: a second member gets its part", share([one, two], [2, 2]))
    produce("shared", RECORDS)
    a, b = drain([one, two], len(RECORDS))
    check("rebalance: each record comes to one of two members", a and b and same(pairs(a + b), RECORDS))
    one.commit()
    two.commit()
    two.close()
    check("leave: the first member gets everything back", share([one], [4]))
    one.close()
    produce("shared", RECORDS[:100])
    again = member("group")
    [rest] = drain([again], 100)
    check("commit and resume", same(pairs(rest), RECORDS[:100]), len(rest))
    again.close()


def static_members():
    def joined(name, listener=None):
        options = {"auto_offset_reset": "latest", "session_timeout_ms": 30000}
        return member("static", listener, group_instance_id=name, **options)
    assigned = Assigned()
    a, b = joined("a", assigned), joined("b")
    check("static member: each has its part", share([a, b], [2, 2]))
    before, mine = assigned.count, sorted(p.partition for p in b.assignment())
    b.close()
    b = joined("b")
    check("static member: each has its part again", share([a, b], [2, 2]))
    after = sorted(p.partition for p in b.assignment())
    check("static member: comes back to its partitions without a rebalance",
          after == mine and assigned.count == before, (mine, after, before, assigned.count))
    a.close()
    b.close()


def administration():
    admin.create_topics([NewTopic(name="made", num_partitions=3, replication_factor=1,
                                  topic_configs={"retention.ms": "1000000"})])
    [found] = admin.describe_topics(["made"])
    check("create topic", len(found["partitions"]) == 3, found)

    def retention():
        return str(admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "made")]))
    check("describe", "'1000000'" in retention(), retention())
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "made", {"retention.ms": "2000000"})])
    check("alter configs", "'2000000'" in retention() and "'1000000'" not in retention(), retention())
    part = TopicPartition("timed", 0)
    offsets = [admin.list_partition_offsets({part: spec})[part].offset
               for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST, MADE + 1000)]
    check("list offsets", offsets == [0, 10, 1], offsets)
    admin.delete_topics(["made"])
    for _ in within():
        if "made" not in admin.list_topics():
            break
        time.sleep(0.1)
    check("delete topic", "made" not in admin.list_topics())


producing()
consuming()
groups()
static_members()
administration()
