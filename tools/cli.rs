//! Arguments as Kafka's tools take them, on clap: any value may begin with a hyphen, long options may
//! be cut short as long as they stay distinct, and every mistake exits with 1.

use std::process::ExitCode;

use clap::{ArgAction, CommandFactory, FromArgMatches};

use klamm::client::ClientError;

/// Why a tool ends early.
#[derive(Debug)]
pub(crate) enum ToolError {
    /// The arguments do not go together; the text is Kafka's where it has one.
    Usage(String),
    /// Something else, in words.
    Failed(String),
    /// A broker refused or could not be asked.
    Client(ClientError),
}

impl From<ClientError> for ToolError {
    fn from(e: ClientError) -> Self {
        Self::Client(e)
    }
}

/// A tool's result.
pub(crate) type Outcome<T> = Result<T, ToolError>;

/// Reads the arguments of the tool `name`; help, version and mistakes are printed and end it.
pub(crate) fn parse<O: CommandFactory + FromArgMatches>(
    name: &'static str,
    about: &'static str,
    args: &[String],
) -> Result<O, ExitCode> {
    if args.is_empty() {
        eprintln!("{}", command::<O>(name, about).render_help());
        return Err(ExitCode::FAILURE);
    }
    read(name, about, args.iter().map(String::as_str)).map_err(|e| tell(&e))
}

/// As [`parse`], but a mistake is one line.
pub(crate) fn parse_terse<O: CommandFactory + FromArgMatches>(
    name: &'static str,
    about: &'static str,
    args: &[String],
) -> Result<O, ExitCode> {
    read(name, about, args.iter().map(String::as_str))
        .map_err(|e| if e.use_stderr() { mistake(name, &one_line(&e)) } else { tell(&e) })
}

/// Prints a mistake in the arguments in one line.
pub(crate) fn mistake(name: &str, what: &str) -> ExitCode {
    eprintln!("klamm {name}: {what}; see --help");
    ExitCode::FAILURE
}

/// What is wrong, and the tip that there may be, without how the tool is used.
fn one_line(e: &clap::Error) -> String {
    let text = e.to_string();
    let is_end = |line: &&str| line.starts_with("Usage: ") || line.starts_with("For more ");
    let lines = text.lines().map(str::trim).take_while(|line| !is_end(line));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").replace(" tip: ", "; ")
}

fn tell(e: &clap::Error) -> ExitCode {
    // Nothing is left to be told when the error itself cannot be printed.
    let _ = e.print();
    if e.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Reads the arguments, and prints nothing.
pub(crate) fn read<'a, O: CommandFactory + FromArgMatches>(
    name: &'static str,
    about: &'static str,
    args: impl Iterator<Item = &'a str>,
) -> Result<O, clap::Error> {
    let words = std::iter::once(name).chain(args);
    command::<O>(name, about).try_get_matches_from(words).and_then(|m| O::from_arg_matches(&m))
}

fn command<O: CommandFactory>(name: &'static str, about: &'static str) -> clap::Command {
    O::command()
        .name(name)
        .bin_name(format!("klamm {name}"))
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .infer_long_args(true)
        .disable_help_subcommand(true)
        .term_width(100)
        .mut_args(|arg| {
            let optional = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
            match arg.get_action() {
                ArgAction::Set | ArgAction::Append if !optional => arg.allow_hyphen_values(true),
                _ => arg,
            }
        })
}

/// Prints a mistake in the arguments: what is wrong, then how the tool is used.
pub(crate) fn usage<O: CommandFactory>(name: &'static str, what: &str) -> ExitCode {
    let mut command = command::<O>(name, "");
    eprintln!("{what}\n\n{}\n\nFor more information, try '--help'.", command.render_usage());
    ExitCode::FAILURE
}

/// An option that must be there, by Kafka's words.
pub(crate) fn required<T>(value: Option<T>, name: &str) -> Outcome<T> {
    value.ok_or_else(|| ToolError::Usage(format!("Missing required argument \"[{name}]\"")))
}

/// Refuses both of two options and none of them, by Kafka's words.
pub(crate) fn one_of([(one, has_one), (other, has_other)]: [(&str, bool); 2]) -> Outcome<()> {
    if has_one != has_other {
        return Ok(());
    }
    Err(ToolError::Usage(format!(
        "Exactly one of the following arguments is required: [{one}], [{other}]"
    )))
}

/// Refuses the first pair of options that do not go together, by Kafka's words.
pub(crate) fn exclude(used: (&str, bool), others: &[(&str, bool)]) -> Outcome<()> {
    match others.iter().find(|(_, is_there)| used.1 && *is_there) {
        None => Ok(()),
        Some((other, _)) => {
            let used = used.0;
            let text = format!("Option \"[{used}]\" can't be used with option \"[{other}]\"");
            Err(ToolError::Usage(text))
        }
    }
}

/// Lets a closed pipe end the process, as every filter does; Rust would panic on the next line.
pub(crate) fn end_on_closed_pipe() {
    // SAFETY: the default action is no handler, and no thread runs yet that could be surprised.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
