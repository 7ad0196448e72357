//! What a user writes down for a reset: topics with partitions, and CSV files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use klamm::base::Offset;
use klamm::client::PartitionName;

use crate::tools::cli::{Outcome, ToolError};

/// Offsets to set, by group.
pub(super) type Plan = BTreeMap<String, BTreeMap<PartitionName, Offset>>;

/// Reads `topic` or `topic:0,1,2`.
pub(super) fn topic_arg(text: &str) -> Outcome<(&str, Option<Vec<i32>>)> {
    let Some((topic, partitions)) = text.split_once(':') else { return Ok((text, None)) };
    if partitions.is_empty() || partitions.contains(':') {
        return Err(ToolError::Usage(format!(
            "Invalid topic arg '{text}', expected topic name and partitions"
        )));
    }
    let number = |id: &str| {
        let bad = |_| {
            ToolError::Usage(format!("Invalid partition '{id}' specified in topic arg '{text}''"))
        };
        id.parse().map_err(bad)
    };
    Ok((topic, Some(partitions.split(',').map(number).collect::<Outcome<_>>()?)))
}

/// Reads lines of `topic,partition,offset`, which are `only_group`'s, or `group,topic,partition,offset`.
pub(super) fn parse_csv(text: &str, only_group: Option<&str>) -> Outcome<Plan> {
    let mut plan = Plan::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let bad = || {
            ToolError::Failed(format!(
                "line {}: '{line}' is not [group,]topic,partition,offset",
                at + 1
            ))
        };
        let fields = fields(line).ok_or_else(bad)?;
        let (group, [topic, partition, offset]) = match (&fields[..], only_group) {
            ([a, b, c], Some(group)) => (group, [a, b, c]),
            ([group, a, b, c], _) => (group.as_str(), [a, b, c]),
            _ => return Err(bad()),
        };
        let partition = partition.trim().parse().map_err(|_| bad())?;
        let offset = offset.trim().parse().map_err(|_| bad())?;
        let name = PartitionName::new(topic, partition);
        plan.entry(group.to_owned()).or_default().insert(name, Offset(offset));
    }
    Ok(plan)
}

/// The fields of a line; `None` when a quote is not closed.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        let field = fields.last_mut()?;
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if is_quoted || field.is_empty() => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    (!is_quoted).then_some(fields)
}

/// Writes a plan, with the group in front unless there is only one.
pub(super) fn to_csv(plan: &Plan, with_group: bool) -> String {
    let quoted = |text: &str| {
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let mut out = String::new();
    for (group, offsets) in plan {
        for (name, offset) in offsets {
            if with_group {
                let _ = write!(out, "{},", quoted(group));
            }
            let _ = writeln!(out, "{},{},{offset}", quoted(&name.topic), name.partition);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_name_partitions() {
        assert_eq!(topic_arg("t").unwrap(), ("t", None));
        assert_eq!(topic_arg("t:0,2").unwrap(), ("t", Some(vec![0, 2])));
        for bad in ["t:", "t:x", "t:0:1", "t:0,"] {
            assert!(topic_arg(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plan_reads_back_from_its_csv() {
        let text = "\"p,3\",0,1\np3,1,2\n\n";
        let plan = parse_csv(text, Some("g")).unwrap();
        assert_eq!(to_csv(&plan, false), "\"p,3\",0,1\np3,1,2\n");
        let with_group = to_csv(&plan, true);
        assert_eq!(with_group, "g,\"p,3\",0,1\ng,p3,1,2\n");
        assert_eq!(parse_csv(&with_group, None).unwrap(), plan);
        assert_eq!(parse_csv(&with_group, Some("h")).unwrap(), plan);
    }

    #[test]
    fn a_line_that_is_no_plan_is_named() {
        for (text, group) in
            [("t,0,1", None), ("t,x,1", Some("g")), ("\"t,0,1", Some("g")), ("a", None)]
        {
            let Err(ToolError::Failed(what)) = parse_csv(text, group) else { panic!("{text}") };
            assert!(what.starts_with("line 1: "), "{what}");
        }
    }
}
