// What Kafka's generated classes say of the records of its internal logs, told from their schemas.
//
// `table` prints the table that `klamm dump-log` reads (tools/dump_log/records.txt). `logs DIR` writes
// a log for each decoder, with every kind of record in every version: once with nothing but defaults,
// and twice with values from a fixed seed.
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.metadata.MetadataRecordType;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.ImplicitLinkedHashCollection;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

public class Records {
    record Kind(String log, short id, String name, ApiMessage key, ApiMessage value) {}

    /** A field in one version: its type, and its tag or -1. */
    record There(Type type, int tag) {}

    static List<Kind> kinds() {
        var kinds = new ArrayList<Kind>();
        for (var t : MetadataRecordType.values())
            kinds.add(new Kind("metadata", t.id(), t.toString(), null, t.newMetadataRecord()));
        for (var t : org.apache.kafka.coordinator.transaction.generated.CoordinatorRecordType.values())
            kinds.add(new Kind("transactions", t.id(), t.toString(), t.newRecordKey(), t.newRecordValue()));
        for (var t : org.apache.kafka.coordinator.share.generated.CoordinatorRecordType.values())
            kinds.add(new Kind("shares", t.id(), t.toString(), t.newRecordKey(), t.newRecordValue()));
        for (var t : org.apache.kafka.coordinator.group.generated.CoordinatorRecordType.values())
            kinds.add(new Kind("groups", t.id(), t.toString(), t.newRecordKey(), t.newRecordValue()));
        return kinds;
    }

    static Schema schema(Message message, int version) throws ReflectiveOperationException {
        return ((Schema[]) message.getClass().getField("SCHEMAS").get(null))[version];
    }

    static List<Field> fields(Class<?> type) {
        return Arrays.stream(type.getDeclaredFields())
            .filter(f -> !Modifier.isStatic(f.getModifiers()))
            .filter(f -> !f.getName().startsWith("_") && !List.of("next", "prev").contains(f.getName()))
            .peek(f -> f.setAccessible(true)).toList();
    }

    static There find(Schema schema, Field field) {
        for (BoundField bound : schema.fields()) {
            if (isNamed(bound.def.name, field)) return new There(bound.def.type, -1);
            if (!(bound.def.type instanceof TaggedFields tagged)) continue;
            for (var e : tagged.fields().entrySet())
                if (isNamed(e.getValue().name, field)) return new There(e.getValue().type, e.getKey());
        }
        return null;
    }

    static boolean isNamed(String name, Field field) {
        return name.replace("_", "").equals(field.getName().toLowerCase());
    }

    static boolean isFlexible(Schema schema) {
        return Arrays.stream(schema.fields()).anyMatch(f -> f.def.type instanceof TaggedFields);
    }

    static Class<?> element(Field field) {
        var type = field.getGenericType() instanceof ParameterizedType p ? p
            : (ParameterizedType) field.getType().getGenericSuperclass();
        return (Class<?>) type.getActualTypeArguments()[0];
    }

    static void tell(String head, Message message) throws ReflectiveOperationException {
        int from = message.lowestSupportedVersion(), to = message.highestSupportedVersion();
        var schemas = new TreeMap<Integer, Schema>();
        for (int v = from; v <= to; v++) schemas.put(v, schema(message, v));
        var flexible = schemas.keySet().stream().filter(v -> isFlexible(schemas.get(v))).findFirst();
        System.out.println(head + " " + from + "-" + to + flexible.map(v -> " flexible " + v + "+").orElse(""));
        tell(" ", message.getClass(), schemas, to);
    }

    static void tell(String indent, Class<?> type, Map<Integer, Schema> schemas, int newest)
            throws ReflectiveOperationException {
        var fresh = type.getDeclaredConstructor().newInstance();
        for (Field field : fields(type)) {
            var there = new TreeMap<Integer, There>();
            schemas.forEach((v, s) -> Optional.ofNullable(find(s, field)).ifPresent(t -> there.put(v, t)));
            var last = there.lastEntry().getValue();
            var one = last.type.isArray() ? last.type.arrayElementType().get() : last.type;
            var own = last.type.isArray() ? element(field) : field.getType();
            boolean isStruct = Message.class.isAssignableFrom(own);
            var line = indent + field.getName() + " " + (last.type.isArray() ? "[]" : "");
            line += isStruct ? "struct" : one.toString().replaceAll("COMPACT_|NULLABLE_", "").toLowerCase();
            if (isStruct && !last.type.isArray() && one.isNullable()) line += "?";
            if (!there.keySet().equals(schemas.keySet()))
                line += " " + there.firstKey() + (there.lastKey() == newest ? "+" : "-" + there.lastKey());
            if (last.tag >= 0) line += " tag " + last.tag + " " + json(field.get(fresh));
            System.out.println(line);
            if (!isStruct) continue;
            var inner = new TreeMap<Integer, Schema>();
            there.forEach((v, t) -> inner.put(v, (Schema) t.type.arrayElementType().orElse(t.type)));
            tell(indent + " ", own, inner, newest);
        }
    }

    /** A default as it would be printed; one that is a struct never is equal to what is printed. */
    static String json(Object value) {
        if (value instanceof Collection) return "[]";
        if (value instanceof Message) return "-";
        return value instanceof String || value instanceof Uuid ? '"' + value.toString() + '"' : "" + value;
    }

    @SuppressWarnings("unchecked")
    static Object random(Random random, Type type, Class<?> own, Field field) throws ReflectiveOperationException {
        if (type.isNullable() && random.nextInt(4) == 0) return null;
        if (type.isArray()) {
            var list = field.getType() == List.class ? new ArrayList<Object>()
                : (Collection<Object>) field.getType().getDeclaredConstructor().newInstance();
            int count = random.nextInt(3);
            for (int i = 0; i < count; i++) list.add(random(random, type.arrayElementType().get(), element(field), field));
            return list;
        }
        if (type instanceof Schema schema) {
            var message = (Message) own.getDeclaredConstructor().newInstance();
            fill(random, message, schema);
            return message;
        }
        if (own == boolean.class) return random.nextBoolean();
        if (own == byte.class || own == Byte.class) return (byte) random.nextInt();
        if (own == short.class || own == Short.class) return (short) random.nextInt();
        if (type.toString().equals("UINT16")) return random.nextInt(1 << 16);
        if (own == int.class || own == Integer.class) return random.nextInt() >> random.nextInt(32);
        if (own == long.class || own == Long.class) return random.nextLong() >> random.nextInt(64);
        if (own == double.class) return Math.scalb(random.nextDouble(), random.nextInt(80) - 20);
        if (own == Uuid.class) return new Uuid(random.nextLong(), random.nextLong());
        if (own == byte[].class) { var b = new byte[random.nextInt(20)]; random.nextBytes(b); return b; }
        if (own == String.class) {
            var texts = List.of("", "consumer", "plain-name.1", "a \"quoted\" \\ text\n\t\u0001\u001f", "\u00fc\u20ac\ud83d\ude00/<>&'\u007f");
            return texts.get(random.nextInt(texts.size()));
        }
        throw new IllegalStateException(type + " " + own);
    }

    static void fill(Random random, Message message, Schema schema) throws ReflectiveOperationException {
        for (Field field : fields(message.getClass())) {
            var there = find(schema, field);
            if (there != null) field.set(message, random(random, there.type, field.getType(), field));
        }
    }

    static void logs(Path dir) throws Exception {
        var random = new Random(4711);
        var logs = new TreeMap<String, List<SimpleRecord>>();
        for (var kind : kinds()) {
            var log = logs.computeIfAbsent(kind.log, name -> new ArrayList<>());
            for (short v = kind.value.lowestSupportedVersion(); v <= kind.value.highestSupportedVersion(); v++) {
                for (int at = 0; at < 3; at++) {
                    var value = (ApiMessage) kind.value.getClass().getDeclaredConstructor().newInstance();
                    if (at > 0) fill(random, value, schema(value, v));
                    if (kind.key == null) {
                        var cache = new ObjectSerializationCache();
                        var message = new ApiMessageAndVersion(value, v);
                        var buffer = ByteBuffer.allocate(MetadataRecordSerde.INSTANCE.recordSize(message, cache));
                        MetadataRecordSerde.INSTANCE.write(message, cache, new ByteBufferAccessor(buffer));
                        log.add(new SimpleRecord(1L, null, buffer.array()));
                        continue;
                    }
                    if (at > 0) fill(random, kind.key, schema(kind.key, 0));
                    log.add(new SimpleRecord(1L, MessageUtil.toCoordinatorTypePrefixedBytes(kind.key),
                        MessageUtil.toVersionPrefixedBytes(v, value)));
                }
            }
            if (kind.key != null) log.add(new SimpleRecord(1L, MessageUtil.toCoordinatorTypePrefixedBytes(kind.key), null));
        }
        for (var log : logs.entrySet()) {
            var records = MemoryRecords.withRecords(Compression.zstd().build(), log.getValue().toArray(new SimpleRecord[0]));
            var to = Files.createDirectories(dir.resolve(log.getKey())).resolve("00000000000000000000.log");
            var copy = new byte[records.sizeInBytes()];
            records.buffer().duplicate().get(copy);
            Files.write(to, copy);
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("logs")) {
            logs(Path.of(arguments[1]));
            return;
        }
        for (var kind : kinds()) {
            var head = kind.log + " " + kind.id;
            if (kind.key != null) tell(head + " key", kind.key);
            tell(head + " " + (kind.key == null ? kind.name : "value"), kind.value);
        }
        tell("control 2 LeaderChange:", new LeaderChangeMessage());
        tell("control 3 SnapshotHeader", new SnapshotHeaderRecord());
        tell("control 4 SnapshotFooter", new SnapshotFooterRecord());
        tell("control 5 KRaftVersion", new KRaftVersionRecord());
        tell("control 6 KRaftVoters", new VotersRecord());
        tell("consumer 0 subscription", new ConsumerProtocolSubscription());
        tell("consumer 0 assignment", new ConsumerProtocolAssignment());
    }
}
