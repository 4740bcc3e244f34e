//! Hosts to test on: one text file each, laid out as a tree of `proc` and `sys` in a folder.
//!
//! In a host file, `== PATH` begins a file, `== PATH -> TARGET` is a symbolic link, `# ` at the
//! head is a remark. What repeats for every CPU is generated: `@cpus NODES CORES THREADS` (cores
//! per node, one package a node, threads numbered as Linux does: first threads first) and
//! `@governor NAME`.
#![expect(
    clippy::unwrap_used,
    reason = "a fixture that cannot be laid out is a failed test"
)]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ninefold_tuning::{Facts, Root};
use tempfile::TempDir;

pub(crate) const HOSTS: [&str; 4] = ["bare-64c", "kvm-8c", "container", "small-vm-2c"];

pub(crate) struct Host {
    dir: TempDir,
}

impl Host {
    pub(crate) fn empty() -> Self {
        let host = Self {
            // In memory where there is such a folder: journals are flushed thousands of times.
            dir: TempDir::new_in("/dev/shm")
                .or_else(|_| TempDir::new())
                .unwrap(),
        };
        fs::create_dir(host.path().join("proc")).unwrap();
        host
    }

    pub(crate) fn load(name: &str) -> Self {
        let host = Self::empty();
        // The tests of the node lay out these hosts too, and their manifest is another.
        let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tuning/tests/hosts");
        let file = hosts.join(format!("{name}.host"));
        let text = fs::read_to_string(file).unwrap();
        let mut parts = text.split("== ");
        let head = parts.next().unwrap();
        let directive = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let shape = directive("@cpus ").unwrap();
        let shape: Vec<u32> = shape
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        host.cpus(shape[0], shape[1], shape[2]);
        if let Some(governor) = directive("@governor ") {
            host.governor(governor, shape.iter().product());
        }
        for part in parts {
            let (path, content) = part.split_once('\n').unwrap();
            match path.split_once(" -> ") {
                None => host.write(path, content),
                Some((path, target)) => symlink(target, host.place(path)).unwrap(),
            }
        }
        host
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts::read(&Root::at(self.path()))
    }

    /// Writes a file, with its folders.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.place(path), content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.place(path);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    /// Puts a pipe in place of a file: nobody writes to it, and nobody reads from it.
    pub(crate) fn pipe(&self, path: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        self.remove(path);
        mknodat(
            CWD,
            self.place(path),
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
    }

    fn place(&self, path: &str) -> PathBuf {
        let path = self.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn cpus(&self, nodes: u32, cores: u32, threads: u32) {
        let firsts = nodes * cores;
        self.write(
            "/sys/devices/system/cpu/online",
            format!("0-{}\n", firsts * threads - 1),
        );
        let list = |cpus: Vec<u32>| {
            cpus.iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        for cpu in 0..firsts * threads {
            let first = cpu % firsts;
            let write = |file: &str, content: String| {
                self.write(
                    &format!("/sys/devices/system/cpu/cpu{cpu}/topology/{file}"),
                    content,
                );
            };
            write("physical_package_id", format!("{}\n", first / cores));
            write("core_id", format!("{}\n", first % cores));
            write(
                "core_cpus_list",
                list((0..threads).map(|rank| first + rank * firsts).collect()),
            );
        }
        for node in 0..nodes {
            let cpus = (0..firsts * threads)
                .filter(|cpu| cpu % firsts / cores == node)
                .collect();
            self.write(
                &format!("/sys/devices/system/node/node{node}/cpulist"),
                list(cpus),
            );
        }
    }

    pub(crate) fn governor(&self, governor: &str, cpu_count: u32) {
        for cpu in 0..cpu_count {
            let policy = format!("/sys/devices/system/cpu/cpufreq/policy{cpu}");
            self.write(
                &format!("{policy}/scaling_governor"),
                format!("{governor}\n"),
            );
            self.write(&format!("{policy}/affected_cpus"), format!("{cpu}\n"));
        }
    }
}

/// Every file below `dir`, as paths that begin at it.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => {
                    let below = entry.path().strip_prefix(dir).unwrap().to_owned();
                    found.push(format!("/{}", below.to_str().unwrap()));
                }
                _ => {}
            }
        }
    }
    found.sort_unstable();
    found
}
