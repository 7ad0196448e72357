//! `klamm console-producer` (kafka-console-producer.sh): lines of standard input become records.
//!
//! One loop: read lines while the producer has room, let it send, wait for answers, input or a signal.
//! At the end of the input everything is flushed; a record that could not be delivered is told on
//! standard error and makes the exit code 1.

mod line_reader;
mod options;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::process::ExitCode;

use klamm::base::Moment;
use klamm::client::blocking::{Clock, Net};
use klamm::client::producer::{Delivery, NewRecord, Producer, PushRefused};
use klamm::client::{ClientError, Cluster};

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::kafka_text;
use crate::tools::session::connection_options;
use crate::tools::signals::Signals;
use line_reader::LineReader;
use options::{Config, Options};

/// One line of help.
pub(crate) const ABOUT: &str = "Send lines of standard input to a topic";

const READ_BYTES: usize = 64 << 10;
/// A line without an end is not read further than this.
const LINE_BYTES_MAX: usize = 256 << 20;
const BACKOFF: std::time::Duration = std::time::Duration::from_millis(100);

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let options = match cli::parse::<Options>("console-producer", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let result = options.config().and_then(|config| Console::new(config)?.run(options.sync));
    let text = match result {
        Ok(code) => return code,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("console-producer", &what),
        Err(ToolError::Failed(what)) => what,
        Err(ToolError::Client(e)) => kafka_text::message(&e),
    };
    eprintln!("{text}");
    ExitCode::FAILURE
}

#[derive(Debug, Clone, Copy)]
enum Asker {
    Cluster,
    Producer,
}

struct Console {
    topic: String,
    net: Net<Asker>,
    cluster: Cluster,
    producer: Producer,
    reader: LineReader,
    input: Input,
    /// The topic must be known by then.
    known_by: Moment,
    has_lost: bool,
    /// Why reading stopped before the end of the input.
    failed: Option<ToolError>,
}

impl Console {
    fn new(config: Config) -> Outcome<Self> {
        let options = connection_options(&config.properties, "console-producer");
        let net = Net::new(config.bootstrap, options);
        let mut cluster = Cluster::new(true, config.metadata_age, BACKOFF);
        cluster.want(&config.topic);
        let input = Input::new().map_err(|e| ToolError::Failed(format!("standard input: {e}")))?;
        Ok(Self {
            known_by: net.clock().now() + config.max_block,
            topic: config.topic,
            net,
            cluster,
            producer: Producer::new(config.producer),
            reader: LineReader::new(&config.reader)?,
            input,
            has_lost: false,
            failed: None,
        })
    }

    fn run(mut self, sync: bool) -> Outcome<ExitCode> {
        let mut signals =
            Signals::catch().map_err(|e| ToolError::Failed(format!("signals: {e}")))?;
        let mut killed = None;
        loop {
            let now = self.net.clock().now();
            let has_room = self.take_lines(sync, now)?;
            let is_over = self.input.is_over() || killed.is_some() || self.failed.is_some();
            if is_over || sync {
                self.producer.flush();
            }
            self.send(now);
            if is_over && self.producer.is_idle() {
                break;
            }
            let mut watch = signals.watch().to_vec();
            if has_room && !is_over {
                watch.push(self.input.fd());
            }
            let until = self.producer.deadline(now).min(self.cluster.deadline()).min(
                if self.cluster.topic(&self.topic).is_some() {
                    Moment::NEVER
                } else {
                    self.known_by
                },
            );
            let woken = self.net.wait(until, &watch);
            for done in woken.done {
                self.on_answer(done.tag, done.id, done.result)?;
            }
            killed = killed.or_else(|| signals.came());
            if woken.readable.contains(&self.input.fd()) {
                self.input.fill().map_err(|e| ToolError::Failed(format!("standard input: {e}")))?;
            }
        }
        match (self.failed, killed) {
            (Some(failed), _) => Err(failed),
            (None, Some(code)) => Ok(code),
            (None, None) if self.has_lost => Ok(ExitCode::FAILURE),
            (None, None) => Ok(ExitCode::SUCCESS),
        }
    }

    /// Pushes lines that are there; `false` when there is no room for more.
    fn take_lines(&mut self, sync: bool, now: Moment) -> Outcome<bool> {
        while self.failed.is_none() {
            if sync && !self.producer.is_idle() {
                return Ok(false);
            }
            let Some(line) = self.input.line() else { return Ok(true) };
            // A line waits in the input until it is taken: it is read again when there is no room.
            if self.cluster.topic(&self.topic).is_none() {
                return if now < self.known_by { Ok(false) } else { Err(self.unknown_topic()) };
            }
            let read = match self.reader.read(line) {
                Ok(read) => read,
                Err(e) => {
                    self.failed = Some(e);
                    return Ok(false);
                }
            };
            let record = NewRecord {
                topic: &self.topic,
                partition: None,
                timestamp: Clock::wall().0,
                key: read.key,
                value: read.value,
                headers: &read.headers,
            };
            match self.producer.push(&self.cluster, &record, now) {
                Ok(_) => {}
                Err(PushRefused::BufferFull { .. } | PushRefused::TopicUnknown(_)) => {
                    self.reader.unread();
                    return Ok(false);
                }
                Err(e) => {
                    eprintln!("Error when sending message to topic {}: {e}", self.topic);
                    self.has_lost = true;
                }
            }
            self.input.take_line();
        }
        Ok(false)
    }

    fn unknown_topic(&self) -> ToolError {
        let topic = &self.topic;
        ToolError::Failed(match self.cluster.topics().get(topic.as_str()) {
            Some(known) => format!("topic {topic}: {}", kafka_text::of_code(known.error, None)),
            None => format!("Topic {topic} not present in metadata in time (--max-block-ms)"),
        })
    }

    fn send(&mut self, now: Moment) {
        let (mut out, mut done) = (Vec::new(), Vec::new());
        self.cluster.poll(now, &mut out);
        for outgoing in out.drain(..) {
            self.net.submit(0, Asker::Cluster, outgoing);
        }
        self.producer.poll(&mut self.cluster, now, &mut out, &mut done);
        for outgoing in out {
            self.net.submit(0, Asker::Producer, outgoing);
        }
        self.report(done);
    }

    fn on_answer(
        &mut self,
        asker: Asker,
        id: u64,
        result: Result<klamm::client::Answer, ClientError>,
    ) -> Outcome<()> {
        let now = self.net.clock().now();
        match asker {
            Asker::Cluster => {
                if let Err(e) = self.cluster.on_answer(id, result, now) {
                    // Without a first answer there is nobody to wait for.
                    if !e.is_retriable() || self.cluster.brokers().is_empty() {
                        return Err(e.into());
                    }
                }
                for (&node, broker) in self.cluster.brokers() {
                    self.net.learn(node, &broker.endpoint);
                }
                let topic = self.cluster.topics().get(self.topic.as_str());
                if topic.is_some_and(|t| t.error.0 != 0 && !t.error.is_retriable()) {
                    return Err(self.unknown_topic());
                }
            }
            Asker::Producer => {
                let mut done = Vec::new();
                self.producer.on_answer(id, result, &mut self.cluster, now, &mut done)?;
                self.report(done);
            }
        }
        Ok(())
    }

    fn report(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            if let Err(e) = delivery.result {
                let (count, partition) = (delivery.count, delivery.partition);
                let why = kafka_text::message(&e);
                eprintln!("Error when sending {count} messages to {partition}: {why}");
                self.has_lost = true;
            }
        }
    }
}

/// Standard input, line by line.
struct Input {
    file: File,
    bytes: Vec<u8>,
    /// Bytes before this one are taken.
    at: usize,
    /// Bytes before this one, counted from `at`, hold no line's end.
    searched: usize,
    /// Bytes of the line that [`Self::line`] showed, its end included.
    shown: usize,
    is_at_end: bool,
    prompts: bool,
}

impl Input {
    fn new() -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let prompts = io::stdin().is_terminal() && io::stdout().is_terminal();
        let input = Self {
            file,
            bytes: Vec::new(),
            at: 0,
            searched: 0,
            shown: 0,
            is_at_end: false,
            prompts,
        };
        input.prompt();
        Ok(input)
    }

    fn prompt(&self) {
        if self.prompts {
            print!(">");
            // A prompt that cannot be shown is not needed.
            let _ = io::stdout().flush();
        }
    }

    fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn is_over(&self) -> bool {
        self.is_at_end && self.at == self.bytes.len()
    }

    /// Reads what is there.
    fn fill(&mut self) -> io::Result<()> {
        self.bytes.drain(..self.at);
        self.at = 0;
        if self.bytes.len() > LINE_BYTES_MAX {
            let text = format!("a line is over {LINE_BYTES_MAX} B");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let old = self.bytes.len();
        self.bytes.resize(old + READ_BYTES, 0);
        let read = self.file.read(&mut self.bytes[old..]);
        self.bytes.truncate(old + read.as_ref().map_or(0, |n| *n));
        match read {
            Ok(n) => self.is_at_end = n == 0,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// The next whole line without its end; the last one may lack an end.
    fn line(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest[self.searched..].iter().position(|&b| b == b'\n');
        let (line, shown) = match end.map(|end| self.searched + end) {
            Some(end) => (&rest[..end], end + 1),
            None if self.is_at_end && !rest.is_empty() => (rest, rest.len()),
            None => {
                self.searched = rest.len();
                return None;
            }
        };
        self.shown = shown;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The line is dealt with.
    fn take_line(&mut self) {
        self.at += self.shown;
        self.searched = 0;
        self.prompt();
    }
}
