//! `plan`, `apply`, `revert` and `noise`, run as their users run them, on copies of hosts only.
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not get fails it"
)]

mod support;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::{Host, files};

/// Every command that could write is given a root: the host that runs the tests is not touched.
fn on(host: &Host, args: &[&str]) -> Output {
    let root = host.path().to_str().unwrap();
    Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
        .args(args)
        .args(["--root", root])
        .output()
        .unwrap()
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn told(host: &Host, args: &[&str], exit: i32) -> String {
    let output = on(host, args);
    let shown = text(&output).to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{args:?}: {shown}{errors}"
    );
    shown
}

fn refused(host: &Host, args: &[&str], exit: i32) -> String {
    let output = on(host, args);
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{args:?}: {}",
        text(&output)
    );
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_host_is_made_fit_and_put_back() {
    let host = Host::load("kvm-8c");
    let before = files(host.path());
    let dry = told(&host, &["apply"], 4);
    assert!(dry.contains("14 files to write for production"), "{dry}");
    assert!(
        dry.contains("Nothing was written: --yes writes it"),
        "{dry}"
    );
    assert_eq!(files(host.path()), before, "not even a state directory");
    assert!(told(&host, &["revert"], 0).contains("no apply is in force"));
    let done = told(&host, &["apply", "--yes"], 4);
    let line = "/proc/sys/vm/swappiness = 1 (was 60)";
    assert!(done.contains(line), "{done}");
    assert!(done.contains("14 files written and verified; `ninefold-tune revert 1 --yes`"));
    assert!(told(&host, &["apply", "--yes"], 4).contains("Nothing to write"));
    let would = told(&host, &["revert"], 0);
    assert!(
        would.contains("Would be: 14 restored. Nothing was written"),
        "{would}"
    );
    assert!(told(&host, &["revert", "--yes"], 0).contains("Reverted: 14 restored."));
    assert!(told(&host, &["revert", "--yes"], 0).contains("no apply is in force"));
    let swappiness = fs::read(host.path().join("proc/sys/vm/swappiness")).unwrap();
    assert_eq!(swappiness, b"60\n");
}

#[test]
fn exit_codes_say_what_is_left() {
    let host = Host::load("bare-64c");
    told(&host, &["plan", "--profile", "observe"], 0);
    told(&host, &["plan"], 3);
    told(
        &host,
        &["apply", "--yes", "--only", "sched.numa_balancing"],
        0,
    );
    told(&host, &["plan", "--only", "isol.nohz_full"], 5);
    told(&host, &["plan", "--connections", "2000000"], 4);
    told(&Host::load("container"), &["apply", "--yes"], 4);
}

#[test]
fn failures_say_what_was_wanted_found_and_is_to_be_done() {
    let host = Host::load("kvm-8c");
    host.write(
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "[always] never\n",
    );
    let error = refused(&host, &["apply", "--yes"], 6);
    assert!(
        error.contains("mem.thp: wanted \"madvise\"") && error.contains("--skip mem.thp"),
        "{error}"
    );
    told(&host, &["apply", "--yes", "--skip", "mem.thp"], 4);
    told(&host, &["revert", "--yes"], 0);
    let rest = ["apply", "--yes", "--only", "vm.swappiness"];
    told(&host, &rest, 0);
    host.write("/proc/sys/vm/swappiness", "30\n");
    let error = refused(&host, &["revert", "--yes"], 1);
    assert!(
        error.contains("holds \"30\"") && error.contains("--force"),
        "{error}"
    );
    assert!(told(&host, &["revert", "--yes", "--force"], 0).contains("1 forced"));
    let error = refused(&host, &["revert", "9", "--yes"], 2);
    assert!(error.contains("wanted journal 9, found 1, 2, 3"), "{error}");
    let error = refused(
        &host,
        &["apply", "--yes", "--state-dir", "/proc/nowhere"],
        1,
    );
    assert!(error.contains("--state-dir"), "{error}");
}

#[test]
fn without_root_it_is_said_what_it_takes() {
    const NOBODY: u32 = 65_534;
    let host = Host::load("kvm-8c");
    let before = files(host.path());
    let state = host.path().join("state");
    fs::create_dir(&state).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(host.path(), 0o755);
    mode(&state, 0o777);
    for path in before.iter().filter(|path| path.starts_with("/proc/sys")) {
        mode(&host.path().join(&path[1..]), 0o444);
    }
    // Root may write whatever the mode says, so it becomes nobody, who may not see our own path.
    let binary = host.path().join("ninefold-tune");
    fs::copy(env!("CARGO_BIN_EXE_ninefold-tune"), &binary).unwrap();
    for (state, wanted) in [
        (Some(&state), "it takes root, and CAP_NET_ADMIN"),
        (None, "wanted to keep a journal"),
    ] {
        let mut command = Command::new(&binary);
        command.args(["apply", "--yes", "--root"]).arg(host.path());
        command.args(
            state
                .iter()
                .flat_map(|dir| ["--state-dir".as_ref(), dir.as_os_str()]),
        );
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        } else if state.is_none() {
            // The tree is ours, and so is a folder in it.
            continue;
        }
        let output = match command.output() {
            Ok(output) => output,
            // A file system of this machine that runs no programs.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            Err(error) => panic!("{error}"),
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{errors}{}", text(&output));
        assert!(errors.contains(wanted), "{errors}");
    }
}

#[test]
fn json_tells_the_same() {
    let host = Host::load("kvm-8c");
    let json =
        |args: &[&str], exit| serde_json::from_str::<Value>(&told(&host, args, exit)).unwrap();
    let plan = json(&["plan", "--format", "json"], 4);
    assert_eq!(plan["schema"], "ninefold.tune.plan.v1");
    assert_eq!(plan["exit"], 4);
    assert_eq!(json(&["plan", "--json", "-"], 4), plan);
    let dry = json(&["apply", "--json", "-"], 4);
    assert_eq!((&dry["plan"], &dry["applied"]), (&plan, &Value::Null));
    let done = json(&["apply", "--yes", "--json", "-"], 4);
    assert_eq!(done["schema"], "ninefold.tune.apply.v1");
    assert_eq!(done["applied"]["written"].as_array().unwrap().len(), 14);
    let undone = json(&["revert", "--yes", "--json", "-"], 0);
    assert_eq!(undone["schema"], "ninefold.tune.revert.v1");
    assert_eq!(undone["files"][0]["outcome"], "restored");
}

#[test]
fn a_plan_becomes_files_for_other_tools() {
    let host = Host::load("kvm-8c");
    let formed = |format, exit| told(&host, &["plan", "--format", format], exit);
    let sysctl = formed("sysctl", 4);
    assert!(sysctl.contains("\nvm.swappiness = 1\n"), "{sysctl}");
    assert!(sysctl.contains("# mem.thp is no sysctl; for /etc/tmpfiles.d: w /sys/kernel/mm/"));
    let systemd = formed("systemd", 4);
    for line in ["[Service]", "CPUQuota=", "OOMScoreAdjust=-900"] {
        assert!(
            systemd.lines().any(|found| found == line),
            "{line}: {systemd}"
        );
    }
    let experiments = [
        "plan",
        "--format",
        "cmdline",
        "--only",
        "isol.nohz_full",
        "--only",
        "isol.rcu_nocbs",
    ];
    let cmdline = told(&Host::load("bare-64c"), &experiments, 5);
    assert_eq!(cmdline, "nohz_full=1-15,17-63 rcu_nocbs=1-15,17-63\n");
}

#[test]
fn the_script_does_what_apply_does() {
    let host = Host::load("bare-64c");
    host.write("/proc/sys/vm/stat_interval", "1\n");
    // What a file says must not end a remark and begin a command.
    host.write(
        "/sys/devices/system/cpu/cpufreq/policy7/scaling_governor",
        "x\ntouch bad\n",
    );
    let script = told(&host, &["plan", "--format", "script"], 4);
    let root = host.path().to_str().unwrap();
    let here = script.replace("> '/", &format!("> '{root}/"));
    assert_eq!(here.matches(root).count(), 3, "{here}");
    let run = Command::new("sh")
        .args(["-c", &here])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    assert!(!host.path().join("bad").exists());
    assert!(told(&host, &["plan"], 3).contains("No file to write for production"));
}

#[test]
fn noise_names_the_cpus_that_are_fit() {
    let cpu = ninefold_tuning::facts::Topology::host()
        .allowed
        .iter()
        .next()
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
        .args([
            "noise",
            "--seconds",
            "1",
            "--json",
            "-",
            "--cpus",
            &cpu.to_string(),
        ])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "ninefold.tune.noise.v1");
    let one = &document["cpus"][0];
    assert_eq!(one["cpu"], cpu);
    assert!(one["seconds"].as_f64().unwrap() >= 1.0);
    let unfit = one["verdict"] == "unfit";
    assert_eq!(output.status.code(), Some(if unfit { 3 } else { 0 }));
    assert!(unfit || one["reasons"].as_array().is_some());
    assert!(String::from_utf8_lossy(&output.stderr).contains("probing CPUs"));
}

#[test]
fn each_command_teaches_by_examples() {
    for command in ["plan", "apply", "revert", "noise"] {
        let output = Command::new(env!("CARGO_BIN_EXE_ninefold-tune"))
            .args([command, "--help"])
            .output()
            .unwrap();
        let shown = text(&output);
        assert!(
            shown.contains("Examples:") && shown.contains("Exit codes:"),
            "{shown}"
        );
    }
}
