//! `klamm console-consumer` (kafka-console-consumer.sh): records become lines of standard output.
//!
//! One loop: ask, wait for answers or a signal, print what came. With `--group` it is a member of a
//! group, commits what it has printed, and leaves the group when it ends; without, it reads all
//! partitions by itself and no group is made.

pub(in crate::tools) mod consumer;
mod formatter;
pub(in crate::tools) mod options;

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use klamm::client::records::FetchedBatch;

use crate::tools::cli::{self, Outcome, ToolError};
use crate::tools::kafka_text;
use crate::tools::signals::Signals;
use consumer::Consumer;
use formatter::{Formatter, Printed};
use options::Options;

/// One line of help.
pub(crate) const ABOUT: &str = "Print the records of a topic";

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let options = match cli::parse::<Options>("console-consumer", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let text = match consume(&options) {
        Ok(code) => return code,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("console-consumer", &what),
        Err(ToolError::Failed(what)) => what,
        Err(ToolError::Client(e)) => kafka_text::message(&e),
    };
    eprintln!("{text}");
    ExitCode::FAILURE
}

fn consume(options: &Options) -> Outcome<ExitCode> {
    let config = options.config()?;
    let timeout = config.timeout;
    let mut printer = Printer {
        out: BufWriter::new(io::stdout()),
        count: 0,
        limit: u64::try_from(options.max_messages).unwrap_or(u64::MAX),
        skips_errors: options.skip_message_on_error,
    };
    let (mut consumer, formatter) = Consumer::new(config);
    let mut signals = Signals::catch().map_err(|e| ToolError::Failed(format!("signals: {e}")))?;
    let mut last_record_at = consumer.now();
    let result = loop {
        if printer.count >= printer.limit {
            break Ok(ExitCode::SUCCESS);
        }
        let idle_at = timeout.map(|timeout| last_record_at + timeout);
        if idle_at.is_some_and(|at| consumer.now() >= at) {
            eprintln!("No record came within the time-out, ending");
            break Ok(ExitCode::SUCCESS);
        }
        if let Some(code) = signals.came() {
            break Ok(code);
        }
        let batches = match consumer.poll(idle_at, &signals.watch()) {
            Ok(batches) => batches,
            Err(e) => break Err(e.into()),
        };
        // This tool does not tell of its group.
        drop(consumer.take_events());
        if !batches.is_empty() {
            match printer.print(&batches, &formatter, &mut consumer) {
                Ok(true) => {}
                Ok(false) => {
                    eprintln!("Unable to write to standard out, closing consumer.");
                    break Ok(ExitCode::SUCCESS);
                }
                Err(e) => break Err(e),
            }
            last_record_at = consumer.now();
        }
    };
    consumer.close();
    eprintln!("Processed a total of {} messages", printer.count);
    if options.enable_systest_events {
        println!("shutdown_complete");
    }
    result
}

struct Printer {
    out: BufWriter<io::Stdout>,
    count: u64,
    limit: u64,
    skips_errors: bool,
}

impl Printer {
    /// Prints records until the limit; `false` when nobody reads them any more.
    fn print(
        &mut self,
        batches: &[FetchedBatch],
        formatter: &Formatter,
        consumer: &mut Consumer,
    ) -> Outcome<bool> {
        for batch in batches {
            for record in batch.records() {
                if self.count >= self.limit {
                    return Ok(self.out.flush().is_ok());
                }
                let record = record.map_err(|e| {
                    let (partition, offset) = (&batch.partition, batch.header.base_offset);
                    ToolError::Failed(format!("{partition}, batch at offset {offset}: {e}"))
                })?;
                let headers: Vec<_> = record.record.headers().collect();
                let printed = Printed {
                    partition: batch.partition.partition,
                    offset: record.offset.0,
                    leader_epoch: batch.header.leader_epoch.0,
                    timestamp: record.timestamp,
                    is_append_time: batch.is_append_time(),
                    key: record.record.key,
                    value: record.record.value,
                    headers: &headers,
                };
                self.count += 1;
                match formatter.print(&printed, &mut self.out) {
                    Ok(()) => {}
                    Err(e) if e.kind() != io::ErrorKind::InvalidData => return Ok(false),
                    Err(e) => {
                        let at = format!("{} at offset {}", batch.partition, record.offset);
                        if !self.skips_errors {
                            return Err(ToolError::Failed(format!("{at}: {e}")));
                        }
                        eprintln!("Error processing message, skipping this message: {at}: {e}");
                    }
                }
                consumer.consumed(batch, record.offset);
            }
            consumer.consumed_batch(batch);
        }
        Ok(self.out.flush().is_ok())
    }
}
