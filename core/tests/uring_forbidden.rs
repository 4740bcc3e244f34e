//! A kernel that forbids io_uring, which is a setting of the whole host: in a test binary of its
//! own, because cargo runs test binaries one after another.

use std::fs;
use std::process::Command;

const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";

/// Puts the setting back however the test ends.
struct Restore(String);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, &self.0) {
            eprintln!("{SWITCH} could not be put back to {}: {error}", self.0);
        }
    }
}

#[test]
fn a_kernel_without_io_uring_is_named_with_its_sysctl() {
    if std::env::var_os("CI").is_none() {
        println!("skipped: it changes a setting of the whole host; set CI=true to run it");
        return;
    }
    let Ok(found) = fs::read_to_string(SWITCH) else {
        println!("skipped: this kernel has no {SWITCH}");
        return;
    };
    let restore = Restore(found.trim().to_owned());
    if fs::write(SWITCH, "2").is_err() {
        println!("skipped: {SWITCH} cannot be written by this user");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ninefold"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .output();
    drop(restore);
    let output = output.expect("a process");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("kernel.io_uring_disabled"), "{stderr}");
    assert!(output.stdout.is_empty(), "it must not say that it listens");
}
