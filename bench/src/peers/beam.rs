//! The BEAM, where `erl` is installed: a module of Erlang with the same cases.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workload::Case;

const MODULE: &str = include_str!("beam.erl");
/// The name of the runtime in metrics.
pub(crate) const NAME: &str = "beam";
/// How it is used.
pub(crate) const MODE: &str = "plain processes, one scheduler (+S 1)";

/// The compiled module.
#[derive(Debug)]
pub(crate) struct Beam {
    dir: PathBuf,
    /// The OTP release.
    pub(crate) version: String,
}

impl Beam {
    /// Compiles the module into a folder below `out`; `None` when there is no Erlang here.
    ///
    /// # Errors
    /// When there is one that does not compile the module.
    pub(crate) fn find(out: &Path) -> Result<Option<Self>, String> {
        let Some(version) = release() else {
            return Ok(None);
        };
        let dir = out.join(NAME);
        let source = dir.join("beam.erl");
        fs::create_dir_all(&dir)
            .and_then(|()| fs::write(&source, MODULE))
            .map_err(|e| format!("write {}: {e}", source.display()))?;
        let compiled = Command::new("erlc")
            .arg("-o")
            .args([&dir, &source])
            .output()
            .map_err(|e| format!("start erlc: {e}"))?;
        if !compiled.status.success() {
            return Err(format!(
                "erlc: {}",
                String::from_utf8_lossy(&compiled.stdout)
            ));
        }
        Ok(Some(Self { dir, version }))
    }

    /// The command that runs one round and prints its metrics as a JSON array.
    pub(crate) fn round(&self, case: Case, amount: u64) -> Option<Command> {
        let name = match case {
            Case::Tell => "tell",
            Case::Ask => "ask",
            Case::PingPong => "ping_pong",
            Case::Ring => "ring",
            Case::FanIn => "fan_in",
            Case::FanOut => "fan_out",
            Case::Spawn => "spawn",
            _ => return None,
        };
        let mut command = erl();
        // The default limit of processes is below a crowd.
        command.args(["+S", "1", "+P", "2000000", "-pa"]);
        command.arg(&self.dir);
        command.args(["-run", "beam", "main", name, &amount.to_string()]);
        Some(command)
    }
}

fn erl() -> Command {
    let mut command = Command::new("erl");
    command.args(["-noshell", "-noinput"]);
    command
}

/// The OTP release of `erl` in PATH.
fn release() -> Option<String> {
    let ask = "io:put_chars(erlang:system_info(otp_release)), halt().";
    let said = erl()
        .args(["-eval", ask])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let release = String::from_utf8(said.stdout).ok()?;
    (said.status.success() && !release.is_empty()).then_some(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs only where there is an Erlang; elsewhere it shows that its absence is no error.
    #[test]
    fn the_module_compiles_and_every_case_of_it_comes_to_its_result() {
        let dir = tempfile::tempdir().unwrap();
        let Some(beam) = Beam::find(dir.path()).unwrap() else {
            return;
        };
        let known = Case::ALL
            .into_iter()
            .filter_map(|case| beam.round(case, 1_000));
        let mut runs = 0;
        for mut command in known {
            let said = command.stdin(Stdio::null()).output().unwrap();
            let found: Vec<f64> = serde_json::from_slice(&said.stdout).unwrap();
            assert!(
                said.status.success() && found[0] > 0.0,
                "{command:?}: {found:?}"
            );
            runs += 1;
        }
        assert_eq!(runs, 7);
    }
}
