//! Configuration: one table of keys, and everything that comes out of it.
//!
//! `table` has one line a key. `key` reads values by it. `server` is what the server was started
//! with, typed; `layers` puts the dynamic settings of brokers over it; `topic` is what a topic ends
//! up with. `alter` checks changes, `describe` explains values, `help` prints the table. All of it
//! is pure: files are read by `server`, dynamic settings are kept by `image`.

pub mod alter;
pub mod describe;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod help;
pub mod key;
pub mod layers;
pub mod listener;
pub mod nearest;
mod properties;
pub mod server;
pub mod table;
pub mod topic;

pub use alter::{Change, Level, Op};
pub use error::ConfigError;
pub use help::help;
pub use key::{Effect, Key, Kind, Range, Scope, Value};
pub use layers::{Layers, NodeLimits, Overrides, Source};
pub use listener::Listener;
pub use server::{GroupLimits, ServerConfig};
pub use topic::{Compression, TopicConfig};

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = &'static Key> {
        let rest = [table::TOPIC, table::GROUP_RESOURCE, table::CLIENT_METRICS];
        table::broker_keys().chain(rest.into_iter().flatten())
    }

    #[test]
    fn every_default_is_a_value_of_its_key() {
        for key in all() {
            if let Some(text) = key.default {
                let value = key.parse(text);
                assert_eq!(value.map(|v| v.to_string()).as_deref(), Ok(text), "{}", key.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_docs_are_sentences() {
        let mut names: Vec<_> = table::broker_keys().map(|k| k.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table::broker_keys().count());
        for key in all() {
            assert!(key.doc.ends_with('.') && key.doc.is_ascii(), "{}", key.name);
            let known = key.broker.is_none_or(|b| table::broker_key(b).is_some());
            assert!(known, "{} falls back to a key that is not there", key.name);
        }
    }
}
