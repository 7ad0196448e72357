//! Entry point: which of the programs in this binary is asked for, by its own name or by a sub-command.

#[path = "../tools/mod.rs"]
mod tools;

use std::fmt::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (program, rest) = args.split_first().map_or(("klamm", &[][..]), |(p, r)| (p.as_str(), r));
    if let Some(tool) = tools::named(program) {
        return (tool.run)(rest);
    }
    match rest.split_first() {
        Some((name, rest)) if name == "server" => klamm::server::command::main(rest),
        Some((name, rest)) => match tools::named(name) {
            Some(tool) => (tool.run)(rest),
            None => general(name),
        },
        None => general("--help"),
    }
}

/// What is not a program of the binary: help, the version, a mistake.
fn general(word: &str) -> ExitCode {
    if word == "--version" || word == "version" {
        println!("klamm {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let is_help = ["--help", "-h", "help"].contains(&word);
    let mut help = String::from("A Kafka-compatible message broker, and its tools.\n\n");
    help += "Usage: klamm <COMMAND> [OPTIONS]\n\nCommands:\n  server            Run a broker\n";
    for tool in tools::TOOLS {
        let _ = writeln!(help, "  {:<17} {}", tool.name, tool.about);
    }
    help += "\n`klamm COMMAND --help` says more. A link named kafka-topics.sh acts as that tool.\n";
    if is_help {
        print!("{help}");
        return ExitCode::SUCCESS;
    }
    eprint!("klamm has no command '{word}'\n\n{help}");
    ExitCode::FAILURE
}
