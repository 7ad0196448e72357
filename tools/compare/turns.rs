//! The turns of Klamm in the measured time, as its own metrics tell them: the longest one with what it
//! did, and how many were long.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use klamm::metrics::Step;

use crate::process::Outcome;

const LIMIT: Duration = Duration::from_secs(10);
/// The bucket of the histogram that begins above 100 us, which no slice of other work may add.
const LONG_S: f64 = 0.000_131_072;
/// The name of the value that says which step of the longest turn was the longest.
pub(crate) const STEP: &str = "longest_turn_step";
/// What a turn does: the label of the metric, and the name of the value.
pub(crate) const DID: [(&str, &str); 8] = [
    ("events", "longest_turn_events"),
    ("results", "longest_turn_results"),
    ("mail", "longest_turn_mail"),
    ("applied", "longest_turn_applied"),
    ("committed_bytes", "longest_turn_committed_bytes"),
    ("requests", "longest_turn_requests"),
    ("request_bytes", "longest_turn_request_bytes"),
    ("answers", "longest_turn_answers"),
];

/// The metrics as the admin listener at `port` tells them.
pub(crate) fn page(port: u16) -> Outcome<String> {
    let said = |e: std::io::Error| format!("the metrics of Klamm: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(said)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(said)?;
    let request = "GET /metrics HTTP/1.1\r\nHost: klamm\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut page = String::new();
    stream.read_to_string(&mut page).map_err(said)?;
    Ok(page)
}

/// The first value of a family that has this in its labels.
pub(crate) fn value(page: &str, family: &str, label: &str) -> Option<f64> {
    let line = page.lines().find(|l| {
        let rest = l.strip_prefix(family);
        rest.is_some_and(|r| r.starts_with('{')) && l.contains(label)
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// What one look at the metrics found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turns {
    /// Since the start.
    count: f64,
    long: f64,
    waited_s: f64,
    /// The longest since the look before.
    longest_s: f64,
    /// Its longest step, as a place in [`Step::ALL`].
    step: Option<usize>,
    did: [f64; DID.len()],
}

impl Turns {
    /// Asks the admin listener at `port`; the longest turn is from then on a new one.
    pub(crate) fn look(port: u16) -> Outcome<Self> {
        Self::read(&page(port)?).ok_or_else(|| "the metrics of Klamm have no turns".to_owned())
    }

    fn read(page: &str) -> Option<Self> {
        let value = |family: &str, label: &str| value(page, family, label);
        let count = value("klamm_turn_cpu_seconds_count", "")?;
        let short = value("klamm_turn_cpu_seconds_bucket", &format!("le=\"{LONG_S}\""))?;
        Some(Self {
            count,
            long: count - short,
            waited_s: value("klamm_run_queue_delay_seconds_total", "")?,
            longest_s: value("klamm_longest_turn_seconds", "")?,
            step: Step::ALL.iter().position(|step| {
                let label = format!("step=\"{}\"", step.name());
                value("klamm_longest_turn_seconds", &label).is_some()
            }),
            did: DID.map(|(label, _)| {
                value("klamm_longest_turn", &format!("did=\"{label}\"")).unwrap_or(0.0)
            }),
        })
    }

    /// Values of the time since an `earlier` look.
    pub(crate) fn since(&self, earlier: &Self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("turns", self.count - earlier.count),
            ("long_turns", self.long - earlier.long),
            ("run_queue_delay_ms", (self.waited_s - earlier.waited_s) * 1e3),
            ("longest_turn_us", self.longest_s * 1e6),
        ];
        let did = DID.iter().zip(self.did).map(|((_, name), n)| (*name, n));
        let step = self.step.map(|step| (STEP, step as f64));
        all.into_iter().chain(step).chain(did.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_read_with_what_it_did_and_the_others_are_counted() {
        let page = |count: u32, below: u32| {
            format!(
                "# TYPE klamm_turn_cpu_seconds histogram\n\
                 klamm_turn_cpu_seconds_bucket{{node=\"0\",le=\"0.000065536\"}} 1\n\
                 klamm_turn_cpu_seconds_bucket{{node=\"0\",le=\"0.000131072\"}} {below}\n\
                 klamm_turn_cpu_seconds_sum{{node=\"0\"}} 0.5\n\
                 klamm_turn_cpu_seconds_count{{node=\"0\"}} {count}\n\
                 klamm_run_queue_delay_seconds_total{{node=\"0\"}} 0.{count}\n\
                 klamm_longest_turn_seconds{{node=\"0\",step=\"commit\",request=\"\"}} 0.0025\n\
                 klamm_longest_turn{{node=\"0\",did=\"events\"}} 3\n\
                 klamm_longest_turn{{node=\"0\",did=\"request_bytes\"}} 4096\n"
            )
        };
        let (from, to) = (Turns::read(&page(10, 9)).unwrap(), Turns::read(&page(50, 45)).unwrap());
        let whole = to.since(&from).map(|(name, v)| (name, v.round() as u64));
        let values: std::collections::BTreeMap<_, _> = whole.collect();
        assert_eq!((values["turns"], values["long_turns"]), (40, 4));
        assert_eq!((values["longest_turn_us"], values["longest_turn_events"]), (2500, 3));
        assert_eq!(values["longest_turn_request_bytes"], 4096);
        assert_eq!(Step::ALL[values[STEP] as usize], Step::Commit);
        assert_eq!(values["run_queue_delay_ms"], 400);
        assert_eq!(Turns::read("HTTP/1.1 404 Not Found"), None);
    }
}
