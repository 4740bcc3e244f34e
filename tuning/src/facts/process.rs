//! What a process costs: memory, CPU time, descriptors, context switches, by process and by thread.
//!
//! Every function answers `None` for a process that is gone or that we may not look into.

use std::process;

use serde::{Deserialize, Serialize};

use super::field;
use super::root::Root;

/// CPU time used so far; its source counts in ticks of 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// Time in user mode, in microseconds.
    pub user_us: u64,
    /// Time in the kernel on behalf of the process, in microseconds.
    pub system_us: u64,
}

impl CpuTime {
    /// User and kernel time together, in microseconds.
    pub fn total_us(self) -> u64 {
        self.user_us.saturating_add(self.system_us)
    }

    /// The time used since `earlier`; zero where a counter went back.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
        }
    }
}

/// How often the scheduler took a CPU away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSwitches {
    /// The thread waited for something.
    pub voluntary: u64,
    /// The thread was preempted.
    pub involuntary: u64,
}

/// A thread of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The kernel's number of the thread.
    pub tid: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
}

/// Resident memory of this process, in bytes.
pub fn self_rss_bytes() -> Option<u64> {
    rss_bytes(process::id())
}

/// Resident memory of `pid`, in bytes (`statm`).
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let page_bytes = u64::try_from(rustix::param::page_size()).ok()?;
    resident_pages(&read(pid, "statm")?)?.checked_mul(page_bytes)
}

/// Memory of this process that the kernel keeps from being paged out, in bytes (`VmLck`).
pub fn self_locked_bytes() -> Option<u64> {
    locked_bytes(&read(process::id(), "status")?)
}

/// CPU time of `pid` over all its threads, those that ended included.
pub fn cpu_time_us(pid: u32) -> Option<CpuTime> {
    cpu_time(&read(pid, "stat")?, rustix::param::clock_ticks_per_second())
}

/// Time that the living threads of `pid` have run so far, in nanoseconds (`schedstat`): what
/// [`cpu_time_us`] counts in ticks.
pub fn run_ns(pid: u32) -> Option<u64> {
    tids(pid)
        .filter_map(|tid| {
            let text = read(pid, &format!("task/{tid}/schedstat"))?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .reduce(u64::saturating_add)
}

/// CPU time of one thread of `pid`.
pub fn thread_cpu_time_us(pid: u32, tid: u32) -> Option<CpuTime> {
    let stat = read(pid, &format!("task/{tid}/stat"))?;
    cpu_time(&stat, rustix::param::clock_ticks_per_second())
}

/// The living threads of `pid`, by number; empty for a process that is gone.
pub fn threads(pid: u32) -> Vec<Thread> {
    let mut threads: Vec<_> = tids(pid)
        .filter_map(|tid| {
            Some(Thread {
                tid,
                name: read(pid, &format!("task/{tid}/comm"))?,
            })
        })
        .collect();
    threads.sort_unstable_by_key(|thread| thread.tid);
    threads
}

/// How many descriptors `pid` has open.
pub fn open_fds(pid: u32) -> Option<usize> {
    // Every live process that we may look into shows at least its directory entry.
    let root = Root::host();
    root.exists(&format!("/proc/{pid}/fd"))
        .then(|| root.names(&format!("/proc/{pid}/fd")).len())
}

/// Context switches of `pid`, summed over its living threads.
pub fn context_switches(pid: u32) -> Option<ContextSwitches> {
    tids(pid)
        .filter_map(|tid| thread_context_switches(pid, tid))
        .reduce(|sum, one| ContextSwitches {
            voluntary: sum.voluntary.saturating_add(one.voluntary),
            involuntary: sum.involuntary.saturating_add(one.involuntary),
        })
}

/// Context switches of one thread of `pid`.
pub fn thread_context_switches(pid: u32, tid: u32) -> Option<ContextSwitches> {
    switches(&read(pid, &format!("task/{tid}/status"))?)
}

fn read(pid: u32, file: &str) -> Option<String> {
    Root::host().text(&format!("/proc/{pid}/{file}")).ok()
}

fn tids(pid: u32) -> impl Iterator<Item = u32> {
    Root::host()
        .names(&format!("/proc/{pid}/task"))
        .into_iter()
        .filter_map(|tid| tid.parse().ok())
}

fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

fn locked_bytes(status: &str) -> Option<u64> {
    let (number, unit) = field(status, "VmLck", ':')?.split_once(' ')?;
    let kib: u64 = (unit == "kB").then(|| number.parse().ok())??;
    kib.checked_mul(1024)
}

/// Fields 14 and 15 of `stat`, counted from behind the name, which may hold spaces and brackets.
fn cpu_time(stat: &str, ticks_per_s: u64) -> Option<CpuTime> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next_us = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        ticks.checked_mul(1_000_000)?.checked_div(ticks_per_s)
    };
    Some(CpuTime {
        user_us: next_us()?,
        system_us: next_us()?,
    })
}

fn switches(status: &str) -> Option<ContextSwitches> {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))?
            .trim()
            .parse()
            .ok()
    };
    Some(ContextSwitches {
        voluntary: field("voluntary_ctxt_switches:")?,
        involuntary: field("nonvoluntary_ctxt_switches:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::thread;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 99 0 0 0 250 50 0 0 20 0 4 0 1 2 3";
        let want = CpuTime {
            user_us: 2_500_000,
            system_us: 500_000,
        };
        assert_eq!(cpu_time(stat, 100), Some(want));
        assert_eq!(cpu_time(stat, 0), None);
    }

    #[test]
    fn garbage_is_none() {
        for text in [
            "",
            ")",
            "x",
            "1 (a) S",
            "\u{fffd}) a b c d e f g h i j k l m",
        ] {
            assert_eq!(cpu_time(text, 100), None, "{text:?}");
            assert_eq!(switches(text), None, "{text:?}");
            assert_eq!(locked_bytes(text), None, "{text:?}");
        }
        assert_eq!(locked_bytes("VmLck:\t      64 kB"), Some(65_536));
        assert_eq!(locked_bytes("VmLck:\t      64 MB"), None);
        assert_eq!(resident_pages("12"), None);
        assert_eq!(resident_pages("12 x"), None);
    }

    #[test]
    fn resident_memory_grows_with_what_we_touch() {
        let before = self_rss_bytes().unwrap();
        let touched = black_box(vec![1u8; 64 << 20]);
        let after = self_rss_bytes().unwrap();
        assert!(after >= before + (48 << 20), "{before} then {after}");
        drop(touched);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the thread is what is looked at")]
    fn a_spinning_thread_is_seen_by_name_and_by_its_time() {
        let pid = process::id();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let spinner = thread::Builder::new()
            .name("spin me (1)".into())
            .spawn(move || {
                while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    black_box(0);
                }
            })
            .unwrap();
        let tid = loop {
            if let Some(thread) = threads(pid)
                .iter()
                .find(|thread| thread.name == "spin me (1)")
            {
                break thread.tid;
            }
        };
        while thread_cpu_time_us(pid, tid).unwrap().total_us() < 50_000 {
            thread::yield_now();
        }
        assert!(cpu_time_us(pid).unwrap().total_us() >= 50_000);
        assert!(run_ns(pid).unwrap() >= 40_000_000);
        assert!(thread_context_switches(pid, tid).is_some());
        assert!(context_switches(pid).unwrap().voluntary > 0);
        drop(stop);
        spinner.join().unwrap();
    }

    #[test]
    fn open_descriptors_are_counted() {
        let before = open_fds(process::id()).unwrap();
        let files: Vec<_> = (0..50)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(open_fds(process::id()).unwrap() >= before + 40);
        drop(files);
    }

    #[test]
    fn a_process_that_is_gone_is_none() {
        let gone = u32::MAX;
        assert_eq!(rss_bytes(gone), None);
        assert_eq!(cpu_time_us(gone), None);
        assert_eq!(run_ns(gone), None);
        assert_eq!(open_fds(gone), None);
        assert_eq!(context_switches(gone), None);
        assert!(threads(gone).is_empty());
    }
}
