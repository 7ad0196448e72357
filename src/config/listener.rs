//! Where a node listens and what it tells its clients: `NAME://host:port`.

use std::fmt;

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Name, in upper case; without a map it is also the security protocol.
    pub name: String,
    /// Host name or address; empty is all addresses.
    pub host: String,
    /// TCP port; 0 is any free one.
    pub port: u16,
}

impl Listener {
    /// Reads one element of `listeners`; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.trim().split_once("://")?;
        let (host, port) = rest.rsplit_once(':')?;
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let well_formed = !name.is_empty() && (inner.is_some() || !host.contains(':'));
        well_formed.then_some(Self {
            name: name.to_ascii_uppercase(),
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    }

    /// The endpoint of the node `index` places after the first; `None` past the last port.
    pub fn for_node(&self, index: u16) -> Option<Self> {
        let port = if self.port == 0 { 0 } else { self.port.checked_add(index)? };
        Some(Self { port, ..self.clone() })
    }

    /// Whether it means all addresses of the machine, which no client can connect to.
    pub fn is_wildcard(&self) -> bool {
        matches!(self.host.as_str(), "" | "0.0.0.0" | "::")
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{}://{host}:{}", self.name, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_read_back_from_their_text() {
        for text in ["PLAINTEXT://:9092", "INSIDE://10.0.0.1:1", "PLAINTEXT://[::1]:65535"] {
            assert_eq!(Listener::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "9092", "PLAINTEXT:9092", "://:1", "X://h:65536", "X://::1:9", "X://h"] {
            assert_eq!(Listener::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn nodes_take_the_ports_that_follow() {
        let first = Listener::parse("PLAINTEXT://h:9092").unwrap();
        assert_eq!(first.for_node(3).unwrap().port, 9095);
        assert_eq!(Listener { port: 65535, ..first.clone() }.for_node(1), None);
        assert_eq!(Listener { port: 0, ..first }.for_node(1).unwrap().port, 0);
    }
}
