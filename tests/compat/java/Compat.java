// The Java client against a broker: Compat HOST:PORT. One line a check; stops at the first that fails.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public final class Compat {
    record Pair(String key, String value) {}

    private static final long PATIENCE_MS = 60_000;
    private static final long MADE = System.currentTimeMillis() / 1000 * 1000 - 3_600_000;
    private static final List<Header> HEADERS = List.of(
        new RecordHeader("first", bytes("1")),
        new RecordHeader("second", new byte[] {0, -1}),
        new RecordHeader("null", null),
        new RecordHeader("first", bytes("again")));
    private static final List<Pair> RECORDS = IntStream.range(0, 500)
        .mapToObj(i -> new Pair("key-" + i % 50, "value-" + i)).toList();

    private static String broker;

    public static void main(String[] args) throws Exception {
        broker = args[0];
        System.out.println("java: version: kafka-clients " + AppInfoParser.getVersion());
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            for (String acks : List.of("0", "1", "all")) {
                roundTrip("acks " + acks, "none", acks, false);
            }
            for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
                roundTrip(codec, codec, "all", false);
            }
            roundTrip("idempotent producer", "none", "all", true);
            edges();
            consuming(admin);
            group(admin);
            staticMembers();
            administration(admin);
        }
    }

    private static void roundTrip(String what, String codec, String acks, boolean idempotent) throws Exception {
        String topic = what.replace(' ', '-');
        var metadata = produce(topic, RECORDS, Map.of(
            "compression.type", codec, "acks", acks, "enable.idempotence", String.valueOf(idempotent)));
        var got = consumeAll(topic, RECORDS.size());
        check(what, byKey(pairs(got)).equals(byKey(RECORDS)));
        boolean headers = got.stream().allMatch(r -> Arrays.asList(r.headers().toArray()).equals(HEADERS));
        check("keys and headers: " + what, headers);
        if (acks.equals("0")) {
            return;
        }
        Map<String, String> at = new HashMap<>();
        got.forEach(r -> at.put(r.partition() + "@" + r.offset(), text(r.value())));
        boolean same = true;
        for (int i = 0; i < RECORDS.size(); i++) {
            var m = metadata.get(i);
            same &= RECORDS.get(i).value().equals(at.get(m.partition() + "@" + m.offset()));
        }
        check(what + ": each record lies where the producer was told", same);
    }

    private static void edges() throws Exception {
        var nulls = List.of(new Pair("k", null), new Pair("k", "v"), new Pair("k", null));
        produce("nulls", nulls, Map.of());
        check("null values", pairs(consumeAll("nulls", 3)).equals(nulls));
        produce("null-key", List.of(new Pair(null, "v")), Map.of());
        check("null values: a null key", pairs(consumeAll("null-key", 1)).equals(List.of(new Pair(null, "v"))));
        var empty = List.of(new Pair("", ""), new Pair("k", ""));
        produce("empty", empty, Map.of());
        check("empty records", byKey(pairs(consumeAll("empty", 2))).equals(byKey(empty)));
        var large = List.of(new Pair("k", "0123456789".repeat(90_000)));
        produce("large", large, Map.of());
        check("900 kB records", pairs(consumeAll("large", 1)).equals(large));
    }

    private static void consuming(Admin admin) throws Exception {
        admin.createTopics(List.of(new NewTopic("timed", 1, (short) 1))).all().get();
        List<Pair> timed = IntStream.range(0, 10).mapToObj(i -> new Pair("k", "value-" + i)).toList();
        produce("timed", timed, Map.of(), MADE);
        check("from the earliest", pairs(consumeAll("timed", 10)).equals(timed));
        var partition = new TopicPartition("timed", 0);
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        try (var consumer = new KafkaConsumer<byte[], byte[]>(consumerConfig())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 7);
            poll(() -> got.size() >= 3, consumer, got, null, null);
            check("from an offset", pairs(got).equals(timed.subList(7, 10)));
            got.clear();
            long at = consumer.offsetsForTimes(Map.of(partition, MADE + 4500)).get(partition).offset();
            consumer.seek(partition, at);
            poll(() -> got.size() >= 5, consumer, got, null, null);
            check("by timestamp", pairs(got).equals(timed.subList(5, 10)));
            got.clear();
            List<Long> offsets = new ArrayList<>();
            for (var spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.forTimestamp(MADE + 1000))) {
                offsets.add(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset());
            }
            check("list offsets", offsets.equals(List.of(0L, 10L, 1L)));
            consumer.seekToEnd(List.of(partition));
            consumer.position(partition);
            produce("timed", List.of(new Pair("k", "late")), Map.of());
            poll(() -> !got.isEmpty(), consumer, got, null, null);
            check("from the latest", pairs(got).equals(List.of(new Pair("k", "late"))));
        }
    }

    private static void staticMembers() {
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        var a = member("static", "a");
        var joined = new int[1];
        a.subscribe(List.of("shared"), new ConsumerRebalanceListener() {
            @Override public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}

            @Override public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                joined[0]++;
            }
        });
        var b = member("static", "b");
        var first = b;
        poll(() -> a.assignment().size() == 2 && first.assignment().size() == 2, a, got, b, got);
        check("static member: each has its part", a.assignment().size() == 2 && b.assignment().size() == 2);
        int before = joined[0];
        var mine = Set.copyOf(b.assignment());
        b.close();
        var back = member("static", "b");
        poll(() -> a.assignment().size() == 2 && back.assignment().size() == 2, a, got, back, got);
        check("static member: each has its part again",
            a.assignment().size() == 2 && back.assignment().size() == 2);
        check("static member: comes back to its partitions without a rebalance",
            back.assignment().equals(mine) && joined[0] == before);
        a.close();
        back.close();
    }

    private static void administration(Admin admin) throws Exception {
        var made = List.of(new NewTopic("made", 3, (short) 1).configs(Map.of("retention.ms", "1000000")));
        admin.createTopics(made).all().get();
        boolean refused = false;
        try {
            admin.createTopics(made).all().get();
        } catch (ExecutionException e) {
            refused = e.getCause() instanceof TopicExistsException;
        }
        check("create topic: only once", refused);
        var described = admin.describeTopics(List.of("made")).allTopicNames().get().get("made");
        check("describe: partitions", described.partitions().size() == 3);
        check("describe: two nodes", admin.describeCluster().nodes().get().size() == 2);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, "made");
        check("describe: configs", retention(admin, resource).equals("1000000"));
        var set = new AlterConfigOp(new ConfigEntry("retention.ms", "2000000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
        check("alter configs", retention(admin, resource).equals("2000000"));
        admin.deleteTopics(List.of("made")).all().get();
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (admin.listTopics().names().get().contains("made") && System.currentTimeMillis() < end) {
            Thread.sleep(50);
        }
        check("delete topic", !admin.listTopics().names().get().contains("made"));
    }

    private static String retention(Admin admin, ConfigResource resource) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value();
    }

    private static void group(Admin admin) throws Exception {
        admin.createTopics(List.of(new NewTopic("shared", 4, (short) 1))).all().get();
        produce("shared", RECORDS, Map.of());
        List<ConsumerRecord<byte[], byte[]>> first = new ArrayList<>();
        List<ConsumerRecord<byte[], byte[]>> second = new ArrayList<>();
        var one = member("java-group", null);
        poll(() -> first.size() >= RECORDS.size(), one, first, null, null);
        check("join: a group of one reads everything", byKey(pairs(first)).equals(byKey(RECORDS)));
        one.commitSync();
        var two = member("java-group", null);
        poll(() -> one.assignment().size() == 2 && two.assignment().size() == 2, one, first, two, second);
        check("rebalance: a second member gets its part", one.assignment().size() == 2 && two.assignment().size() == 2);
        check("rebalance: no record comes twice", first.size() == RECORDS.size() && second.isEmpty());
        first.clear();
        produce("shared", RECORDS, Map.of());
        poll(() -> first.size() + second.size() >= RECORDS.size(), one, first, two, second);
        check("rebalance: both members read", !first.isEmpty() && !second.isEmpty());
        var both = new ArrayList<>(first);
        both.addAll(second);
        check("rebalance: each record comes to one of two members", byKey(pairs(both)).equals(byKey(RECORDS)));
        one.commitSync();
        two.commitSync();
        var described = admin.describeConsumerGroups(List.of("java-group")).all().get().get("java-group");
        check("describe: the group", described.members().size() == 2);
        two.close();
        poll(() -> one.assignment().size() == 4, one, first, null, null);
        check("leave: the first member gets everything back", one.assignment().size() == 4);
        one.close();
        produce("shared", RECORDS, Map.of());
        first.clear();
        var again = member("java-group", null);
        poll(() -> first.size() >= RECORDS.size(), again, first, null, null);
        check("commit and resume: a group goes on where it committed", byKey(pairs(first)).equals(byKey(RECORDS)));
        again.commitSync();
        again.close();
        var offsets = admin.listConsumerGroupOffsets("java-group").partitionsToOffsetAndMetadata().get();
        long total = offsets.values().stream().mapToLong(o -> o.offset()).sum();
        check("commit and resume: the committed offsets are listed", total == 3L * RECORDS.size());
    }

    private static KafkaConsumer<byte[], byte[]> member(String group, String instance) {
        Map<String, Object> config = consumerConfig();
        config.put("group.id", group);
        if (instance != null) {
            config.put("group.instance.id", instance);
            config.put("auto.offset.reset", "latest");
        }
        config.put("session.timeout.ms", "20000");
        config.put("heartbeat.interval.ms", "500");
        var consumer = new KafkaConsumer<byte[], byte[]>(config);
        consumer.subscribe(List.of("shared"));
        return consumer;
    }

    private static void poll(
        BooleanSupplier done,
        KafkaConsumer<byte[], byte[]> one, List<ConsumerRecord<byte[], byte[]>> first,
        KafkaConsumer<byte[], byte[]> two, List<ConsumerRecord<byte[], byte[]>> second) {
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (!done.getAsBoolean() && System.currentTimeMillis() < end) {
            one.poll(Duration.ofMillis(50)).forEach(first::add);
            if (two != null) {
                two.poll(Duration.ofMillis(50)).forEach(second::add);
            }
        }
    }

    private static List<RecordMetadata> produce(String topic, List<Pair> records, Map<String, String> with)
        throws Exception {
        return produce(topic, records, with, null);
    }

    // Record i was made at `made` + i seconds, or now when that is null.
    private static List<RecordMetadata> produce(
        String topic, List<Pair> records, Map<String, String> with, Long made) throws Exception {
        Map<String, Object> config = new HashMap<>(with);
        config.put("bootstrap.servers", broker);
        config.put("linger.ms", "5");
        config.put("key.serializer", ByteArraySerializer.class);
        config.put("value.serializer", ByteArraySerializer.class);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<byte[], byte[]>(config)) {
            for (int i = 0; i < records.size(); i++) {
                Pair r = records.get(i);
                Long at = made == null ? null : Long.valueOf(made + 1000L * i);
                sent.add(producer.send(
                    new ProducerRecord<>(topic, null, at, bytes(r.key()), bytes(r.value()), HEADERS)));
            }
        }
        List<RecordMetadata> metadata = new ArrayList<>();
        for (var each : sent) {
            metadata.add(each.get(PATIENCE_MS, TimeUnit.MILLISECONDS));
        }
        return metadata;
    }

    private static List<ConsumerRecord<byte[], byte[]>> consumeAll(String topic, int count) {
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>();
        try (var consumer = new KafkaConsumer<byte[], byte[]>(consumerConfig())) {
            var partitions = consumer.partitionsFor(topic).stream()
                .map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(partitions);
            poll(() -> got.size() >= count, consumer, got, null, null);
        }
        return got;
    }

    private static Map<String, Object> consumerConfig() {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", broker);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", "false");
        config.put("key.deserializer", ByteArrayDeserializer.class);
        config.put("value.deserializer", ByteArrayDeserializer.class);
        return config;
    }

    private static List<Pair> pairs(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(r -> new Pair(text(r.key()), text(r.value()))).toList();
    }

    private static Map<String, List<String>> byKey(List<Pair> pairs) {
        Map<String, List<String>> keys = new TreeMap<>();
        pairs.forEach(p -> keys.computeIfAbsent(Objects.toString(p.key()), k -> new ArrayList<>()).add(p.value()));
        return keys;
    }

    private static byte[] bytes(String text) {
        return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    private static void check(String what, boolean ok) {
        System.out.println("java: " + (ok ? "ok: " : "FAILED: ") + what);
        if (!ok) {
            System.exit(1);
        }
    }
}
