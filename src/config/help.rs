//! The reference page of all keys, printed by `klamm server --help`.

use std::fmt::Write as _;

use super::key::{Effect, Key, Scope};
use super::table;

/// Every key with its type, default, range, scope and doc.
pub fn help() -> String {
    let mut text = String::from("Keys of the server (properties file, --override):\n");
    for key in table::broker_keys() {
        describe(key, &mut text);
    }
    for (title, keys) in [
        ("Keys of a topic", table::TOPIC),
        ("Keys of a group", table::GROUP_RESOURCE),
        ("Keys of a client-metrics subscription", table::CLIENT_METRICS),
    ] {
        let _ = write!(text, "\n{title}:\n");
        for key in keys {
            describe(key, &mut text);
        }
    }
    text
}

fn describe(key: &Key, out: &mut String) {
    let _ = write!(out, "\n  {}\n      {}", key.name, key.kind);
    let _ = match (key.broker, key.default) {
        (Some(broker), _) => write!(out, ", default: that of {broker}"),
        (None, Some(default)) => write!(out, ", default: {default:?}"),
        (None, None) => write!(out, ", no default"),
    };
    let range = key.range.to_string();
    if !range.is_empty() {
        let _ = write!(out, ", takes: {range}");
    }
    out.push_str(match key.scope {
        Scope::ReadOnly => "",
        Scope::Node => ", dynamic for each broker",
        Scope::Cluster => ", dynamic",
        Scope::Listener => ", dynamic for each listener",
    });
    let inert = if key.effect == Effect::Acts { "" } else { " Accepted; has no effect yet." };
    let _ = write!(out, "\n      {}{inert}\n", key.doc);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_key_is_described_with_all_that_the_table_says() {
        let of = |name: &str| {
            let text = help();
            let start = text.find(&format!("\n  {name}\n")).unwrap();
            text[start + 3..].split("\n\n").next().unwrap().replace("\n  ", "\n")
        };
        expect![[r#"
              compression.zstd.level
                  INT, default: "3", takes: -131072 to 22, dynamic
                  Level used when the broker compresses with zstd."#]]
        .assert_eq(&of("compression.zstd.level"));
        expect![[r"
              node.count
                  INT, no default, takes: 1 to 1024
                  Nodes that this server runs, one broker id and one port each. Fixed when the data directory is made; when unset, the cores that the process may use."]]
        .assert_eq(&of("node.count"));
        expect![[r#"
              ssl.protocol
                  STRING, default: "TLSv1.3", dynamic for each broker
                  TLS version of new sessions. Accepted; has no effect yet."#]]
        .assert_eq(&of("ssl.protocol"));
        expect![[r"
              ssl.keystore.location
                  STRING, no default, dynamic for each listener
                  File of the key store. Accepted; has no effect yet."]]
        .assert_eq(&of("ssl.keystore.location"));
    }
}
