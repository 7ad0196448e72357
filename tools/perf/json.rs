//! The lines of the verifiable tools: one JSON object each.

use klamm::runtime::clock;
use serde::Serialize;

use crate::tools::cli::{Outcome, ToolError};

#[derive(Serialize)]
struct Line<T> {
    timestamp: i64,
    name: &'static str,
    #[serde(flatten)]
    fields: T,
}

/// An event without fields.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// Prints a line.
pub(super) fn tell<T: Serialize>(name: &'static str, fields: T) -> Outcome<()> {
    let line = Line { timestamp: clock::now().1.0, name, fields };
    let text = serde_json::to_string(&line).map_err(|e| ToolError::Failed(e.to_string()))?;
    println!("{text}");
    Ok(())
}
