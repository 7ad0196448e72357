// The Java client against a broker: Compat HOST:PORT. One line a check; stops at the first that fails.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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

    private static final long PATIENCE_MS = 30_000;
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
        System.out.println("java: kafka-clients " + AppInfoParser.getVersion());
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            topics(admin);
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
                for (String acks : List.of("0", "1", "all")) {
                    roundTrip(codec, acks, false);
                }
            }
            roundTrip("none", "all", true);
            nulls();
            group(admin);
        }
    }

    private static void topics(Admin admin) throws Exception {
        admin.createTopics(List.of(new NewTopic("shared", 4, (short) 1))).all().get();
        boolean refused = false;
        try {
            admin.createTopics(List.of(new NewTopic("shared", 4, (short) 1))).all().get();
        } catch (ExecutionException e) {
            refused = e.getCause() instanceof TopicExistsException;
        }
        check("a topic is created once", refused);
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, "shared");
        var set = new AlterConfigOp(new ConfigEntry("retention.ms", "123456789"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
        var config = admin.describeConfigs(List.of(resource)).all().get().get(resource);
        check("a topic's setting is changed", config.get("retention.ms").value().equals("123456789"));
        check("two nodes", admin.describeCluster().nodes().get().size() == 2);
    }

    private static void roundTrip(String codec, String acks, boolean idempotent) throws Exception {
        String topic = "java-" + codec + "-" + acks + (idempotent ? "-idempotent" : "");
        var metadata = produce(topic, RECORDS, Map.of(
            "compression.type", codec, "acks", acks, "enable.idempotence", String.valueOf(idempotent)));
        var got = consumeAll(topic, RECORDS.size());
        String what = "codec " + codec + ", acks " + acks + (idempotent ? ", idempotent" : "");
        check(what, byKey(pairs(got)).equals(byKey(RECORDS)));
        check(what + ": headers", got.stream().allMatch(r -> Arrays.asList(r.headers().toArray()).equals(HEADERS)));
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

    private static void nulls() throws Exception {
        var records = List.of(new Pair("k", null), new Pair("k", "v"), new Pair("k", ""), new Pair("k", null));
        produce("java-nulls", records, Map.of());
        check("null values", pairs(consumeAll("java-nulls", 4)).equals(records));
        produce("java-null-key", List.of(new Pair(null, "v")), Map.of());
        check("a null key", pairs(consumeAll("java-null-key", 1)).equals(List.of(new Pair(null, "v"))));
    }

    private static void group(Admin admin) throws Exception {
        produce("shared", RECORDS, Map.of());
        List<ConsumerRecord<byte[], byte[]>> first = new ArrayList<>();
        List<ConsumerRecord<byte[], byte[]>> second = new ArrayList<>();
        var one = member();
        poll(() -> first.size() >= RECORDS.size(), one, first, null, null);
        check("a group of one reads everything", byKey(pairs(first)).equals(byKey(RECORDS)));
        one.commitSync();
        var two = member();
        poll(() -> one.assignment().size() == 2 && two.assignment().size() == 2, one, first, two, second);
        check("a second member gets its part", one.assignment().size() == 2 && two.assignment().size() == 2);
        check("no record comes twice", first.size() == RECORDS.size() && second.isEmpty());
        first.clear();
        produce("shared", RECORDS, Map.of());
        poll(() -> first.size() + second.size() >= RECORDS.size(), one, first, two, second);
        check("both members read", !first.isEmpty() && !second.isEmpty());
        var both = new ArrayList<>(first);
        both.addAll(second);
        check("each record comes to one of two members", byKey(pairs(both)).equals(byKey(RECORDS)));
        one.commitSync();
        two.commitSync();
        var described = admin.describeConsumerGroups(List.of("java-group")).all().get().get("java-group");
        check("the group is described", described.members().size() == 2);
        two.close();
        poll(() -> one.assignment().size() == 4, one, first, null, null);
        check("the first member gets everything back", one.assignment().size() == 4);
        one.close();
        produce("shared", RECORDS, Map.of());
        first.clear();
        var again = member();
        poll(() -> first.size() >= RECORDS.size(), again, first, null, null);
        check("a group goes on where it committed", byKey(pairs(first)).equals(byKey(RECORDS)));
        again.commitSync();
        again.close();
        var offsets = admin.listConsumerGroupOffsets("java-group").partitionsToOffsetAndMetadata().get();
        long total = offsets.values().stream().mapToLong(o -> o.offset()).sum();
        check("the committed offsets are listed", total == 3L * RECORDS.size());
    }

    private static KafkaConsumer<byte[], byte[]> member() {
        Map<String, Object> config = consumerConfig();
        config.put("group.id", "java-group");
        config.put("session.timeout.ms", "6000");
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
        Map<String, Object> config = new HashMap<>(with);
        config.put("bootstrap.servers", broker);
        config.put("linger.ms", "5");
        config.put("key.serializer", ByteArraySerializer.class);
        config.put("value.serializer", ByteArraySerializer.class);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var producer = new KafkaProducer<byte[], byte[]>(config)) {
            for (Pair r : records) {
                sent.add(producer.send(
                    new ProducerRecord<>(topic, null, bytes(r.key()), bytes(r.value()), HEADERS)));
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
