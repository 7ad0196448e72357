//! x
pub(crate) const ABOUT: &str = "x";
pub(crate) fn run(_args: &[String]) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
