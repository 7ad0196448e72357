//! `klamm-compare` as `make compare` runs it, but small: Klamm beside a second Klamm, without Java.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

const COMPARE: &str = env!("CARGO_BIN_EXE_klamm-compare");
const PATIENCE: Duration = Duration::from_mins(1);

/// An empty directory for one test, with a peer in it that is started by `start`.
fn place(name: &str, start: &[&str]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let peer = format!("name = \"Twin\"\nstart = {start:?}\nwarms_up = false\n[synced]\n");
    fs::write(dir.join("peer.toml"), peer).unwrap();
    dir
}

fn command(dir: &Path, arguments: &str) -> Command {
    let mut command = Command::new(COMPARE);
    command.args(["--no-kafka", "--seconds", "1", "--rounds", "1", "--rate", "50"]);
    command.arg("--out").arg(dir).arg("--peer").arg(dir.join("peer.toml"));
    command.args(arguments.split(' ')).stdin(Stdio::null()).env_remove("LD_LIBRARY_PATH");
    command
}

fn run(dir: &Path, arguments: &str) -> (Output, String) {
    let output = command(dir, arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

const TWIN: [&str; 6] = [
    super::KLAMM,
    "server",
    "--override",
    "listeners=PLAINTEXT://127.0.0.1:{port}",
    "--override",
    "log.dirs={dir}",
];

#[test]
fn klamm_beside_itself_is_compared_in_every_table() {
    let dir = place("twins", &TWIN);
    let (output, said) = run(&dir, "--workloads w1-2k,retention,w9");
    assert!(output.status.success(), "{said}");
    let json: Value = serde_json::from_slice(&fs::read(dir.join("report.json")).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let value = |workload: &str, broker: &str, durability: &str, name: &str| {
        let is_it = |r: &&Value| {
            r["workload"] == workload && r["broker"] == broker && r["durability"] == durability
        };
        let row = rows.iter().find(is_it).unwrap_or_else(|| panic!("{workload} {broker}: {said}"));
        row["values"][name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"))
    };
    for (broker, durability) in [("Klamm", "synced"), ("Klamm", "unsynced"), ("Twin", "synced")] {
        for name in
            ["achieved_rate", "cpu_us_per_record", "resident_mb", "ack_p50_ms", "e2e_p99_ms"]
        {
            assert!(value("w1-2k", broker, durability, name) > 0.0, "{name}");
        }
    }
    assert!(value("retention", "Klamm", "unsynced", "achieved_rate") > 0.0);
    assert!(value("w1-2k", "Klamm", "synced", "longest_turn_us") > 0.0);
    assert!(value("w1-2k", "Klamm", "synced", "turns") > 1.0);
    for broker in ["Klamm", "Twin"] {
        assert!(value("w9", broker, "synced", "start_ms") > 0.0);
        assert!(value("w9", broker, "synced", "restart_ms") > 0.0);
    }
    // Where strace is, the batches of the synced side each had a sync, and the others had none.
    if rows.iter().any(|r| r["workload"] == "syncs") {
        let syncs = |durability| value("syncs", "Klamm", durability, "syncs");
        let of = |name| value("syncs", "Klamm", "synced", name);
        // What it says of its commits is what was counted from outside, and holds all that was sent.
        assert!(of("committed_batches") >= of("batches"), "{said}");
        assert!(of("commits") >= of("batches") && of("commits") <= of("syncs"), "{said}");
        assert!(syncs("synced") >= value("syncs", "Klamm", "synced", "batches"), "{said}");
        assert!(syncs("unsynced") < value("syncs", "Klamm", "unsynced", "batches") / 2.0, "{said}");
    }
    let table = fs::read_to_string(dir.join("report.md")).unwrap();
    assert!(table.contains("\n- There was no floor to run: "), "{table}");
    assert_eq!(table, String::from_utf8_lossy(&output.stdout).trim_end().to_owned() + "\n");
    assert!(table.contains("| Twin | ") && table.contains("| w1-2k unsynced |"), "{table}");
    assert!(fs::read_to_string(dir.join("report.svg")).unwrap().contains("w1-2k"));
    assert!(!dir.join("data").exists(), "the data of the brokers is gone");
}

#[test]
fn what_cannot_be_compared_is_told_in_one_line() {
    let dir = place("wrong", &["false"]);
    let (output, said) = run(&dir, "--workloads w9 --no-syncs");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("Twin ended by itself (exit status: 1): it said nothing"), "{said}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("| Klamm |") && table.contains("## Failures"), "{table}");

    if cfg!(not(feature = "librdkafka")) {
        let (output, said) = run(&dir, "--workloads w8 --no-syncs --client librdkafka");
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("this build has no librdkafka"), "{said}");
    }
    let one_line = |peer: &str, arguments: &str, wants: &str| {
        fs::write(dir.join("peer.toml"), peer).unwrap();
        let (output, said) = run(&dir, arguments);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.starts_with("compare: ") && said.contains(wants), "{said}");
    };
    one_line("", "--workloads w99", "there is no workload 'w99'; there are w1-2k");
    one_line(
        "name = \"x\"\nstart = [\"x\"]\n",
        "--workloads w9",
        "neither [synced] nor [unsynced]",
    );
    one_line("name = 1", "--workloads w9", "peer.toml: TOML parse error");
    one_line("", "--klamm /dev/null", "/dev/null does not run");
}

#[test]
fn a_profile_is_a_flame_graph_and_a_few_lines_where_perf_may_record() {
    let dir = place("profile", &TWIN);
    let (output, said) = run(&dir, "--profile w1-2k --unsynced");
    // Not every machine has perf, or lets it look: what is missing is then said.
    if !output.status.success() {
        assert!(said.starts_with("compare: perf") && said.lines().count() == 1, "{said}");
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("klamm server, not synced: 1 KiB, 1 partition"), "{text}");
    assert!(text.contains("  node-0\n") && text.contains("  all threads\n"), "{text}");
    assert!(text.contains("hottest functions"), "{text}");
    let folded = fs::read_to_string(dir.join("w1-2k-unsynced.folded")).unwrap();
    assert!(folded.contains("klamm::server::turn::"), "stacks of the broker: {folded}");
    assert!(fs::read_to_string(dir.join("w1-2k-unsynced.svg")).unwrap().contains("node-0"));
    assert!(!dir.join("data").exists(), "the data of the broker is gone");
}

#[test]
fn what_cannot_be_profiled_is_told_in_one_line() {
    let dir = place("not-profiled", &TWIN);
    for (arguments, path, wants) in [
        ("--profile w99", None, "there is no workload 'w99'; there are w1-2k"),
        ("--profile w1-2k", Some("/nowhere"), "perf: No such file or directory"),
        ("--unsynced", None, "--profile <NAME>"),
    ] {
        let mut command = command(&dir, arguments);
        path.map(|path| command.env("PATH", path));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(wants), "{said}");
        assert!(path.is_none() || said.lines().count() == 1, "{said}");
    }
}

/// Processes of a comparison in `dir` that were started with the word `what`.
fn processes(dir: &Path, what: &str) -> usize {
    let dir = dir.to_string_lossy();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let arguments = entries.filter_map(|e| fs::read(e.path().join("cmdline")).ok());
    let words = arguments.map(|a| String::from_utf8_lossy(&a).replace('\0', " "));
    words.filter(|w| w.contains(&*dir) && w.contains(what)).count()
}

#[test]
fn a_comparison_that_is_interrupted_shows_what_is_done_and_names_what_is_missing() {
    let dir = place("interrupted", &TWIN);
    let mut command = command(&dir, "--workloads w9,w1-2k,w2 --no-syncs --seconds 600");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while processes(&dir, " load ") == 0 {
        assert!(began.elapsed() < PATIENCE, "no load came");
        sleep(Duration::from_millis(20));
    }
    // SAFETY: the child has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with("compare: interrupted\n"), "{said}");
    let table = fs::read_to_string(dir.join("report.md")).unwrap();
    assert!(table.contains("**The run was cut short.** Missing: w1-2k; w2."), "{table}");
    assert!(table.contains("| Twin | ") && table.contains("first acknowledged record"), "{table}");
    assert!(dir.join("report.json").exists() && dir.join("report.svg").exists());
    assert!(!dir.join("data").exists(), "the data of the brokers is gone");
}

#[test]
fn brokers_and_load_die_with_a_comparison_that_is_killed() {
    let dir = place("killed", &TWIN);
    let mut command = command(&dir, "--workloads w1-2k --no-syncs --seconds 600");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let wait_for = |what: &str, count: usize| {
        let began = Instant::now();
        while processes(&dir, what) != count {
            assert!(began.elapsed() < PATIENCE, "not {count} of {what}");
            sleep(Duration::from_millis(20));
        }
    };
    wait_for(" server ", 1);
    wait_for(" load ", 1);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("", 0);
}
