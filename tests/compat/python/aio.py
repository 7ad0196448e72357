"""aiokafka against a broker: aio.py HOST:PORT. One line a check; stops at the first that fails."""

import asyncio
import sys

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from facts import CODECS, EDGES, HEADERS, LATE, MADE, RECORDS, TIMED, Facts, same, within

BROKER = sys.argv[1]
facts = Facts("aiokafka", aiokafka.__version__)
check = facts.check


async def produce(topic, records, made=None, **options):
    async with AIOKafkaProducer(bootstrap_servers=BROKER, linger_ms=5, **options) as producer:
        sent = [
            await producer.send(topic, v, k, headers=HEADERS, timestamp_ms=made and made + 1000 * i)
            for i, (k, v) in enumerate(records)
        ]
        await producer.flush()
        await asyncio.gather(*sent)


async def take(consumer, millis=100):
    return [record for batch in (await consumer.getmany(timeout_ms=millis)).values() for record in batch]


async def drain(members, count):
    got = [[] for _ in members]
    for _ in within():
        for c, mine in zip(members, got):
            mine += await take(c)
        if sum(map(len, got)) >= count:
            return got
    return got


async def reader(topic, partitions, **options):
    consumer = AIOKafkaConsumer(bootstrap_servers=BROKER, **options)
    await consumer.start()
    parts = [TopicPartition(topic, p) for p in range(partitions)]
    consumer.assign(parts)
    return consumer, parts


async def read(topic, count, offset=None, partitions=1):
    consumer, parts = await reader(topic, partitions, auto_offset_reset="earliest")
    for part in parts if offset is not None else []:
        consumer.seek(part, offset)
    [got] = await drain([consumer], count)
    await consumer.stop()
    return got


def pairs(records):
    return [(r.key, r.value) for r in records]


async def round_trip(what, topic, records=RECORDS, **options):
    await produce(topic, records, **options)
    got = await read(topic, len(records), partitions=4)
    check(what, same(pairs(got), records), pairs(got)[:3])
    return got


async def producing():
    for acks in (0, 1, "all"):
        got = await round_trip(f"acks {acks}", f"acks-{acks}", acks=acks)
    check("keys and headers", all(list(r.headers) == HEADERS for r in got), got[0])
    for codec in CODECS:
        await round_trip(codec, codec, compression_type=codec)
    for what, records in EDGES.items():
        await round_trip(what, what.replace(" ", "-"), records)
    await round_trip("idempotent producer", "idempotent", enable_idempotence=True)


async def consuming(admin):
    await admin.create_topics([NewTopic("timed", 1, 1)])
    await produce("timed", TIMED, MADE)
    check("from the earliest", pairs(await read("timed", 10)) == TIMED)
    check("from an offset", pairs(await read("timed", 3, 7)) == TIMED[7:])
    consumer, [part] = await reader("timed", 1)
    at = (await consumer.offsets_for_times({part: MADE + 4500}))[part].offset
    check("by timestamp", at == 5 and pairs(await read("timed", 5, at)) == TIMED[5:], at)
    ends = [await consumer.beginning_offsets([part]), await consumer.end_offsets([part])]
    check("list offsets", [e[part] for e in ends] == [0, 10], ends)
    await consumer.stop()
    consumer, _ = await reader("gzip", 4, auto_offset_reset="latest")
    got = []
    for _ in within():
        await produce("gzip", [LATE])
        got += await take(consumer)
        if got:
            break
    await consumer.stop()
    check("from the latest", got and all(p == LATE for p in pairs(got)), pairs(got)[:3])


class Assigned(ConsumerRebalanceListener):
    count = 0

    def on_partitions_revoked(self, _):
        pass

    def on_partitions_assigned(self, _):
        self.count += 1


async def member(group, listener=None, **options):
    consumer = AIOKafkaConsumer(bootstrap_servers=BROKER, group_id=group, **{
        "auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 500} | options)
    consumer.subscribe(["shared"], listener=listener)
    await consumer.start()
    return consumer


async def share(members, wanted):
    """Polls until the members have `wanted` partitions each; no record may come meanwhile."""
    for _ in within():
        got = [r for c in members for r in await take(c)]
        check("no record comes twice while members come and go", not got, got) if got else None
        if [len(c.assignment()) for c in members] == wanted:
            return True
    return False


async def groups(admin):
    await admin.create_topics([NewTopic("shared", 4, 1)])
    await produce("shared", RECORDS)
    one = await member("group")
    [first] = await drain([one], len(RECORDS))
    check("join: a group of one reads everything", same(pairs(first), RECORDS), first[:3])
    await one.commit()
    two = await member("group")
    check("rebalance: a second member gets its part", await share([one, two], [2, 2]))
    await produce("shared", RECORDS)
    a, b = await drain([one, two], len(RECORDS))
    check("rebalance: each record comes to one of two members", a and b and same(pairs(a + b), RECORDS))
    await one.commit()
    await two.commit()
    await two.stop()
    check("leave: the first member gets everything back", await share([one], [4]))
    await one.stop()
    await produce("shared", RECORDS[:100])
    again = await member("group")
    [rest] = await drain([again], 100)
    check("commit and resume", same(pairs(rest), RECORDS[:100]), len(rest))
    await again.stop()


async def static_members():
    async def joined(name, listener=None):
        options = {"auto_offset_reset": "latest", "session_timeout_ms": 30000}
        return await member("static", listener, group_instance_id=name, **options)
    assigned = Assigned()
    a, b = await asyncio.gather(joined("a", assigned), joined("b"))
    check("static member: each has its part", await share([a, b], [2, 2]))
    before, mine = assigned.count, sorted(p.partition for p in b.assignment())
    await b.stop()
    b = await joined("b")
    check("static member: each has its part again", await share([a, b], [2, 2]))
    after = sorted(p.partition for p in b.assignment())
    check("static member: comes back to its partitions without a rebalance",
          after == mine and assigned.count == before, (mine, after, before, assigned.count))
    await a.stop()
    await b.stop()


async def administration(admin):
    await admin.create_topics([NewTopic("made", 3, 1, topic_configs={"retention.ms": "1000000"})])
    [found] = await admin.describe_topics(["made"])
    check("create topic", len(found["partitions"]) == 3, found)

    async def retention():
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "made")])
        [resource] = answer.resources
        return {entry[0]: entry[1] for entry in resource[4]}["retention.ms"]
    check("describe", await retention() == "1000000")
    changed = ConfigResource(ConfigResourceType.TOPIC, "made", {"retention.ms": "2000000"})
    await admin.alter_configs([changed])
    check("alter configs", await retention() == "2000000")
    await admin.delete_topics(["made"])
    for _ in within():
        if "made" not in await admin.list_topics():
            break
        await asyncio.sleep(0.1)
    check("delete topic", "made" not in await admin.list_topics())


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=BROKER)
    await admin.start()
    await producing()
    await consuming(admin)
    await groups(admin)
    await static_members()
    await administration(admin)
    await admin.close()


asyncio.run(main())
