//! `klamm dump-log` (kafka-dump-log.sh): what lies in the files of a partition directory, line by line
//! as Kafka's tool prints them.
//!
//! `log` walks batches, also those of a snapshot of the metadata, `words` has words for the records of
//! Kafka's internal logs, which `schema` knows, `index` holds both indexes against their log, `state`
//! prints producer snapshots and aborted transactions. A file that cannot be read to its end is reported with the position of the damage, and the exit code is 1;
//! what is found to be wrong inside of readable files is listed at the end and is none of the tool's
//! own failures.

#[cfg(test)]
mod fuzz;
mod index;
mod log;
mod schema;
mod state;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use clap::builder::RangedI64ValueParser;

use crate::tools::cli::{self, Outcome, ToolError};
use schema::Table;
use words::Kind;

/// One line of help.
pub(crate) const ABOUT: &str =
    "Print what lies in .log, .index, .timeindex, .snapshot, .txnindex and .checkpoint";

/// As much as a log can have.
const MAX_BYTES: u32 = i32::MAX.cast_unsigned();

#[derive(Debug, Clone, Parser)]
#[allow(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct Options {
    /// REQUIRED: the files
    #[arg(long, value_name = "FILE,...")]
    files: Option<String>,
    /// Print each record with its key and value
    #[arg(long)]
    print_data_log: bool,
    /// Print each record in words, as those of __consumer_offsets
    #[arg(long)]
    offsets_decoder: bool,
    /// Print each record in words, as those of __transaction_state
    #[arg(long)]
    transaction_log_decoder: bool,
    /// Print each record in words, as those of __cluster_metadata
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Print each record in words, as those of __share_group_state
    #[arg(long)]
    share_group_state_decoder: bool,
    /// Print each record without its key and value
    #[arg(long)]
    deep_iteration: bool,
    /// Print nothing of a record but its key and value
    #[arg(long)]
    skip_record_metadata: bool,
    /// Indexes: make the check that a start of a broker makes, print nothing
    #[arg(long)]
    index_sanity_check: bool,
    /// Indexes: hold them against their log, print nothing
    #[arg(long)]
    verify_index_only: bool,
    /// Read no more than this of each log
    #[arg(long, value_name = "BYTES", default_value_t = MAX_BYTES, value_parser = up_to_a_log())]
    max_bytes: u32,
    /// Indexes: find no batch that is longer than this
    #[arg(long, value_name = "BYTES", default_value_t = MAX_BYTES, value_parser = up_to_a_log())]
    max_message_size: u32,
}

fn up_to_a_log() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(..=i64::from(MAX_BYTES))
}

impl Options {
    fn prints_data(&self) -> bool {
        self.print_data_log || self.words_for().is_some()
    }

    /// What the records are to be taken for.
    fn words_for(&self) -> Option<Kind> {
        let decoders = [
            (self.offsets_decoder, Kind::Offsets),
            (self.transaction_log_decoder, Kind::Transactions),
            (self.cluster_metadata_decoder, Kind::Metadata),
            (self.share_group_state_decoder, Kind::Shares),
        ];
        decoders.into_iter().find_map(|(is_set, kind)| is_set.then_some(kind))
    }
}

/// What the files say against each other, to be told at the end: file, then pairs of numbers.
#[derive(Debug, Default)]
struct Findings {
    index: Pairs,
    timestamps: Pairs,
    order: Pairs,
    not_found: Pairs,
    gaps: Pairs,
}

type Pairs = BTreeMap<PathBuf, Vec<(i64, i64)>>;

/// Runs the tool.
pub(crate) fn run(args: &[String]) -> ExitCode {
    cli::end_on_closed_pipe();
    let options = match cli::parse::<Options>("dump-log", ABOUT, args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match act(&options) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ToolError::Usage(what)) => return cli::usage::<Options>("dump-log", &what),
        Err(ToolError::Failed(what)) => eprintln!("{what}"),
        Err(ToolError::Client(e)) => eprintln!("{e}"),
    }
    ExitCode::FAILURE
}

fn act(options: &Options) -> Outcome<()> {
    let files = cli::required(options.files.as_deref(), "files")?;
    let mut findings = Findings::default();
    let table = Table::read().map_err(ToolError::Failed)?;
    for file in files.split(',') {
        println!("Dumping {file}");
        let file = Path::new(file);
        let dumped = match file.extension().and_then(|e| e.to_str()) {
            Some("log" | "checkpoint") => log::dump(file, options, &table, &mut findings),
            Some("index") => index::dump_offsets(file, options, &mut findings),
            Some("timeindex") => index::dump_times(file, options, &mut findings),
            Some("snapshot") => state::dump_producers(file),
            Some("txnindex") => state::dump_aborted(file),
            _ => {
                eprintln!("Ignoring unknown file {}", file.display());
                Ok(())
            }
        };
        dumped.map_err(|what| ToolError::Failed(format!("{}: {what}", file.display())))?;
    }
    findings.tell();
    Ok(())
}

impl Findings {
    fn tell(&self) {
        type Line = fn(i64, i64) -> String;
        let kinds: [(&Pairs, &str, Line); 5] = [
            (&self.index, "Mismatches in :", |a, b| {
                format!("  Index offset: {a}, log offset: {b}")
            }),
            (&self.timestamps, "Found timestamp mismatch in :", |a, b| {
                format!("  Index timestamp: {a}, log timestamp: {b}")
            }),
            (&self.order, "Found out of order timestamp in :", |a, b| {
                format!("  Index timestamp: {a}, Previously indexed timestamp: {b}")
            }),
            (&self.not_found, "The following indexed offsets are not found in :", |a, b| {
                format!("Indexed offset: {a}, found log offset: {b}")
            }),
            (&self.gaps, "Non-consecutive offsets in ", |a, b| format!("  {a} is followed by {b}")),
        ];
        for (pairs, title, line) in kinds {
            for (file, pairs) in pairs {
                eprintln!("{title}{}", file.display());
                for &(a, b) in pairs {
                    eprintln!("{}", line(a, b));
                }
            }
        }
    }
}

/// Notes a pair about a file, which goes by its full path in what is told at the end.
fn note(pairs: &mut Pairs, file: &Path, a: i64, b: i64) {
    pairs.entry(full(file)).or_default().push((a, b));
}

fn full(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// The first offset of a segment, which its files are named after.
fn base_offset(file: &Path) -> Result<i64, String> {
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| "the name does not begin with an offset".to_owned())
}
