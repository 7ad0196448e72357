//! Which topics a name on the command line means: Kafka takes it as a list of regular expressions.

use regex::bytes::{Regex, RegexBuilder};

use crate::tools::cli::{Outcome, ToolError};

/// Topics that Kafka keeps for itself.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether a topic is one of Kafka's own.
pub(crate) fn is_internal(topic: &str) -> bool {
    INTERNAL.contains(&topic)
}

/// A regular expression that a topic's whole name must match; a comma is an alternative.
#[derive(Debug, Clone)]
pub(crate) struct TopicPattern(Regex);

impl TopicPattern {
    /// Reads it; quotes around it and blanks are dropped, as Kafka does.
    pub(crate) fn new(text: &str) -> Outcome<Self> {
        let list = text.trim().replace(',', "|").replace(' ', "");
        let list = list.trim_matches(['"', '\'']);
        compile(list)
            .map(Self)
            .map_err(|_| ToolError::Failed(format!("{list} is an invalid regex.")))
    }

    /// Whether `topic` is meant.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic.as_bytes())
    }
}

/// Compiles `text` so that it matches whole names only.
pub(crate) fn compile(text: &str) -> Result<Regex, regex::Error> {
    // By itself first: `a)|(b` must not become valid by the brackets around it.
    let build = |text: &str| RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
    build(text)?;
    build(&format!("^(?:{text})$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(pattern: &str) -> Vec<&'static str> {
        let pattern = TopicPattern::new(pattern).unwrap();
        ["t1", "t2", "t10", "a.b"].into_iter().filter(|t| pattern.matches(t)).collect()
    }

    #[test]
    fn a_name_is_a_list_of_whole_name_patterns() {
        assert_eq!(matching("t1"), ["t1"]);
        assert_eq!(matching("t1,t2"), ["t1", "t2"]);
        assert_eq!(matching("'t\\d, a.b'"), ["t1", "t2", "a.b"]);
        assert_eq!(matching("t.*|x"), ["t1", "t2", "t10"]);
        assert_eq!(matching("t"), [""; 0]);
    }

    #[test]
    fn a_bad_pattern_is_an_error_and_brackets_cannot_be_closed_early() {
        assert!(TopicPattern::new("[").is_err());
        assert!(TopicPattern::new("a)|(b").is_err());
    }
}
