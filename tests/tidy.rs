//! House rules that neither rustc nor clippy checks. Fails with one line per offence.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

/// `src/` folders from the bottom up. A folder may `use` folders on lower floors, and itself.
/// THINK BEFORE YOU EDIT: a new floor is a design decision, not a fix for a red build.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["config", "metrics", "wire"],
    &["client", "partition", "purgatory", "quorum", "runtime", "security"],
    &["image", "storage"],
    &["controller", "coordinator", "replica"],
    &["shard"],
    &["api"],
    &["admin", "net"],
    &["server"],
    &["sim"],
];
const FILE_LINES_MAX: usize = 600;

#[test]
fn tidy() {
    let mut offences = Vec::new();
    let written_by_tools = |p: &PathBuf| p.to_string_lossy().ends_with("_generated.rs");
    for path in rust_files(Path::new("src")).into_iter().filter(|p| !written_by_tools(p)) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
        let mut report = |what: String| offences.push(format!("{}: {what}", path.display()));

        if !text.starts_with("//! ") {
            report("first line is not a `//!` sentence".into());
        }
        let lines = code.lines().count();
        if lines > FILE_LINES_MAX {
            report(format!("{lines} lines of code, over {FILE_LINES_MAX}: split by noun"));
        }
        if !text.is_ascii() {
            report("not ASCII".into());
        }
        let Some(here) = floor_of(&folder(&path)) else { continue };
        for word in code.split("crate::").skip(1) {
            let target = word.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            if target != folder(&path) && floor_of(target).is_some_and(|there| there >= here) {
                report(format!("may not use crate::{target}: same or higher floor"));
            }
        }
        for driver in ["glommio::", "io_uring::"] {
            if folder(&path) != "runtime" && code.contains(driver) {
                report(format!("only src/runtime may name {driver}"));
            }
        }
    }
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

fn floor_of(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&folder))
}

/// `src/storage/segment.rs` -> `storage`.
fn folder(path: &Path) -> String {
    let second = path.components().nth(1).unwrap();
    second.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
