//! Which names topics may have.

use std::collections::BTreeMap;

use super::ControllerError;

/// Longest topic name, in characters, so that a directory name has room for the partition.
const TOPIC_NAME_CHARS_MAX: usize = 249;

/// Checks a topic name.
///
/// # Errors
/// [`ControllerError::InvalidTopicName`] with the reason.
pub fn check_topic_name(name: &str) -> Result<(), ControllerError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if matches!(name, "." | "..") {
        format!("'{name}' is not allowed")
    } else if name.chars().count() > TOPIC_NAME_CHARS_MAX {
        format!(
            "the length of '{name}' is longer than the max allowed length {TOPIC_NAME_CHARS_MAX}"
        )
    } else if !name.chars().all(legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(ControllerError::InvalidTopicName(why))
}

/// Names of topics, by what metrics make of them: there, dots become underscores, so two names may
/// become one.
#[derive(Default)]
pub(super) struct NamesInUse(BTreeMap<String, String>);

impl NamesInUse {
    /// Whether other names can become the same as this one.
    pub(super) fn matter_for(name: &str) -> bool {
        name.contains(['.', '_'])
    }

    /// Takes in a name.
    pub(super) fn insert(&mut self, name: &str) {
        if Self::matter_for(name) {
            self.0.insert(name.replace('.', "_"), name.to_owned());
        }
    }

    /// The name that becomes the same as this one.
    pub(super) fn colliding(&self, name: &str) -> Option<&str> {
        let flat = Self::matter_for(name).then(|| name.replace('.', "_"))?;
        self.0.get(&flat).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_few_characters_and_fit_a_directory() {
        for good in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(check_topic_name(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "\u{e4}", &"x".repeat(250)] {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dots_and_underscores_are_the_same_in_metrics() {
        let mut names = NamesInUse::default();
        names.insert("a.b_c");
        names.insert("plain");
        assert_eq!(names.colliding("a_b.c"), Some("a.b_c"));
        assert_eq!(names.colliding("a-b_c"), None);
        assert_eq!(names.colliding("plain"), None);
    }
}
