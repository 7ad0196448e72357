//! Plays a scenario on a broker and writes what it answered into the same text.
//!
//! ```text
//! # a comment
//! A > join v9 group=g ...   sends on the connection A, which is made when it is first used
//! A < ...                   what is answered; a long answer goes on in lines that begin with two blanks
//! A <600..2500 ...          the same, and it must come in that many milliseconds after its request
//! A - 300                   nothing comes within 300 ms
//! A x                       closes the connection
//! wait 300
//! restart                   stops the broker as an operator does and starts it again on its data
//! kill                      the same with kill -9
//! ```
//!
//! A line that does not hold stays in the text with what happened instead, so it is a difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::Wire;
use crate::normal::Names;
use crate::requests::{self, Answer};

/// How long an answer may take that says nothing of time.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a broker is stopped before it is started again.
pub enum Stop {
    /// SIGTERM.
    Clean,
    /// SIGKILL.
    Kill,
}

struct Connection {
    wire: Wire,
    waiting: Option<(Instant, Answer)>,
}

/// The text with the answers of the broker on `port`.
pub fn play(text: &str, port: u16, mut restart: impl FnMut(Stop)) -> String {
    requests::wait_for_coordinators(port);
    let mut connections = BTreeMap::<String, Connection>::new();
    let mut names = Names::default();
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let _ = match words[..] {
            [] | ["#", ..] => writeln!(out, "{line}"),
            ["wait", ms] => {
                sleep(Duration::from_millis(ms.parse().unwrap()));
                writeln!(out, "{line}")
            }
            [how @ ("restart" | "kill")] => {
                connections.clear();
                restart(if how == "kill" { Stop::Kill } else { Stop::Clean });
                requests::wait_for_groups(port, text);
                writeln!(out, "{line}")
            }
            [name, "x"] => {
                connections.remove(name);
                writeln!(out, "{line}")
            }
            [name, ">", ..] => {
                let request = line.split_once('>').unwrap().1;
                let connection = connections.entry(name.to_owned()).or_insert_with(|| Connection {
                    wire: Wire::connect(("127.0.0.1", port)),
                    waiting: None,
                });
                let answer = requests::send(&mut connection.wire, &names.known(request));
                connection.waiting = answer.map(|answer| (Instant::now(), answer));
                writeln!(out, "{line}")
            }
            [name, "-", ms] => {
                let ms: u64 = ms.parse().unwrap();
                let wire = &connections[name].wire;
                if comes_within(wire, Duration::from_millis(ms)) {
                    writeln!(out, "{name} an answer came within {ms} ms")
                } else {
                    writeln!(out, "{line}")
                }
            }
            [name, arrow, ..] if arrow.starts_with('<') => {
                let connection = connections.get_mut(name).expect(name);
                let answer = answer(connection, &arrow[1..], &mut names);
                if answer.starts_with("nothing") {
                    // What comes later must not be taken for the next answer.
                    connections.remove(name);
                }
                writeln!(out, "{name} {arrow} {answer}")
            }
            _ => panic!("not a step: {line}"),
        };
    }
    out
}

/// The answer that a connection waits for.
fn answer(connection: &mut Connection, within: &str, names: &mut Names) -> String {
    let (sent, decode) = connection.waiting.take().expect("a request that waits for an answer");
    connection.wire.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = match connection.wire.frame() {
        Ok(Some(frame)) => names.normal(&decode(frame)),
        Ok(None) => "closed".to_owned(),
        Err(e) => format!("nothing: {e}"),
    };
    let took = sent.elapsed().as_millis();
    let Some((from, to)) = within.split_once("..") else { return text };
    if (from.parse().unwrap()..=to.parse().unwrap()).contains(&took) {
        return text;
    }
    format!("after {took} ms: {text}")
}

fn comes_within(wire: &Wire, limit: Duration) -> bool {
    wire.socket.set_read_timeout(Some(limit)).unwrap();
    match wire.socket.peek(&mut [0]) {
        Ok(_) => true,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => false,
        Err(e) => panic!("{e}"),
    }
}
