//! Why a record of the metadata log cannot be used. Each of them means that the log is damaged or
//! was written by a newer version: the server must not go on with a part of its metadata.

use crate::base::TopicId;

/// A record that cannot be read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The bytes are no metadata record.
    #[error("a metadata record of {len_bytes} B cannot be read: {what}; restore the metadata log")]
    Malformed {
        /// Size of the value.
        len_bytes: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A kind of record that this version does not know.
    #[error("metadata record of kind {kind} is not known; run the version that wrote it")]
    UnknownKind {
        /// Number of the kind.
        kind: u8,
    },
    /// A record about a topic that does not exist.
    #[error("a metadata record is about topic {0}, which does not exist; restore the metadata log")]
    NoSuchTopic(TopicId),
    /// A topic that exists already, by id or by name.
    #[error("a metadata record creates topic {name} again; restore the metadata log")]
    TopicExists {
        /// Name of the topic.
        name: String,
    },
    /// A partition that leaves a gap after the last one.
    #[error(
        "a metadata record is about partition {index} of topic {topic}, which has {partitions}; restore the metadata log"
    )]
    Gap {
        /// The topic.
        topic: TopicId,
        /// Index in the record.
        index: i32,
        /// Partitions so far.
        partitions: usize,
    },
}
