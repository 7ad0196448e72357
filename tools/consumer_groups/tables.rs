//! The tables of the tool, as text: rows in, lines out.

use std::fmt::Write as _;

use klamm::base::Offset;
use klamm::client::PartitionName;

use crate::tools::consumer_groups::group::{Group, Listed, Member};

const MISSING: &str = "-";

/// One row of `--describe --offsets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OffsetRow<'a> {
    pub(super) partition: PartitionName,
    pub(super) leader_epoch: Option<i32>,
    pub(super) committed: Option<Offset>,
    pub(super) end: Option<Offset>,
    pub(super) member: Option<&'a Member>,
}

/// `--list`: names, and what else is asked for.
pub(super) fn listed(groups: &[Listed], with_type: bool, with_state: bool) -> String {
    let mut out = String::new();
    if !with_type && !with_state {
        for group in groups {
            let _ = writeln!(out, "{}", group.id);
        }
        return out;
    }
    let width = 10 + widest(groups.iter().map(|g| g.id.as_str()), 15);
    let header = Listed { id: "GROUP".into(), kind: "TYPE".into(), state: "STATE".into() };
    for group in std::iter::once(&header).chain(groups) {
        let _ = write!(out, "{:<width$}", group.id);
        for (_, word) in
            [(with_type, &group.kind), (with_state, &group.state)].iter().filter(|(with, _)| *with)
        {
            let _ = write!(out, " {word:<20}");
        }
        out.push('\n');
    }
    out
}

/// `--describe --offsets` of one group; nothing when it has no rows.
pub(super) fn offsets(group: &str, rows: &[OffsetRow<'_>], verbose: bool) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let header = [
        "GROUP",
        "TOPIC",
        "PARTITION",
        "LEADER-EPOCH",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ];
    let mut table = vec![header.map(str::to_owned)];
    for row in rows {
        let or_missing = |n: Option<i64>| n.map_or(MISSING.to_owned(), |n| n.to_string());
        let (committed, end) = (row.committed.map(|o| o.0), row.end.map(|o| o.0));
        let lag = committed.zip(end).map(|(committed, end)| end - committed);
        let of_member = |part: fn(&Member) -> &str| row.member.map_or(MISSING, part).to_owned();
        table.push([
            group.to_owned(),
            row.partition.topic.to_string(),
            row.partition.partition.to_string(),
            or_missing(row.leader_epoch.map(i64::from)),
            or_missing(committed),
            or_missing(end),
            or_missing(lag),
            of_member(|m| &m.consumer_id),
            of_member(|m| &m.host),
            of_member(|m| &m.client_id),
        ]);
    }
    let mut widths = [15, 15, 10, 15, 15, 15, 15, 15, 15, 0];
    for column in [0, 1, 7, 8] {
        widths[column] = widest(table.iter().skip(1).map(|row| row[column].as_str()), 15);
    }
    let mut out = String::new();
    for row in table {
        let shown = row.iter().zip(widths).enumerate().filter(|(at, _)| verbose || *at != 3);
        let cells: Vec<_> = shown.map(|(_, (cell, width))| format!("{cell:<width$}")).collect();
        let _ = write!(out, "\n{}", cells.join(" "));
    }
    out.push('\n');
    out
}

/// `--describe --members` of one group.
pub(super) fn members(group: &Group, verbose: bool) -> String {
    let all = &group.members;
    let has_instance = all.iter().any(|m| !m.instance_id.is_empty());
    let is_mixed = all.iter().any(|m| m.is_upgraded == Some(true))
        && all.iter().any(|m| m.is_upgraded == Some(false));
    let mut table = vec![
        [
            "GROUP",
            "CONSUMER-ID",
            "GROUP-INSTANCE-ID",
            "HOST",
            "CLIENT-ID",
            "#PARTITIONS",
            "CURRENT-EPOCH",
            "CURRENT-ASSIGNMENT",
            "TARGET-EPOCH",
            "TARGET-ASSIGNMENT",
            "UPGRADED",
        ]
        .map(str::to_owned),
    ];
    let number = |n: Option<i32>| n.map_or(MISSING.to_owned(), |n| n.to_string());
    for m in all {
        table.push([
            group.id.clone(),
            m.consumer_id.clone(),
            m.instance_id.clone(),
            m.host.clone(),
            m.client_id.clone(),
            m.assigned.len().to_string(),
            number(m.epoch),
            assignment(&m.assigned),
            number(group.epochs.map(|(_, target)| target)),
            assignment(&m.target),
            m.is_upgraded.map_or(MISSING.to_owned(), |u| u.to_string()),
        ]);
    }
    let mut widths = [15, 15, 17, 15, 15, 15, 15, 20, 15, 20, 0];
    for column in [0, 1, 2, 3, 4, 7, 9] {
        let cells = table.iter().skip(1).map(|row| row[column].as_str());
        widths[column] = widest(cells, widths[column]);
    }
    let mut out = String::from("\n");
    for row in table {
        let is_shown = |at: usize| match at {
            2 => has_instance,
            0..=5 => true,
            10 => verbose && is_mixed,
            _ => verbose,
        };
        for (at, (cell, width)) in
            row.iter().zip(widths).enumerate().filter(|(at, _)| is_shown(*at))
        {
            // Kafka's format ends the first six columns with a blank, and parts the others by one.
            let _ = write!(out, "{}{cell:<width$}", if at > 6 { " " } else { "" });
            out.push_str(if at < 6 { " " } else { "" });
        }
        out.push('\n');
    }
    out
}

/// `t:0,1;u:2`, or `-` for nothing.
fn assignment(partitions: &[PartitionName]) -> String {
    let mut out = String::new();
    let mut topic = None;
    for p in partitions {
        let between = match topic {
            Some(known) if known == &p.topic => ",".to_owned(),
            Some(_) => format!(";{}:", p.topic),
            None => format!("{}:", p.topic),
        };
        let _ = write!(out, "{between}{}", p.partition);
        topic = Some(&p.topic);
    }
    if out.is_empty() { MISSING.to_owned() } else { out }
}

/// `--describe --state` of one group.
pub(super) fn state(group: &Group, verbose: bool) -> String {
    let (node, endpoint) = &group.coordinator;
    let coordinator = format!("{}:{}  ({node})", endpoint.host, endpoint.port);
    let assignor = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let number = |n: Option<i32>| n.map_or(MISSING.to_owned(), |n| n.to_string());
    let header = [
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ]
    .map(str::to_owned);
    let row = [
        group.id.clone(),
        coordinator.clone(),
        assignor.to_owned(),
        group.state.clone(),
        number(group.epochs.map(|(epoch, _)| epoch)),
        number(group.epochs.map(|(_, target)| target)),
        group.members.len().to_string(),
    ];
    let widths =
        [widest([group.id.as_str()], 15), widest([coordinator.as_str()], 25), 20, 20, 15, 25, 0];
    let mut out = String::new();
    for row in [header, row] {
        let shown =
            row.iter().zip(widths).enumerate().filter(|(at, _)| verbose || ![4, 5].contains(at));
        let cells: Vec<_> = shown.map(|(_, (cell, width))| format!("{cell:<width$}")).collect();
        let _ = write!(out, "\n{}", cells.join(" "));
    }
    out.push('\n');
    out
}

/// What `--reset-offsets` sets: (group, partition, offset), under a header even when there is none.
pub(super) fn reset(rows: &[(&str, &PartitionName, Offset)]) -> String {
    let group_width = widest(rows.iter().map(|r| r.0), 15);
    let topic_width = widest(rows.iter().map(|r| &*r.1.topic), 15);
    let mut out = String::new();
    let mut line = |group: &str, topic: &str, partition: &str, offset: &str| {
        let _ =
            write!(out, "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {offset}");
    };
    line("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    for (group, name, offset) in rows {
        line(group, &name.topic, &name.partition.to_string(), &offset.to_string());
    }
    out.push('\n');
    out
}

/// What became of each partition of `--delete-offsets`; partition -1 is a topic as a whole.
pub(super) fn deleted(rows: &[(PartitionName, Option<String>)]) -> String {
    let topic_width = widest(rows.iter().map(|r| &*r.0.topic), 15);
    let mut out = String::new();
    let _ = write!(out, "\n{:<topic_width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS");
    for (name, error) in rows {
        let partition =
            if name.partition < 0 { MISSING.into() } else { name.partition.to_string() };
        let status = error.as_ref().map_or("Successful".to_owned(), |e| format!("Error: {e}"));
        let _ = write!(out, "\n{:<topic_width$} {partition:<10} {status:<15}", name.topic);
    }
    out.push('\n');
    out
}

fn widest<'a>(cells: impl IntoIterator<Item = &'a str>, at_least: usize) -> usize {
    cells.into_iter().map(|cell| cell.chars().count()).fold(at_least, usize::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use klamm::base::NodeId;
    use klamm::client::Endpoint;

    fn group() -> Group {
        let member = |id: &str, partitions: &[i32]| Member {
            consumer_id: format!("console-consumer-74462f47-03ba-4690-8646-{id}"),
            client_id: "console-consumer".to_owned(),
            host: "/127.0.0.1".to_owned(),
            assigned: partitions.iter().map(|&p| PartitionName::new("p3", p)).collect(),
            ..Member::default()
        };
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: 39292 };
        Group {
            id: "g2".to_owned(),
            state: "Stable".to_owned(),
            coordinator: (NodeId(1), endpoint),
            assignor: "range".to_owned(),
            members: vec![member("906ad7c52e3b", &[0, 1]), member("906ad7c52e3c", &[])],
            epochs: None,
        }
    }

    #[test]
    fn a_list_is_names_or_a_table() {
        let listed_as = |id: &str, state: &str| Listed {
            id: id.to_owned(),
            kind: "Classic".to_owned(),
            state: state.to_owned(),
        };
        let groups = [listed_as("console-consumer-60949", "Empty"), listed_as("g1", "Stable")];
        expect![[r"
            console-consumer-60949
            g1
        "]]
        .assert_eq(&listed(&groups, false, false));
        expect![[r"
            GROUP                            TYPE                 STATE               |
            console-consumer-60949           Classic              Empty               |
            g1                               Classic              Stable              |
        "]]
        .assert_eq(&listed(&groups, true, true).replace('\n', "|\n"));
        assert_eq!(listed(&[], false, true), format!("{:<25} {:<20}\n", "GROUP", "STATE"));
    }

    #[test]
    fn offsets_are_a_table_with_dashes_for_what_is_not_known() {
        let group = group();
        let row = |partition, committed, end, member| OffsetRow {
            partition: PartitionName::new("p3", partition),
            leader_epoch: Some(0),
            committed,
            end,
            member,
        };
        let rows = [
            row(0, Some(Offset(1)), Some(Offset(5)), group.members.first()),
            row(1, None, Some(Offset(5)), None),
            row(2, Some(Offset(1)), None, None),
        ];
        expect![[r"

            GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID                                           HOST            CLIENT-ID
            g2              p3              0          1               5               4               console-consumer-74462f47-03ba-4690-8646-906ad7c52e3b /127.0.0.1      console-consumer
            g2              p3              1          -               5               -               -                                                     -               -
            g2              p3              2          1               -               -               -                                                     -               -
        "]]
        .assert_eq(&offsets("g2", &rows, false));
        expect![[r"

            GROUP           TOPIC           PARTITION  LEADER-EPOCH    CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID
            g2              p3              1          0               -               5               -               -               -               -
        "]]
        .assert_eq(&offsets("g2", &rows[1..2], true));
        assert_eq!(offsets("g2", &[], false), "");
    }

    #[test]
    fn members_are_a_table() {
        expect![[r"
            |
            GROUP           CONSUMER-ID                                           HOST            CLIENT-ID        #PARTITIONS     |
            g2              console-consumer-74462f47-03ba-4690-8646-906ad7c52e3b /127.0.0.1      console-consumer 2               |
            g2              console-consumer-74462f47-03ba-4690-8646-906ad7c52e3c /127.0.0.1      console-consumer 0               |
        "]]
        .assert_eq(&members(&group(), false).replace('\n', "|\n"));
        expect![[r"
            |
            GROUP           CONSUMER-ID                                           HOST            CLIENT-ID        #PARTITIONS     CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT   |
            g2              console-consumer-74462f47-03ba-4690-8646-906ad7c52e3b /127.0.0.1      console-consumer 2               -               p3:0,1               -               -                   |
            g2              console-consumer-74462f47-03ba-4690-8646-906ad7c52e3c /127.0.0.1      console-consumer 0               -               -                    -               -                   |
        "]]
        .assert_eq(&members(&group(), true).replace('\n', "|\n"));
    }

    #[test]
    fn the_state_is_a_table_of_one_row() {
        expect![[r"

            GROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS
            g2              127.0.0.1:39292  (1)      range                Stable               2
        "]]
        .assert_eq(&state(&group(), false));
        expect![[r"

            GROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                GROUP-EPOCH     TARGET-ASSIGNMENT-EPOCH   #MEMBERS
            g2              127.0.0.1:39292  (1)      range                Stable               -               -                         2
        "]]
        .assert_eq(&state(&group(), true));
    }

    #[test]
    fn what_was_reset_or_deleted_is_a_table() {
        let (a, b) = (PartitionName::new("p3", 0), PartitionName::new("zzz", -1));
        expect![[r"

            GROUP           TOPIC           PARTITION  NEW-OFFSET
            g1              p3              0          7
        "]]
        .assert_eq(&reset(&[("g1", &a, Offset(7))]));
        expect![[r"
            |
            TOPIC           PARTITION  STATUS         |
            p3              0          Successful     |
            zzz             -          Error: no      |
        "]]
        .assert_eq(&deleted(&[(a, None), (b, Some("no".to_owned()))]).replace('\n', "|\n"));
    }
}
