//! `prove` and `experiment`, run as their users run them, on copies of hosts only: the command that
//! "measures" reads the setting's file, so the effect of the setting is known.
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not get fails it"
)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ninefold_tuning::experiment::Deadline;
use ninefold_tuning::experiment::matrix::Matrix;
use ninefold_tuning::experiment::metric::Better;
use ninefold_tuning::experiment::prove::{ProveOptions, Switch, prove as prove_with};
use ninefold_tuning::journal::Store;
use ninefold_tuning::{CheckOptions, Choice, Root, plan};
use serde_json::Value;
use support::Host;

const SETTING: &str = "vm.swappiness";
const FILE: &str = "proc/sys/vm/swappiness";

/// A program that answers `on` where the setting is in force and `off` where it is not, with noise
/// of 1 % from a count of its runs.
fn load(host: &Host, on: &str, off: &str) -> String {
    let root = host.path().display();
    let script = format!(
        "cd {root}; echo >> runs; n=$(wc -l < runs); noise=$((n * 7 % 11)); \
         if grep -qx 1 {FILE}; then base={on}; else base={off}; fi; echo $((base * 10 + noise))"
    );
    host.write("/load", script);
    format!("sh {root}/load")
}

fn prove(host: &Host, command: &str, more: &[&str]) -> Command {
    let mut tune = Command::new(env!("CARGO_BIN_EXE_ninefold-tune"));
    tune.args(["prove", SETTING, "--root", host.path().to_str().unwrap()])
        .args(["--better", "lower", "--command", command, "--pairs", "8"])
        .args(["--json", host.path().join("evidence").to_str().unwrap()])
        .args(more);
    tune
}

fn proved(host: &Host, command: &str, exit: i32) -> (String, Output) {
    let output = prove(host, command, &["--yes"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{errors}");
    (errors, output)
}

fn held(host: &Host) -> Vec<u8> {
    fs::read(host.path().join(FILE)).unwrap()
}

fn evidence(host: &Host) -> Value {
    serde_json::from_slice(&fs::read(host.path().join("evidence")).unwrap()).unwrap()
}

#[test]
fn a_setting_that_helps_is_found_and_kept() {
    let host = Host::load("kvm-8c");
    let (_, output) = proved(&host, &load(&host, "80", "100"), 0);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("It helps: kept; `ninefold-tune revert"),
        "{shown}"
    );
    assert_eq!(held(&host), b"1", "in force");
    let evidence = evidence(&host);
    assert_eq!(evidence["schema"], "ninefold.tune.prove.v1");
    assert_eq!(evidence["decision"], "kept");
    assert_eq!(evidence["pairs"].as_array().unwrap().len(), 8);
    assert_eq!(evidence["warmup"].as_array().unwrap().len(), 1);
    assert_eq!(evidence["order"].as_array().unwrap().len(), 9);
    assert!(
        evidence["effect"]["change_percent"]["high"]
            .as_f64()
            .unwrap()
            < -2.0
    );
    assert!(evidence["facts"]["cpu"].is_object() && evidence["identity"].is_object());
    let journal = evidence["journal"].as_u64().unwrap().to_string();
    let root = host.path().to_str().unwrap();
    let reverted = Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
        .args(["revert", &journal, "--yes", "--root", root])
        .output();
    assert!(reverted.unwrap().status.success());
    assert_eq!(held(&host), b"60\n");
}

#[test]
fn a_placebo_and_a_harmful_setting_are_put_back() {
    for (on, exit, verdict) in [("100", 3, "same"), ("130", 4, "worse")] {
        let host = Host::load("kvm-8c");
        proved(&host, &load(&host, on, "100"), exit);
        assert_eq!(held(&host), b"60\n");
        let evidence = evidence(&host);
        assert_eq!(evidence["effect"]["verdict"], verdict, "{evidence}");
        assert_eq!(evidence["decision"], "reverted");
        assert!(evidence["journal"].is_null());
    }
}

#[test]
fn a_command_that_fails_or_talks_nonsense_leaves_no_setting_behind() {
    let host = Host::load("kvm-8c");
    let path = host.path().join(FILE);
    // Only with the setting in force, so that there is something to put back.
    let when_on = |then: &str| {
        host.write(
            "/load",
            format!("grep -qx 1 {} && {{ {then}; }}; echo 5", path.display()),
        );
        format!("sh {}/load", host.path().display())
    };
    for (then, wanted) in [
        ("echo out of order >&2; exit 7", "out of order"),
        ("echo fast; exit 0", "wanted one number above zero"),
        ("echo -3; exit 0", "wanted one number above zero"),
    ] {
        let (error, _) = proved(&host, &when_on(then), 1);
        assert!(
            error.contains(wanted) && error.contains("was reverted"),
            "{error}"
        );
        assert_eq!(held(&host), b"60\n", "{then}");
    }
    let (error, _) = proved(&host, "/no/such/program", 1);
    assert!(error.contains("give the path of a program"), "{error}");
    let wrong = prove(&host, "sh 'open", &["--yes"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn without_yes_nothing_is_written_and_what_is_right_already_is_not_proved() {
    let host = Host::load("kvm-8c");
    let before = support::files(host.path());
    let output = prove(&host, "echo 1", &[]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && shown.contains("--yes does it"),
        "{shown}"
    );
    assert_eq!(support::files(host.path()), before);
    host.write("/proc/sys/vm/swappiness", "1\n");
    let (error, _) = proved(&host, "echo 1", 2);
    assert!(error.contains("nothing to prove"), "{error}");
}

/// The command itself interrupts, in a run with the setting in force.
#[test]
fn an_interrupt_puts_the_setting_back() {
    let host = Host::load("kvm-8c");
    let path = host.path().join(FILE);
    let pid = host.path().join("pid");
    host.write(
        "/load",
        format!(
            "if grep -qx 1 {}; then kill -INT $(cat {}); sleep 600; fi; echo 5",
            path.display(),
            pid.display()
        ),
    );
    let command = format!("sh {}/load", host.path().display());
    let mut shell = Command::new("sh");
    // `exec` keeps the number that the shell writes down.
    shell
        .arg("-c")
        .arg(format!("echo $$ > {}; exec \"$0\" \"$@\"", pid.display()));
    let tune = prove(&host, &command, &["--yes"]);
    let tune = shell.arg(tune.get_program()).args(tune.get_args());
    let output = tune
        .process_group(0)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(held(&host), b"60\n");
}

#[test]
fn a_panic_puts_the_setting_back() {
    let host = Host::load("kvm-8c");
    let root = Root::at(host.path());
    let choice = Choice {
        only: vec![SETTING.to_owned()],
        skip: Vec::new(),
    };
    let plan = plan(&root, &host.facts(), &CheckOptions::default(), &choice);
    let store = Store::of(&root, None).unwrap();
    let options = ProveOptions {
        pairs: 6,
        warmup_pairs: 0,
        better: Better::Lower,
        least_percent: 2.0,
        seed: 1,
    };
    let until = Deadline::after(Duration::from_secs(3_600)).unwrap();
    let mut measure = || {
        assert_ne!(held(&host), b"1", "with the setting in force it breaks");
        Ok(1.0)
    };
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let mut switch = Switch::new(&root, &store, &plan);
        prove_with(&mut switch, &options, &until, &mut measure, &mut |_, _| {})
    }));
    assert!(broken.is_err());
    assert_eq!(held(&host), b"60\n");
}

const EXPERIMENT: &str = r#"
name = "planted"
command = "sh {dir}/run {speed} {colour}"
better = "lower"
repeats = 8
warmup = 1

[[factor]]
name = "speed"
levels = [
    { name = "slow", value = "100" },
    { name = "fast", value = "70" },
    { name = "huge", value = "1", cpus_min = 100000 },
]

[[factor]]
name = "colour"
levels = [{ name = "red", value = "0" }, { name = "blue", value = "0" }]

[[unavailable]]
name = "weather"
why = "nobody can set it"
"#;

fn experiment(host: &Host, more: &[&str]) -> Output {
    let dir = host.path().to_str().unwrap();
    // Noise of 1 % by the number of the run, and proof that the environment is set.
    let script = format!(
        "test \"$FACTOR_SPEED\" = $1 || exit 5; echo >> {dir}/runs; n=$(wc -l < {dir}/runs)\n\
         echo $(( ($1 + $2) * 10 + n * 7 % 11 ))"
    );
    host.write("/run", script);
    host.write("/planted.toml", EXPERIMENT.replace("{dir}", dir));
    Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
        .args(["experiment", &format!("{dir}/planted.toml"), "--out", dir])
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn an_experiment_finds_the_best_combination_and_names_what_it_did_not_run() {
    let host = Host::empty();
    let output = experiment(&host, &[]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}{errors}");
    assert!(shown.contains("Recommended: fast/"), "{shown}");
    assert!(
        shown.contains("Not run: speed = huge: wants 100000 CPUs"),
        "{shown}"
    );
    assert!(
        shown.contains("Not run: weather: not available: nobody can set it"),
        "{shown}"
    );
    assert!(errors.contains("run 36 of at most 36"), "{errors}");
    let read = |name: &str| fs::read_to_string(host.path().join(name)).unwrap();
    let found: Value = serde_json::from_str(&read("planted.json")).unwrap();
    assert_eq!(found["schema"], "ninefold.tune.experiment.v1");
    assert_eq!(found["cells"].as_array().unwrap().len(), 4);
    assert_eq!(
        found["cells"][1]["effect"]["verdict"], "same",
        "blue is no faster than red"
    );
    assert_eq!(found["order"].as_array().unwrap().len(), 9);
    assert!(read("planted.env").contains("NINEFOLD_SERVE_FLAGS=\"70 0\"\n"));
    assert!(read("planted.svg").contains("recommended"));
}

/// An HTTP server that says 200 to everybody, for as long as the test runs.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no runtime whose thread module it could use"
)]
fn always_ready() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let head = BufReader::new(&stream).lines().map(Result::unwrap);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        }
    });
    format!("{address}/ready")
}

#[test]
fn what_is_served_is_there_for_each_run_and_asked_to_end_after_it() {
    let host = Host::empty();
    let dir = host.path().to_str().unwrap();
    let experiment = |serve: &str, ready: &str| {
        let text = format!(
            "name = \"served\"\nbetter = \"lower\"\nrepeats = 6\nready = \"{ready}\"\n\
             serve = \"sh {dir}/{serve} {{f}}\"\ncommand = \"sh {dir}/load {{f}}\"\n\
             [[factor]]\nname = \"f\"\nlevels = [{{ name = \"a\", value = \"1\" }}, \
             {{ name = \"b\", value = \"2\" }}]\n"
        );
        host.write("/served.toml", text);
        Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
            .args(["experiment", &format!("{dir}/served.toml"), "--out", dir])
            .output()
            .unwrap()
    };
    // It tells whom it serves; the load waits for that, and finds its own factor there.
    let serve = "trap 'rm DIR/now; echo >> DIR/ended; exit' TERM\n\
                 echo $1 > DIR/now.fresh; mv DIR/now.fresh DIR/now; sleep 600 & wait";
    host.write("/serve", serve.replace("DIR", dir));
    let load = "until test -e DIR/now; do sleep 0.01; done\n\
                test \"$(cat DIR/now)\" = $1 && echo $1";
    host.write("/load", load.replace("DIR", dir));
    let output = experiment("serve", &always_ready());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let ended = fs::read_to_string(host.path().join("ended")).unwrap();
    assert_eq!(ended.lines().count(), 12, "one for each run");
    // It never says that it is ready: a port that was free a moment ago, and nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = free.local_addr().unwrap().to_string();
    host.write("/broken", format!("echo >> {dir}/starts; exit 3"));
    let output = experiment("broken", &free);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("found that it ended (exit status: 3)"),
        "{errors}"
    );
    let starts = fs::read_to_string(host.path().join("starts")).unwrap();
    assert_eq!(starts.lines().count(), 3, "started again, within a bound");
    // It ends in the middle of a run: the load lets it, and waits until it is dead (`Z`).
    let short = "echo $$ > DIR/pid; until test -e DIR/go; do sleep 0.01; done";
    host.write("/short", short.replace("DIR", dir));
    let load = "until test -s DIR/pid; do sleep 0.01; done; touch DIR/go\n\
                until grep -q ') Z' /proc/$(cat DIR/pid)/stat; do sleep 0.01; done; echo 7";
    host.write("/load", load.replace("DIR", dir));
    let output = experiment("short", &always_ready());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("found it ended (exit status: 0)"),
        "{errors}"
    );
}

#[test]
fn an_experiment_that_cannot_be_run_says_why() {
    let host = Host::empty();
    let dry = experiment(&host, &["--dry-run"]);
    assert!(String::from_utf8_lossy(&dry.stdout).contains("4 combinations"));
    assert!(!host.path().join("runs").exists(), "nothing was run");
    let two = r#"[{ name = "a", value = "" }, { name = "b", value = "" }]"#;
    let head = "name = \"x\"\nbetter = \"lower\"\n";
    let factor = format!("[[factor]]\nname = \"f\"\nlevels = {two}\n");
    for (text, wanted) in [
        (
            format!("{head}command = \"sh 'open\"\n{factor}"),
            "unbalanced quotes",
        ),
        (
            format!("{head}command = \"a\"\nrepeats = 1\n{factor}"),
            "wanted 6 to 200 rounds",
        ),
        (
            format!("{head}command = \"a\"\n{factor}{factor}"),
            "each name once",
        ),
        (
            format!("{head}command = \"a {{g}}\"\n{factor}"),
            "wanted the name of a factor",
        ),
        (
            format!("{head}command = \"a\"\nspeed = 1\n{factor}"),
            "unknown field",
        ),
        (
            format!("{head}{factor}").replace("\"x\"", "\"../x\""),
            "missing field `command`",
        ),
        (
            format!("{head}command = \"a\"\n{factor}").replace("\"x\"", "\"../x\""),
            "a name",
        ),
    ] {
        let error = Matrix::parse(&text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

/// The flags of the committed experiment, on each saved host: the same every time.
#[test]
fn the_same_host_and_policy_give_the_same_cpus() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/affinity.toml");
    let matrix = Matrix::parse(&fs::read_to_string(file).unwrap()).unwrap();
    for (name, explicit, avoid_smt) in [
        ("bare-64c", "1-63", Some("1-31")),
        ("kvm-8c", "1-7", Some("1-3")),
        ("small-vm-2c", "1", None),
    ] {
        let host = Host::load(name);
        let fit = || matrix.fit(&host.facts().cpu.topology).unwrap();
        let fitting = fit();
        assert_eq!(fitting, fit(), "{name}");
        let placement = |level: &str| {
            let cell = fitting.cells.iter().find(|of| of.levels[0] == level)?;
            Some(
                cell.values["placement"]
                    .trim_start_matches("--placement ")
                    .to_owned(),
            )
        };
        assert_eq!(placement("explicit").as_deref(), Some(explicit), "{name}");
        assert_eq!(placement("avoid_smt").as_deref(), avoid_smt, "{name}");
        let first = &fitting.cells[0];
        assert_eq!(first.levels, ["spread", "own", "default"], "{name}");
        let serve = first.words(matrix.serve.as_ref().unwrap()).unwrap();
        assert_eq!(
            serve[serve.len() - 2..],
            ["--placement", "spread"],
            "{name}"
        );
    }
}
