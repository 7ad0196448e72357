//! Every warning and error that the server logs, with what to do about it: `klamm server --errors`.
//! The last one, when it does not start or ends by itself, is one of [`End`].
//!
//! A test below compares this list with the code, so neither can have a line that the other lacks.

use std::fmt::Write as _;

/// One line of the log.
struct Event {
    level: &'static str,
    /// As it is logged, the fields left out.
    message: &'static str,
    remedy: &'static str,
}

const EVENTS: &[Event] = &[
    Event {
        level: "error",
        message: "storage failed",
        remedy: "The line itself says in `remedy` what to do. With the name of a partition's \
                 directory: that partition takes no more records, all others go on. With the journal: \
                 the server stops; free or replace the disk and start it again.",
    },
    Event {
        level: "error",
        message: "the metadata log cannot be read",
        remedy: "The server stops. The directory __cluster_metadata-0 of the first node is damaged at \
                 `offset`, missing, or of another cluster; `why` says which. Restore it from a backup: \
                 without it the server does not know its topics.",
    },
    Event {
        level: "error",
        message: "group records cannot be read",
        remedy: "Groups of this partition of __consumer_offsets are not available, all others are. \
                 Restore the partition's directory from a backup, or delete the topic \
                 __consumer_offsets to lose all committed offsets and go on.",
    },
    Event {
        level: "error",
        message: "the first metadata records cannot be written",
        remedy: "The server stops before it was ready. `error` says which file the disk refused: free \
                 space in log.dirs or correct its permissions, then start again.",
    },
    Event {
        level: "error",
        message: "a metadata change could not be written",
        remedy: "The client was told KAFKA_STORAGE_ERROR and nothing changed. If the journal failed, \
                 the line before says why, and the server stops; else ask again.",
    },
    Event {
        level: "error",
        message: "missing topics could not be created",
        remedy: "Clients ask again by themselves. If the journal failed, the line before says why.",
    },
    Event {
        level: "error",
        message: "a response does not fit",
        remedy: "A defect of this version: the connection of the client was closed. Please report the \
                 line; a request that asks for less at once works.",
    },
    Event {
        level: "warn",
        message: "a group record was skipped",
        remedy: "A record of __consumer_offsets has a form that this version does not know, as after a \
                 downgrade or for a kind of group that is not supported. Its group may have to start \
                 anew; others are not touched.",
    },
    Event {
        level: "warn",
        message: "left alone: no partition.metadata",
        remedy: "A directory in log.dirs looks like a partition but does not say which topic it is of, \
                 so it is neither served nor removed, and while it has segments no partition is made in \
                 its place. Move it away, or copy partition.metadata from where the directory came from.",
    },
    Event {
        level: "warn",
        message: "a damaged file is made anew from the records",
        remedy: "Nothing is lost: what `file` says follows from the partition's records, all of which were \
                 read for it. It was damaged at rest or by hand; see to the disk if it comes again.",
    },
    Event {
        level: "warn",
        message: "no room; it is tried again",
        remedy: "The file system of log.dirs is full: free space. Until then records go to the journal \
                 only; when that is full the server stops, and has all of them after a restart. Partitions \
                 whose batches were too large for the journal are named by lines of their own, and need a \
                 restart in any case.",
    },
    Event {
        level: "warn",
        message: "damage could not be noted",
        remedy: "The file `fenced` could not be written beside a damaged partition, as on a full disk. \
                 The partition is kept from use until the next start, which looks at it again.",
    },
    Event {
        level: "warn",
        message: "a log could not be written; the next start recovers it",
        remedy: "A clean stop could not write all of a partition's file; the journal still has it. \
                 Free space in log.dirs before the next start.",
    },
    Event {
        level: "warn",
        message: "no direct I/O on this file system",
        remedy: "Nothing is lost, but writes cost more. Put log.dirs on ext4 or XFS.",
    },
    Event {
        level: "warn",
        message: "connections cannot be accepted",
        remedy: "Most often the process has no file descriptor left: raise the hard limit of open files \
                 (`LimitNOFILE` in a unit of systemd, `ulimit -Hn` in a shell), or set max.connections \
                 below it. 64 are left to files. Clients come again by themselves.",
    },
    Event {
        level: "warn",
        message: "the port is taken; trying again for 5 s",
        remedy: "A server that was just killed lets go of its port within 2 s. If the server then does \
                 not start, another process has the port: `ss -ltnp` shows which.",
    },
];

macro_rules! ends {
    ($($(#[$doc:meta])* $end:ident = $message:literal, $remedy:literal;)*) => {
        /// Why the server did not start, or ended by itself.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum End { $($(#[$doc])* $end),* }

        impl End {
            const ALL: &[Self] = &[$(Self::$end),*];

            /// The message of its line.
            pub fn message(self) -> &'static str {
                match self { $(Self::$end => $message),* }
            }

            /// What to do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$end => $remedy),* }
            }
        }
    };
}

ends! {
    /// A property, or the file of them.
    Config = "the configuration is not valid",
        "`error` names the property or the file, and what it takes. `klamm server --help` lists every \
         property with its type, default and range.";
    /// A listener or the port of metrics and health.
    Port = "a port cannot be opened",
        "Another process has it (`ss -ltnp` shows which), the host is none of this machine, or a port \
         below 1024 needs a privilege. Stop that process, or correct listeners or admin.listener.";
    /// Another server runs on it.
    DirInUse = "the data directory is in use",
        "Stop the other server, or give this one log.dirs of its own. The lock goes with the process that \
         holds it: there is no file to remove.";
    /// The file system refused.
    Dir = "the data directory cannot be used",
        "`error` says what the file system refused, such as to make log.dirs or to write into it: correct \
         the path, its owner and permissions, or free space.";
    /// `meta.properties` cannot be read, or the directory of a node is missing.
    DirDamaged = "the data directory is damaged",
        "`error` says what is wrong with its meta.properties, or which node's directory is missing: restore \
         it, or give the server an empty log.dirs. Where meta.properties was changed on purpose, take its line \
         klamm.crc away.";
    /// It was made for another node, cluster or number of nodes.
    DirOfOther = "the data directory belongs to another server",
        "`error` says how it was made: start the server with that node.id and node.count, or give it \
         log.dirs of its own.";
    /// A node's logs or journal.
    Storage = "the storage of a node failed",
        "`error` names the file, of a damaged one the byte and what is wrong there, and ends with what to \
         do. Nothing that was acknowledged is lost while the files are there and whole.";
    /// All else.
    Node = "the server cannot go on",
        "If its journal or metadata log failed, the lines before say why: free or replace the disk and start \
         again. Else `error` says what the kernel refused (a thread, io_uring, memory): raise that limit. \
         After a panic, please report the lines before.";
}

/// The list as text.
pub fn text() -> String {
    let mut text = String::from("Warnings and errors in the log, and what to do about them.\n");
    for Event { level, message, remedy } in EVENTS {
        let _ = write!(text, "\n{level}: {message}\n    {remedy}\n");
    }
    text += "\nThe last line of a server that does not start, or ends by itself. As text it is `klamm \
             server:` and the reason; in JSON it has one of these messages, and the reason in `error`.\n";
    for end in End::ALL {
        let _ = write!(text, "\nerror: {}\n    {}\n", end.message(), end.remedy());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Level and message of each warning and error in the code below `dir`.
    fn logged(dir: &Path, found: &mut Vec<(&'static str, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                logged(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
                for (level, call) in
                    [("warn", concat!("warn", "!(")), ("error", concat!("error", "!("))]
                {
                    let calls = code.split(call).skip(1);
                    found.extend(calls.map(|rest| (level, message(rest, &path))));
                }
            }
        }
    }

    /// The last literal before the end of a call: the message of a log line.
    fn message(call: &str, path: &Path) -> String {
        let end = call.find(");").expect("a call ends");
        let literal = call[..end].rsplit('"').nth(1);
        let literal =
            literal.unwrap_or_else(|| panic!("{}: a line without a message", path.display()));
        literal.split_whitespace().filter(|word| *word != "\\").collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_catalogue_has_exactly_the_lines_that_the_code_can_log() {
        let mut found = Vec::new();
        logged(Path::new("src"), &mut found);
        assert!(found.len() >= EVENTS.len(), "{found:?}");
        // The one line whose message is that of an `End`.
        let is_last = |(level, message): &(&str, String)| *level == "error" && message == "{}";
        assert_eq!(found.extract_if(.., |line| is_last(line)).count(), 1);
        let is = |event: &Event, (level, message): &(&str, String)| {
            event.level == *level && message.starts_with(event.message)
        };
        for line in &found {
            assert!(EVENTS.iter().any(|e| is(e, line)), "not in the catalogue: {line:?}");
        }
        for event in EVENTS {
            assert!(found.iter().any(|l| is(event, l)), "nobody logs {:?}", event.message);
            assert!(event.remedy.ends_with('.'), "{:?} needs a remedy", event.message);
        }
        for end in End::ALL {
            assert!(end.remedy().ends_with('.'), "{end:?} needs a remedy");
        }
    }
}
