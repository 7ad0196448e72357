"""kafka-python against a broker: kafka_python.py HOST:PORT. One line a check; stops at the first that fails."""

import sys
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

BROKER = sys.argv[1]
RECORDS = [(b"key-%d" % (i % 50), b"value-%d" % i) for i in range(500)]
HEADERS = [("first", b"1"), ("second", b"\x00\xff"), ("first", b"again")]
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


def check(what, ok, seen=None):
    print(f"kafka-python: {'ok' if ok else 'FAILED'}: {what}")
    if not ok:
        sys.exit(f"saw {str(seen)[:2000]}")


def produce(topic, records, **options):
    producer = KafkaProducer(bootstrap_servers=BROKER, linger_ms=5, **options)
    sent = [producer.send(topic, key=k, value=v, headers=HEADERS) for k, v in records]
    producer.flush(30)
    for each in sent:
        each.get(30)
    producer.close()


def consume(topic, count, seconds=30):
    consumer = KafkaConsumer(bootstrap_servers=BROKER, group_id=None, auto_offset_reset="earliest")
    parts = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(parts)
    consumer.seek_to_beginning()
    got, end = [], time.time() + seconds
    while len(got) < count and time.time() < end:
        for batch in consumer.poll(timeout_ms=200).values():
            got += batch
    consumer.close()
    return got


def by_key(pairs):
    keys = {}
    for key, value in pairs:
        keys.setdefault(key, []).append(value)
    return keys


def pairs(records):
    return [(r.key, r.value) for r in records]


def drain(consumers, count, seconds=30):
    got, end = {c: [] for c in consumers}, time.time() + seconds
    while sum(map(len, got.values())) < count and time.time() < end:
        for c in consumers:
            for batch in c.poll(timeout_ms=100).values():
                got[c] += batch
    return got


def member(group):
    return KafkaConsumer(
        "shared", bootstrap_servers=BROKER, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500,
    )


def shared(consumers, parts):
    """Polls until the members have `parts` partitions between them, each at least one."""
    end = time.time() + 30
    while time.time() < end:
        for c in consumers:
            got = c.poll(timeout_ms=100)
            check("no record comes twice while members come and go", not got, got) if got else None
        counts = [len(c.assignment()) for c in consumers]
        if sum(counts) == parts and all(counts):
            return counts
    return None


print(f"kafka-python {kafka.__version__}")
admin = KafkaAdminClient(bootstrap_servers=BROKER)
admin.create_topics([NewTopic(name="shared", num_partitions=4, replication_factor=1)])

for codec in CODECS:
    for acks in (0, 1, "all"):
        topic = f"python-{codec}-{acks}"
        produce(topic, RECORDS, acks=acks, compression_type=codec, enable_idempotence=False)
        got = consume(topic, len(RECORDS))
        check(f"codec {codec}, acks {acks}", by_key(pairs(got)) == by_key(RECORDS), got[:3])
        check(f"codec {codec}, acks {acks}: headers", all(list(r.headers) == HEADERS for r in got), got[:1])

produce("python-idempotent", RECORDS, acks="all", enable_idempotence=True)
got = consume("python-idempotent", len(RECORDS))
check("idempotent producer", by_key(pairs(got)) == by_key(RECORDS), got[:3])

produce("python-nulls", [(b"k", None), (None, b"v"), (b"", b"")])
got = sorted(pairs(consume("python-nulls", 3)), key=str)
check("null and empty keys and values", got == sorted([(b"k", None), (None, b"v"), (b"", b"")], key=str), got)

produce("shared", RECORDS)
one = member("python-group")
first = drain([one], len(RECORDS))[one]
check("a group of one reads everything", by_key(pairs(first)) == by_key(RECORDS), first[:3])
one.commit()
two = member("python-group")
check("a second member gets its part", shared([one, two], 4) == [2, 2])
produce("shared", RECORDS)
got = drain([one, two], len(RECORDS))
check("each record comes to one of two members", by_key(pairs(got[one] + got[two])) == by_key(RECORDS))
check("both members read", bool(got[one]) and bool(got[two]))
one.commit()
two.commit()
two.close()
check("the first member gets everything back", shared([one], 4) == [4])
one.close()
produce("shared", RECORDS[:100])
again = member("python-group")
got = drain([again], 100)[again]
check("a group goes on where it committed", by_key(pairs(got)) == by_key(RECORDS[:100]), got[:3])
again.close()
