//! What one line of the table says about a key, and how a value is read by it.
//!
//! Reading follows Kafka: values are trimmed, lists are split at commas, a bad value is refused
//! with the sentence that Kafka uses, so that tools show what people know.

use std::fmt;

use super::error::ConfigError;

/// Kafka's type of a value. The number is the one DescribeConfigs carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Kafka's own names")]
pub enum Kind {
    Bool = 1,
    Text = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bool => "BOOLEAN",
            Self::Text => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        })
    }
}

/// Which values of its type a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// All.
    Any,
    /// Whole numbers from the first to the second; `i64::MAX` is no upper limit.
    Int(i64, i64),
    /// Numbers from the first to the second.
    Float(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    AnyCase(&'static [&'static str]),
    /// A list of these words.
    ListOf(&'static [&'static str]),
    /// A list without repetitions, maybe empty.
    Distinct,
    /// A list without repetitions and with at least one element.
    Filled,
    /// A text of at least one character.
    NonEmpty,
    /// A gzip level: 1 to 9, or -1.
    GzipLevel,
    /// `partition:broker` pairs, or `*`.
    Throttled,
    /// `latest`, `earliest` or `by_duration:<ISO 8601 duration>`.
    OffsetReset,
    /// `name=pattern` pairs of known names.
    ClientMatch,
}

/// Who may change a key while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nobody: it is read at start.
    ReadOnly,
    /// One broker at a time.
    Node,
    /// One broker, or all of the cluster.
    Cluster,
    /// One listener of a broker, by the prefix `listener.name.<name>.`: the stores of TLS.
    Listener,
}

/// Whether a key does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Acts,
    /// It is known, checked, stored and described, and does nothing yet.
    Inert,
    /// As `Inert`, and described only where it is set: Kafka keeps it for itself, or 4.3 does not
    /// have it.
    Hidden,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Kafka's name.
    pub name: &'static str,
    /// Type of the value.
    pub kind: Kind,
    /// Value when nothing is set.
    pub default: Option<&'static str>,
    /// Values that are taken.
    pub range: Range,
    /// Who may change it while the server runs.
    pub scope: Scope,
    /// Whether it does something.
    pub effect: Effect,
    /// One sentence of our own.
    pub doc: &'static str,
    /// The broker key that is the default of this topic or group key.
    pub broker: Option<&'static str>,
}

/// A value that was read by its key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `BOOLEAN`.
    Bool(bool),
    /// `INT`, `SHORT`, `LONG`.
    Int(i64),
    /// `DOUBLE`.
    Float(f64),
    /// `STRING`, `CLASS`, `PASSWORD`.
    Text(String),
    /// `LIST`.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(v) => v.fmt(f),
            Self::Int(v) => v.fmt(f),
            Self::Float(v) => f.write_str(&format!("{v:?}").replace('e', "E")),
            Self::Text(v) => f.write_str(v),
            Self::List(v) => f.write_str(&v.join(",")),
        }
    }
}

impl Key {
    /// Reads a value of this key.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the reason.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let text = text.trim();
        let value = self.read(text).map_err(|why| self.invalid(text, why))?;
        match self.range.refuse(&value) {
            None => Ok(value),
            Some(why) => Err(self.invalid(&value.to_string(), why)),
        }
    }

    /// Whether the value must not be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    fn invalid(&self, value: &str, why: String) -> ConfigError {
        let value = if self.is_sensitive() { "[hidden]" } else { value };
        ConfigError::Invalid { name: self.name.to_owned(), value: value.to_owned(), why }
    }

    fn read(&self, text: &str) -> Result<Value, String> {
        let number = |n: Option<i64>| {
            n.map(Value::Int).ok_or_else(|| format!("Not a number of type {}", self.kind))
        };
        match self.kind {
            Kind::Bool if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            Kind::Bool if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            Kind::Bool => Err("Expected value to be either true or false".to_owned()),
            Kind::Short => number(text.parse::<i16>().ok().map(i64::from)),
            Kind::Int => number(text.parse::<i32>().ok().map(i64::from)),
            Kind::Long => number(text.parse().ok()),
            Kind::Double => match text.parse::<f64>() {
                Ok(v) if v.is_finite() => Ok(Value::Float(v)),
                _ => Err(format!("Not a number of type {}", self.kind)),
            },
            Kind::List => Ok(Value::List(split_list(text))),
            Kind::Text | Kind::Class | Kind::Password => Ok(Value::Text(text.to_owned())),
        }
    }
}

/// The elements of a list value; an empty text has none.
pub fn split_list(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|e| e.trim().to_owned()).collect()
}

impl Range {
    /// Why the value is refused, in Kafka's words; `None` when it is taken.
    fn refuse(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Self::Int(min, _), Value::Int(v)) if *v < min => {
                Some(format!("Value must be at least {min}"))
            }
            (Self::Int(_, max), Value::Int(v)) if *v > max => {
                Some(format!("Value must be no more than {max}"))
            }
            (Self::Float(min, _), Value::Float(v)) if *v < min => {
                Some(format!("Value must be at least {min}"))
            }
            (Self::Float(_, max), Value::Float(v)) if *v > max => {
                Some(format!("Value must be no more than {max}"))
            }
            (Self::GzipLevel, Value::Int(v)) if *v != -1 && !(1..=9).contains(v) => {
                Some("Value must be between 1 and 9 or equal to -1".to_owned())
            }
            (_, Value::Text(v)) => self.refuse_text(v),
            (_, Value::List(v)) => self.refuse_list(v),
            _ => None,
        }
    }

    fn refuse_text(self, text: &str) -> Option<String> {
        let fits = match self {
            Self::OneOf(words) => words.contains(&text),
            Self::AnyCase(words) => words.iter().any(|w| w.eq_ignore_ascii_case(text)),
            Self::NonEmpty => !text.is_empty(),
            Self::OffsetReset => {
                matches!(text, "latest" | "earliest") || is_positive_duration(text)
            }
            _ => true,
        };
        (!fits).then(|| match self {
            Self::NonEmpty => "String must be non-empty".to_owned(),
            _ => format!("String must be one of: {self}"),
        })
    }

    fn refuse_list(self, list: &[String]) -> Option<String> {
        let repeats = || list.iter().enumerate().any(|(i, e)| list[..i].contains(e));
        match self {
            Self::ListOf(words) if !list.iter().all(|e| words.contains(&e.as_str())) => {
                Some(format!("String must be one of: {self}"))
            }
            Self::Filled if list.is_empty() => Some("values must not be empty".to_owned()),
            Self::Filled | Self::Distinct if repeats() => {
                Some("values must not be duplicated".to_owned())
            }
            Self::Throttled if !are_throttled_replicas(list) => Some(format!("must be {self}")),
            Self::ClientMatch if !list.iter().all(|e| is_client_match(e)) => {
                Some("Illegal client matching pattern".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Any => Ok(()),
            Self::Int(min, i64::MAX) => write!(f, "{min} and more"),
            Self::Int(min, max) => write!(f, "{min} to {max}"),
            Self::Float(min, max) => write!(f, "{min} to {max}"),
            Self::OneOf(words) | Self::AnyCase(words) | Self::ListOf(words) => {
                f.write_str(&words.join(", "))
            }
            Self::Distinct => f.write_str("no repetitions"),
            Self::Filled => f.write_str("one element or more, no repetitions"),
            Self::NonEmpty => f.write_str("not empty"),
            Self::GzipLevel => f.write_str("1 to 9, or -1"),
            Self::Throttled => f.write_str("'*' or [partition]:[broker],[partition]:[broker],..."),
            Self::OffsetReset => f.write_str("latest, earliest, by_duration:<ISO 8601 duration>"),
            Self::ClientMatch => write!(f, "name=pattern with a name of: {}", CLIENT.join(", ")),
        }
    }
}

const CLIENT: &[&str] = &[
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

fn is_client_match(pair: &str) -> bool {
    pair.split_once('=').is_some_and(|(name, _)| CLIENT.contains(&name.trim()))
}

fn are_throttled_replicas(list: &[String]) -> bool {
    let is_pair = |e: &String| {
        e.split_once(':').is_some_and(|(p, b)| p.parse::<u32>().is_ok() && b.parse::<u32>().is_ok())
    };
    matches!(list, [one] if one == "*") || list.iter().all(is_pair)
}

/// `by_duration:P1DT2H3.5S` and the like; at least one unit, nothing negative.
fn is_positive_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("by_duration:P") else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let day_fits = days.is_empty() || are_units(days, "D");
    let time_fits = time.is_none_or(|t| are_units(t, "HMS"));
    day_fits && time_fits && (!days.is_empty() || time.is_some())
}

/// One number per unit, units in the order given, at least one of them.
fn are_units(mut text: &str, units: &str) -> bool {
    let mut any = false;
    for unit in units.chars() {
        if let Some((number, rest)) = text.split_once(unit) {
            if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
                return false;
            }
            (text, any) = (rest, true);
        }
    }
    any && text.is_empty()
}
