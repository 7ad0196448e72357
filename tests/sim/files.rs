//! On a real file system: the files are Kafka's.
