//! Entry point: which of the programs in this binary is asked for.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(2).collect();
    klamm::server::command::main(&args)
}
