//! Records of `__consumer_offsets` in words, as Kafka's tool prints them: `{"type":"1","data":{...}}` for
//! a key, `{"version":"4","data":{...}}` for a value, `<DELETE>` for a tombstone.
//!
//! The forms are tables: offsets and classic groups (kinds 0 to 2), and consumer groups (3, 5 to 8,
//! 16), which a directory of Kafka may hold. Others are named by their number. Bytes are base 64, but
//! for what the members of a classic consumer group say and are given.

use std::fmt::{Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use klamm::base::TopicId;
use klamm::wire::frame::{FrameError, Reader};

/// The form of a field.
#[derive(Clone, Copy)]
enum Form {
    I8,
    I32,
    I64,
    Text,
    NullableText,
    Binary,
    NullableBinary,
    Id,
    List(&'static Self),
    Fields(&'static [Field]),
    NullableFields(&'static [Field]),
    /// Bytes that hold a version and fields, when the group is one of consumers.
    Message(&'static [Field]),
}

use Form::{
    Binary, Fields, I8, I32, I64, Id, List, Message, NullableBinary, NullableFields, NullableText,
    Text,
};

/// A field, in the versions that have it.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    form: Form,
    from: i16,
    to: i16,
    is_tagged: bool,
}

const fn field(name: &'static str, form: Form) -> Field {
    Field { name, form, from: 0, to: i16::MAX, is_tagged: false }
}

impl Field {
    const fn from(self, from: i16) -> Self {
        Self { from, ..self }
    }

    const fn to(self, to: i16) -> Self {
        Self { to, ..self }
    }

    /// Number 0 of the tags, which is the only one so far.
    const fn tagged(self) -> Self {
        Self { is_tagged: true, ..self }
    }
}

/// One kind of record.
struct Kind {
    number: i16,
    key: &'static [Field],
    value: &'static [Field],
    /// The first version with compact lengths and tags, and the newest.
    flexible_from: i16,
    newest: i16,
}

const fn kind(number: i16, key: &'static [Field], value: &'static [Field]) -> Kind {
    Kind { number, key, value, flexible_from: 0, newest: 0 }
}

const KINDS: [Kind; 9] = [
    Kind { flexible_from: i16::MAX, ..kind(0, OFFSET_KEY, OFFSET) },
    Kind { flexible_from: 4, newest: 4, ..kind(1, OFFSET_KEY, OFFSET) },
    Kind { flexible_from: 4, newest: 4, ..kind(2, &[field("group", Text)], CLASSIC_GROUP) },
    kind(3, GROUP_KEY, &[field("epoch", I32), field("metadataHash", I64).tagged()]),
    kind(5, MEMBER_KEY, MEMBER),
    kind(
        6,
        GROUP_KEY,
        &[field("assignmentEpoch", I32), field("assignmentTimestamp", I64).tagged()],
    ),
    kind(7, MEMBER_KEY, &[field("topicPartitions", List(&Fields(&[TOPIC_ID, PARTITIONS])))]),
    kind(8, MEMBER_KEY, ASSIGNED),
    kind(16, &[GROUP_ID, field("regularExpression", Text)], PATTERN),
];

const GROUP_ID: Field = field("groupId", Text);
const TOPIC_ID: Field = field("topicId", Id);
const PARTITIONS: Field = field("partitions", List(&I32));
const OFFSET_KEY: &[Field] = &[field("group", Text), field("topic", Text), field("partition", I32)];
const OFFSET: &[Field] = &[
    field("offset", I64),
    field("leaderEpoch", I32).from(3),
    field("metadata", Text),
    field("commitTimestamp", I64),
    field("expireTimestamp", I64).from(1).to(1),
    TOPIC_ID.from(4).tagged(),
];
const CLASSIC_GROUP: &[Field] = &[
    field("protocolType", Text),
    field("generation", I32),
    field("protocol", NullableText),
    field("leader", NullableText),
    field("currentStateTimestamp", I64).from(2),
    field("members", List(&Fields(CLASSIC_MEMBER))),
];
const CLASSIC_MEMBER: &[Field] = &[
    field("memberId", Text),
    field("groupInstanceId", NullableText).from(3),
    field("clientId", Text),
    field("clientHost", Text),
    field("rebalanceTimeout", I32).from(1),
    field("sessionTimeout", I32),
    field("subscription", Message(SUBSCRIPTION)),
    field("assignment", Message(ASSIGNMENT)),
];
const SUBSCRIPTION: &[Field] = &[
    field("topics", List(&Text)),
    field("userData", NullableBinary),
    field("ownedPartitions", List(&Fields(TOPIC_PARTITIONS))).from(1),
    field("generationId", I32).from(2),
    field("rackId", NullableText).from(3),
];
const ASSIGNMENT: &[Field] = &[
    field("assignedPartitions", List(&Fields(TOPIC_PARTITIONS))),
    field("userData", NullableBinary),
];
const TOPIC_PARTITIONS: &[Field] = &[field("topic", Text), PARTITIONS];
const GROUP_KEY: &[Field] = &[GROUP_ID];
const MEMBER_KEY: &[Field] = &[GROUP_ID, field("memberId", Text)];
const MEMBER: &[Field] = &[
    field("instanceId", NullableText),
    field("rackId", NullableText),
    field("clientId", Text),
    field("clientHost", Text),
    field("subscribedTopicNames", List(&Text)),
    field("subscribedTopicRegex", NullableText),
    field("rebalanceTimeoutMs", I32),
    field("serverAssignor", NullableText),
    field("classicMemberMetadata", NullableFields(CLASSIC_METADATA)).tagged(),
];
const CLASSIC_METADATA: &[Field] = &[
    field("sessionTimeoutMs", I32),
    field("supportedProtocols", List(&Fields(&[field("name", Text), field("metadata", Binary)]))),
];
const ASSIGNED: &[Field] = &[
    field("memberEpoch", I32),
    field("previousMemberEpoch", I32),
    field("state", I8),
    field("assignedPartitions", List(&Fields(ASSIGNED_PARTITIONS))),
    field("partitionsPendingRevocation", List(&Fields(ASSIGNED_PARTITIONS))),
];
const ASSIGNED_PARTITIONS: &[Field] =
    &[TOPIC_ID, PARTITIONS, field("assignmentEpochs", List(&I32)).tagged()];
const PATTERN: &[Field] =
    &[field("topics", List(&Text)), field("version", I64), field("timestamp", I64)];

/// Key and value of the record at `offset`, in words. A record that cannot be read says so in place
/// of its key.
pub(super) fn words(offset: i64, key: &[u8], value: Option<&[u8]>) -> (String, Option<String>) {
    let skipped = |what: &dyn Display| format!("Error at offset {offset}, skipping. {what}");
    let Some((number, rest)) = key.split_first_chunk() else {
        return (skipped(&"the key has no kind"), None);
    };
    let number = i16::from_be_bytes(*number);
    let Some(kind) = KINDS.iter().find(|kind| kind.number == number) else {
        return (format!("Unknown record type {number} at offset {offset}, skipping."), None);
    };
    let data = Words::of(rest, kind.key, 0, false);
    let payload = value.map_or(Ok("<DELETE>".to_owned()), |value| kind.payload(value));
    match data.map_err(|e| e.to_string()).and_then(|data| Ok((data, payload?))) {
        Ok((data, payload)) => {
            (format!("{{\"type\":\"{number}\",\"data\":{data}}}"), Some(payload))
        }
        Err(what) => (skipped(&what), None),
    }
}

impl Kind {
    fn payload(&self, value: &[u8]) -> Result<String, String> {
        let (version, rest) = value.split_first_chunk().ok_or("the value has no version")?;
        let version = i16::from_be_bytes(*version);
        if !(0..=self.newest).contains(&version) {
            return Err(format!("version {version} of the value is not known"));
        }
        let data = Words::of(rest, self.value, version, version >= self.flexible_from);
        let data = data.map_err(|e| e.to_string())?;
        Ok(format!("{{\"version\":\"{version}\",\"data\":{data}}}"))
    }
}

/// A message on its way into JSON.
struct Words {
    version: i16,
    is_flexible: bool,
    /// It is about a classic group of consumers.
    is_consumers: bool,
    out: String,
}

impl Words {
    fn of(
        bytes: &[u8],
        fields: &[Field],
        version: i16,
        is_flexible: bool,
    ) -> Result<String, FrameError> {
        let mut words = Self { version, is_flexible, is_consumers: false, out: String::new() };
        words.fields(&mut Reader::new(bytes), fields)?;
        Ok(words.out)
    }

    fn fields(&mut self, r: &mut Reader<'_>, fields: &[Field]) -> Result<(), FrameError> {
        let (version, mut comma) = (self.version, "");
        self.out.push('{');
        let mut begin = |words: &mut Self, name: &str| {
            let _ = write!(words.out, "{comma}\"{name}\":");
            comma = ",";
        };
        let there = fields.iter().filter(|field| (field.from..=field.to).contains(&version));
        for field in there.clone().filter(|field| !field.is_tagged) {
            begin(self, field.name);
            let from = self.out.len();
            self.value(r, field.form)?;
            self.is_consumers |=
                field.name == "protocolType" && self.out[from..] == *"\"consumer\"";
        }
        let mut tag = None;
        for _ in 0..if self.is_flexible { r.uvarint()? } else { 0 } {
            let (number, size) = (r.uvarint()?, r.uvarint()?);
            let bytes = r.take(size as usize)?;
            tag = tag.or((number == 0).then_some(bytes));
        }
        if let (Some(bytes), Some(field)) = (tag, there.clone().find(|field| field.is_tagged)) {
            begin(self, field.name);
            self.value(&mut Reader::new(bytes), field.form)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn value(&mut self, r: &mut Reader<'_>, form: Form) -> Result<(), FrameError> {
        let compact = self.is_flexible;
        match form {
            I8 => self.show(r.i8()?),
            I32 => self.show(r.i32()?),
            I64 => self.show(r.i64()?),
            Id => self.text(Some(&TopicId(r.uuid()?).to_string())),
            Text => self.text(Some(r.string(compact)?)),
            NullableText => self.text(r.nullable_string_of(compact)?),
            Binary | NullableBinary => {
                let bytes = r.nullable_bytes(compact)?;
                self.text(bytes.map(|bytes| STANDARD.encode(bytes)).as_deref());
            }
            Message(fields) => {
                let bytes = r.nullable_bytes(compact)?.unwrap_or_default();
                let read = bytes.split_first_chunk().filter(|_| self.is_consumers);
                let read = read.and_then(|(version, rest)| {
                    Self::of(rest, fields, i16::from_be_bytes(*version), false).ok()
                });
                match read {
                    Some(words) => self.out.push_str(&words),
                    None => self.text(Some(&STANDARD.encode(bytes))),
                }
            }
            List(form) => {
                self.out.push('[');
                for at in 0..r.array_len(compact)? {
                    self.out.push_str(if at > 0 { "," } else { "" });
                    self.value(r, *form)?;
                }
                self.out.push(']');
            }
            Fields(fields) => self.fields(r, fields)?,
            NullableFields(_) if r.uvarint()? == 0 => self.show("null"),
            NullableFields(fields) => self.fields(r, fields)?,
        }
        Ok(())
    }

    fn show(&mut self, value: impl Display) {
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, text: Option<&str>) {
        self.show(serde_json::Value::from(text));
    }
}
