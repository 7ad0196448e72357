"""confluent-kafka against a broker: confluent.py HOST:PORT. One line a check; stops at the first that fails."""

import sys
import time
from collections import Counter

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, OffsetSpec,
)
from facts import CODECS, EDGES, HEADERS, LATE, MADE, PATIENCE, RECORDS, TIMED, Facts, same, within

COMMON = {"bootstrap.servers": sys.argv[1]}
facts = Facts("confluent-kafka", f"{confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}")
check = facts.check
admin = AdminClient(COMMON)
rebalances = Counter()


def produce(topic, records, made=None, **options):
    producer = Producer(COMMON | {"linger.ms": 5} | {k.replace("_", "."): v for k, v in options.items()})
    failed = []
    for i, (key, value) in enumerate(records):
        at = {} if made is None else {"timestamp": made + 1000 * i}
        producer.produce(
            topic, value, key, headers=HEADERS, on_delivery=lambda e, _: e and failed.append(e), **at)
    left = producer.flush(PATIENCE)
    check(f"deliveries to {topic}", not failed and left == 0, failed) if failed or left else None


def reader(group="not-joined", **options):
    return Consumer(COMMON | {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
                    | {k.replace("_", "."): v for k, v in options.items()})


def take(consumer, seconds=0.2):
    messages = consumer.consume(500, seconds)
    bad = [m.error() for m in messages if m.error()]
    check("no error while consuming", not bad, bad) if bad else None
    return messages


def read(topic, count, offset=confluent_kafka.OFFSET_BEGINNING, consumer=None):
    consumer = consumer or reader()
    partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, offset) for p in partitions])
    got = []
    for _ in within():
        got += take(consumer)
        if len(got) >= count:
            break
    consumer.close()
    return got


def pairs(messages):
    return [(m.key(), m.value()) for m in messages]


def round_trip(what, topic, records=RECORDS, **options):
    produce(topic, records, **options)
    got = read(topic, len(records))
    check(what, same(pairs(got), records), pairs(got)[:3])
    return got


def wait(futures):
    for future in futures.values():
        future.result(PATIENCE)


def producing():
    for acks in ("0", "1", "all"):
        got = round_trip(f"acks {acks}", f"acks-{acks}", acks=acks)
    check("keys and headers", all(m.headers() == HEADERS for m in got), got[0].headers())
    for codec in CODECS:
        round_trip(codec, codec, compression_type=codec)
    for what, records in EDGES.items():
        round_trip(what, what.replace(" ", "-"), records)
    round_trip("idempotent producer", "idempotent", enable_idempotence=True)


def consuming():
    wait(admin.create_topics([NewTopic("timed", 1, 1)]))
    produce("timed", TIMED, MADE)
    check("from the earliest", pairs(read("timed", 10)) == TIMED)
    check("from an offset", pairs(read("timed", 3, 7)) == TIMED[7:])
    consumer = reader()
    [at] = consumer.offsets_for_times([TopicPartition("timed", 0, MADE + 4500)], PATIENCE)
    check("by timestamp", at.offset == 5 and pairs(read("timed", 5, at.offset, consumer)) == TIMED[5:], at)
    consumer = reader()
    consumer.assign([TopicPartition("gzip", p, confluent_kafka.OFFSET_END) for p in range(4)])
    got = []
    for _ in within():
        produce("gzip", [LATE])
        got += take(consumer)
        if got:
            break
    check("from the latest", got and all(p == LATE for p in pairs(got)), pairs(got)[:3])
    consumer.close()


def member(group, **options):
    consumer = reader(group, session_timeout_ms=6000, heartbeat_interval_ms=500, **options)
    consumer.subscribe(["shared"], on_assign=lambda *_: rebalances.update([consumer]))
    return consumer


def share(members, wanted):
    """Polls until the members have `wanted` partitions each; no record may come meanwhile."""
    for _ in within():
        got = [m for c in members for m in take(c, 0.1)]
        check("no record comes twice while members come and go", not got, got) if got else None
        if [len(c.assignment()) for c in members] == wanted:
            return True
    return False


def drain(members, count):
    got = [[] for _ in members]
    for _ in within():
        for c, mine in zip(members, got):
            mine += take(c, 0.1)
        if sum(map(len, got)) >= count:
            return got
    return got


def groups():
    wait(admin.create_topics([NewTopic("shared", 4, 1)]))
    produce("shared", RECORDS)
    one = member("group")
    [first] = drain([one], len(RECORDS))
    check("join: a group of one reads everything", same(pairs(first), RECORDS))
    one.commit(asynchronous=False)
    two = member("group")
    check("rebalance: a second member gets its part", share([one, two], [2, 2]))
    produce("shared", RECORDS)
    a, b = drain([one, two], len(RECORDS))
    check("rebalance: each record comes to one of two members", a and b and same(pairs(a + b), RECORDS))
    one.commit(asynchronous=False)
    two.commit(asynchronous=False)
    two.close()
    check("leave: the first member gets everything back", share([one], [4]))
    one.close()
    produce("shared", RECORDS[:100])
    again = member("group")
    [rest] = drain([again], 100)
    check("commit and resume", same(pairs(rest), RECORDS[:100]), len(rest))
    again.close()


def static_members():
    options = {"auto_offset_reset": "latest"}
    a = member("static", group_instance_id="a", **options)
    b = member("static", group_instance_id="b", **options)
    check("static member: each has its part", share([a, b], [2, 2]))
    before, mine = rebalances[a], sorted(p.partition for p in b.assignment())
    b.close()
    b = member("static", group_instance_id="b", **options)
    check("static member: each has its part again", share([a, b], [2, 2]))
    after = sorted(p.partition for p in b.assignment())
    check("static member: comes back to its partitions without a rebalance",
          after == mine and rebalances[a] == before, (mine, after, before, rebalances[a]))
    a.close()
    b.close()


def administration():
    wait(admin.create_topics([NewTopic("made", 3, 1, config={"retention.ms": "1000000"})]))
    [found] = admin.describe_topics(confluent_kafka.TopicCollection(["made"])).values()
    check("create topic", len(found.result(PATIENCE).partitions) == 3)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "made")

    def retention():
        [configs] = admin.describe_configs([resource]).values()
        return configs.result(PATIENCE)["retention.ms"].value
    check("describe", retention() == "1000000")
    entry = ConfigEntry("retention.ms", "2000000", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.TOPIC, "made", incremental_configs=[entry])
    wait(admin.incremental_alter_configs([changed]))
    check("alter configs", retention() == "2000000")
    at = TopicPartition("timed", 0)
    offsets = [admin.list_offsets({at: spec})[at].result(PATIENCE).offset
               for spec in (OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.for_timestamp(MADE + 1000))]
    check("list offsets", offsets == [0, 10, 1], offsets)
    wait(admin.delete_topics(["made"]))
    for _ in within():
        if "made" not in admin.list_topics(timeout=PATIENCE).topics:
            break
        time.sleep(0.1)
    check("delete topic", "made" not in admin.list_topics(timeout=PATIENCE).topics)


producing()
consuming()
groups()
static_members()
administration()
