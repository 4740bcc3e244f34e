//! Apply and revert, on copies of hosts, with a pen that fails as told.
#![expect(
    clippy::unwrap_used,
    reason = "what a test relies on and does not get fails it"
)]

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use ninefold_tuning::facts::Identity;
use ninefold_tuning::journal::{JournalError, STATE_DIR, State, Store};
use ninefold_tuning::{
    Applied, ApplyError, CheckOptions, Choice, Pen, Plan, RevertError, RevertOptions,
    RevertOutcome, Reverted, Root, Which, apply, plan, revert,
};
use support::{HOSTS, Host, files};

const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const BACKLOG: &str = "/proc/sys/net/ipv4/tcp_max_syn_backlog";
const WRITE: RevertOptions = RevertOptions {
    write: true,
    force: false,
};
const FORCE: RevertOptions = RevertOptions {
    write: true,
    force: true,
};

fn root(host: &Host) -> Root {
    Root::at(host.path())
}

fn state_dir(host: &Host) -> PathBuf {
    host.path().join(&STATE_DIR[1..])
}

fn store(host: &Host) -> Store {
    Store::open(state_dir(host)).unwrap()
}

fn planned(host: &Host) -> Plan {
    plan(
        &root(host),
        &host.facts(),
        &CheckOptions::default(),
        &Choice::default(),
    )
}

fn apply_by(host: &Host, pen: &dyn Pen) -> Result<Applied, ApplyError> {
    apply(
        &planned(host),
        pen,
        &store(host),
        &Identity::read(&root(host)),
    )
}

fn apply_to(host: &Host) -> Applied {
    apply_by(host, &root(host)).unwrap()
}

fn revert_by(
    host: &Host,
    which: Which,
    options: RevertOptions,
    pen: &dyn Pen,
) -> Result<Vec<Reverted>, RevertError> {
    revert(
        &which,
        options,
        pen,
        &store(host),
        &Identity::read(&root(host)),
    )
}

fn undo(host: &Host, options: RevertOptions) -> Result<Vec<Reverted>, RevertError> {
    revert_by(host, Which::Last, options, &root(host))
}

/// Every byte of the host's own files.
fn bytes(host: &Host) -> BTreeMap<String, Vec<u8>> {
    let paths = files(host.path());
    let own = paths.into_iter().filter(|path| !path.starts_with("/var/"));
    own.map(|path| {
        let bytes = fs::read(host.path().join(&path[1..])).unwrap();
        (path, bytes)
    })
    .collect()
}

fn outcomes(files: &[Reverted]) -> Vec<RevertOutcome> {
    files.iter().map(|of| of.outcome).collect()
}

fn states(host: &Host) -> Vec<State> {
    store(host)
        .all()
        .unwrap()
        .iter()
        .map(|of| of.state)
        .collect()
}

/// How the pen fails at one of its writes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Refuse(io::ErrorKind),
    Ignore,
    Half,
    CrashBefore,
    CrashAfter,
    ReadOnly,
    LoseStore,
}

struct FaultyPen {
    root: Root,
    fault: Fault,
    at: usize,
    writes: Cell<usize>,
    /// Every later write fails too.
    for_good: bool,
}

impl FaultyPen {
    fn new(host: &Host, fault: Fault, at: usize) -> Self {
        Self {
            root: root(host),
            fault,
            at,
            writes: Cell::new(0),
            for_good: false,
        }
    }
}

/// A panic that tells nobody: hundreds of them are made here.
fn power_cut() -> ! {
    resume_unwind(Box::new("power cut"))
}

impl Pen for FaultyPen {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.root.read(path)
    }

    fn can_write(&self, path: &str) -> io::Result<()> {
        match self.fault {
            Fault::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            _ => self.root.can_write(path),
        }
    }

    fn write(&self, path: &str, value: &[u8]) -> io::Result<()> {
        let now = self.writes.replace(self.writes.get() + 1);
        let fails = now == self.at || (self.for_good && now > self.at);
        match self.fault {
            _ if !fails => self.root.write(path, value),
            Fault::Refuse(kind) => Err(kind.into()),
            Fault::Ignore => Ok(()),
            Fault::Half => self.root.write(path, &value[..value.len() / 2]),
            Fault::CrashBefore => power_cut(),
            Fault::CrashAfter => {
                self.root.write(path, value)?;
                power_cut()
            }
            Fault::LoseStore => {
                fs::remove_dir_all(self.root.resolve(STATE_DIR))?;
                self.root.write(path, value)
            }
            Fault::ReadOnly => unreachable!("nothing is written where nothing can be"),
        }
    }
}

#[test]
fn apply_then_revert_leaves_every_byte_as_it_was() {
    for name in HOSTS {
        let host = Host::load(name);
        let before = bytes(&host);
        let plan = planned(&host);
        let applied = apply_to(&host);
        assert_eq!(applied.written.len(), plan.steps.len(), "{name}");
        assert!(
            planned(&host).steps.is_empty(),
            "{name}: {:?}",
            planned(&host).steps
        );
        if !plan.steps.is_empty() {
            assert_ne!(bytes(&host), before);
        }
        let undone = undo(&host, WRITE).unwrap();
        assert!(
            undone
                .iter()
                .all(|of| of.outcome == RevertOutcome::Restored)
        );
        assert_eq!(undone.len(), plan.steps.len());
        assert_eq!(bytes(&host), before, "{name}");
        assert_eq!(
            undo(&host, WRITE).unwrap(),
            [],
            "the second revert finds nothing"
        );
    }
}

#[test]
fn a_second_apply_finds_nothing_to_do_or_stacks() {
    let host = Host::load("kvm-8c");
    let before = bytes(&host);
    assert_eq!(apply_to(&host).journal, Some(1));
    assert_eq!(apply_to(&host), Applied::default());
    // Somebody asks for more: the files of both are undone, the latest first.
    let options = CheckOptions {
        connection_count_max: 500_000,
        ..CheckOptions::default()
    };
    let more = plan(&root(&host), &host.facts(), &options, &Choice::default());
    let applied = apply(
        &more,
        &root(&host),
        &store(&host),
        &Identity::read(&root(&host)),
    );
    assert_eq!(
        applied.unwrap().written,
        ["/proc/sys/net/netfilter/nf_conntrack_max"]
    );
    let dry = revert_by(&host, Which::All, RevertOptions::default(), &root(&host)).unwrap();
    assert!(
        dry.iter().all(|of| of.outcome == RevertOutcome::Restored),
        "{dry:?}"
    );
    let below = revert_by(&host, Which::Journal(1), WRITE, &root(&host)).unwrap_err();
    assert!(below.to_string().contains("nf_conntrack_max"), "{below}");
    revert_by(&host, Which::All, WRITE, &root(&host)).unwrap();
    assert_eq!(bytes(&host), before);
}

#[test]
fn one_setting_can_be_reverted_alone() {
    let host = Host::load("kvm-8c");
    let before = bytes(&host);
    apply_to(&host);
    let which = Which::Setting("mem.thp".to_owned());
    let undone = revert_by(&host, which, WRITE, &root(&host)).unwrap();
    assert_eq!(undone.len(), 1);
    assert_eq!(bytes(&host)[THP], before[THP]);
    assert_eq!(states(&host), [State::InForce]);
    undo(&host, WRITE).unwrap();
    assert_eq!(bytes(&host), before);
    assert_eq!(states(&host), [State::Reverted]);
}

#[test]
fn a_dry_revert_writes_nothing_and_says_the_same() {
    let host = Host::load("kvm-8c");
    apply_to(&host);
    let (before, journals) = (bytes(&host), store(&host).all().unwrap());
    let dry = undo(&host, RevertOptions::default()).unwrap();
    assert_eq!(
        (bytes(&host), store(&host).all().unwrap()),
        (before, journals)
    );
    assert_eq!(undo(&host, WRITE).unwrap(), dry);
}

#[test]
fn any_failure_at_any_write_undoes_all() {
    for fault in [
        Fault::Refuse(io::ErrorKind::InvalidInput),
        Fault::Ignore,
        Fault::Half,
    ] {
        let count = planned(&Host::load("kvm-8c")).steps.len();
        for at in 0..count {
            let host = Host::load("kvm-8c");
            let before = bytes(&host);
            let step = planned(&host).steps.swap_remove(at);
            let pen = FaultyPen::new(&host, fault, at);
            match apply_by(&host, &pen) {
                // Single interrupts may refuse, and stay; they may not lie.
                Ok(applied) => {
                    assert!(step.may_refuse && fault != Fault::Half, "{fault:?} {at}");
                    assert_eq!(applied.refused[0].0, step.path);
                    undo(&host, WRITE).unwrap();
                }
                // Half of a single character is nothing, which the kernel would not take.
                Err(error) => {
                    assert_eq!(error.exit(), 6, "{error}");
                    let text = error.to_string();
                    assert!(
                        text.contains(&step.setting) && text.contains("undone"),
                        "{text}"
                    );
                    assert_eq!(states(&host), [State::Undone]);
                }
            }
            assert_eq!(bytes(&host), before, "{fault:?} at {at}");
            assert_eq!(undo(&host, WRITE).unwrap(), []);
        }
    }
}

#[test]
fn a_crash_at_any_write_leaves_a_journal_that_undoes_it() {
    let count = planned(&Host::load("kvm-8c")).steps.len();
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        for at in 0..count {
            let host = Host::load("kvm-8c");
            let before = bytes(&host);
            let pen = FaultyPen::new(&host, fault, at);
            let crash = catch_unwind(AssertUnwindSafe(|| apply_by(&host, &pen)));
            assert!(crash.is_err());
            assert_eq!(states(&host), [State::Begun]);
            // Nothing more may be applied on top of what nobody knows.
            let error = apply_by(&host, &root(&host)).unwrap_err();
            assert!(
                matches!(error, ApplyError::Interrupted { id: 1 }),
                "{error}"
            );
            let undone = outcomes(&undo(&host, WRITE).unwrap());
            let restored = undone.iter().filter(|&&of| of == RevertOutcome::Restored);
            let written = at + usize::from(fault == Fault::CrashAfter);
            assert_eq!((undone.len(), restored.count()), (count, written));
            assert_eq!(bytes(&host), before, "{fault:?} at {at}");
        }
    }
}

#[test]
fn what_the_kernel_refused_is_nobodys_to_put_back() {
    const IRQ: &str = "/proc/irq/24/smp_affinity_list";
    let host = Host::load("kvm-8c");
    let at = planned(&host)
        .steps
        .iter()
        .position(|of| of.path == IRQ)
        .unwrap();
    let pen = FaultyPen::new(&host, Fault::Refuse(io::ErrorKind::Other), at);
    assert_eq!(apply_by(&host, &pen).unwrap().refused.len(), 1);
    host.write(IRQ, "2\n");
    let undone = undo(&host, WRITE).unwrap();
    let of = |path: &str| undone.iter().find(|of| of.path == path).unwrap().outcome;
    assert_eq!(of(IRQ), RevertOutcome::Untouched);
    assert_eq!(bytes(&host)[IRQ], b"2\n");
    // Where every file is refused nothing is in force.
    let only = Choice {
        only: vec!["irq.affinity".to_owned()],
        ..Choice::default()
    };
    let plan = plan(&root(&host), &host.facts(), &CheckOptions::default(), &only);
    let mut pen = FaultyPen::new(&host, Fault::Refuse(io::ErrorKind::Other), 0);
    pen.for_good = true;
    let applied = apply(&plan, &pen, &store(&host), &Identity::read(&root(&host))).unwrap();
    assert_eq!(
        (applied.journal, applied.refused.len()),
        (None, plan.steps.len())
    );
    assert_eq!(undo(&host, WRITE).unwrap(), []);
}

#[test]
fn what_no_journal_can_tell_of_is_undone() {
    let host = Host::load("kvm-8c");
    let before = bytes(&host);
    let error = apply_by(&host, &FaultyPen::new(&host, Fault::LoseStore, 5)).unwrap_err();
    assert!(
        error.to_string().contains("wanted to keep a journal"),
        "{error}"
    );
    assert_eq!(bytes(&host), before);
}

#[test]
fn a_write_that_takes_more_rights_says_which() {
    let host = Host::load("kvm-8c");
    let pen = FaultyPen::new(&host, Fault::Refuse(io::ErrorKind::PermissionDenied), 0);
    let error = apply_by(&host, &pen).unwrap_err();
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}

#[test]
fn undoing_that_fails_is_said_and_can_be_done_later() {
    let host = Host::load("kvm-8c");
    let before = bytes(&host);
    let mut pen = FaultyPen::new(&host, Fault::Refuse(io::ErrorKind::InvalidInput), 3);
    pen.for_good = true;
    let error = apply_by(&host, &pen).unwrap_err();
    assert_eq!(error.exit(), 1);
    assert!(error.to_string().contains("revert 1 --yes"), "{error}");
    let ApplyError::NotUndone { left, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(left.len(), 3);
    let stuck = revert_by(&host, Which::Last, WRITE, &pen).unwrap();
    assert_eq!(
        outcomes(&stuck)
            .iter()
            .filter(|&&of| of == RevertOutcome::Failed)
            .count(),
        3
    );
    undo(&host, WRITE).unwrap();
    assert_eq!(bytes(&host), before);
}

#[test]
fn a_read_only_tree_is_not_permitted_and_nothing_is_written() {
    let host = Host::load("kvm-8c");
    let before = bytes(&host);
    let error = apply_by(&host, &FaultyPen::new(&host, Fault::ReadOnly, 0)).unwrap_err();
    assert_eq!(error.exit(), 7);
    assert!(error.to_string().contains("mounted read-only"), "{error}");
    assert_eq!(bytes(&host), before);
    assert_eq!(states(&host), [], "no journal of what was never begun");
}

#[test]
fn a_file_that_vanishes_before_apply_stops_it_before_the_first_write() {
    let host = Host::load("kvm-8c");
    let plan = planned(&host);
    host.remove(SWAPPINESS);
    let before = bytes(&host);
    let error = apply(
        &plan,
        &root(&host),
        &store(&host),
        &Identity::read(&root(&host)),
    );
    let error = error.unwrap_err();
    assert!(
        error.exit() == 6 && error.to_string().contains(SWAPPINESS),
        "{error}"
    );
    assert_eq!(bytes(&host), before);
}

#[test]
fn a_special_file_in_place_of_one_of_the_kernels_undoes_all() {
    let host = Host::load("kvm-8c");
    let plan = planned(&host);
    host.pipe(SWAPPINESS);
    let before = bytes(&host);
    let error = apply(
        &plan,
        &root(&host),
        &store(&host),
        &Identity::read(&root(&host)),
    );
    let error = error.unwrap_err();
    assert!(
        error.exit() == 6 && error.to_string().contains(SWAPPINESS),
        "{error}"
    );
    assert_eq!(bytes(&host), before);
}

#[test]
fn a_word_that_the_kernel_does_not_offer_is_refused() {
    let host = Host::load("kvm-8c");
    host.write(THP, "[always] never\n");
    let before = bytes(&host);
    let error = apply_by(&host, &root(&host)).unwrap_err();
    assert!(
        error.to_string().starts_with("mem.thp: wanted \"madvise\""),
        "{error}"
    );
    assert_eq!(bytes(&host), before);
}

#[test]
fn what_somebody_changed_since_is_left_alone_unless_forced() {
    let host = Host::load("kvm-8c");
    let before = bytes(&host);
    apply_to(&host);
    host.write(SWAPPINESS, "30\n");
    let changed = bytes(&host);
    let error = undo(&host, WRITE).unwrap_err();
    for part in [SWAPPINESS, "\"30\"", "\"1\"", "--force"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert_eq!(bytes(&host), changed, "no other file was written either");
    let undone = undo(&host, FORCE).unwrap();
    assert!(undone.iter().any(|of| of.outcome == RevertOutcome::Forced));
    assert_eq!(bytes(&host), before);
}

#[test]
fn somebody_who_put_it_back_by_hand_has_done_the_work() {
    let host = Host::load("kvm-8c");
    let before = bytes(&host);
    apply_to(&host);
    host.write(SWAPPINESS, &before[SWAPPINESS]);
    host.remove(BACKLOG);
    let undone = undo(&host, WRITE).unwrap();
    let of = |path: &str| undone.iter().find(|of| of.path == path).unwrap().outcome;
    assert_eq!(
        (of(SWAPPINESS), of(BACKLOG)),
        (RevertOutcome::Untouched, RevertOutcome::Gone)
    );
    assert_eq!(states(&host), [State::Reverted]);
}

#[test]
fn a_reboot_has_reset_everything_and_nothing_is_written() {
    let host = Host::load("kvm-8c");
    apply_to(&host);
    host.write("/proc/sys/kernel/random/boot_id", "another boot\n");
    let before = bytes(&host);
    let undone = undo(&host, WRITE).unwrap();
    assert!(!undone.is_empty());
    assert!(undone.iter().all(|of| of.outcome == RevertOutcome::Reset));
    assert_eq!(bytes(&host), before);
    assert_eq!(
        (states(&host), undo(&host, WRITE).unwrap()),
        (vec![State::Reset], vec![])
    );
    // An apply in the new boot is not held up by what the old one left.
    let host = Host::load("kvm-8c");
    let pen = FaultyPen::new(&host, Fault::CrashAfter, 2);
    assert!(catch_unwind(AssertUnwindSafe(|| apply_by(&host, &pen))).is_err());
    host.write("/proc/sys/kernel/random/boot_id", "another boot\n");
    assert!(apply_to(&host).journal.is_some());
    assert_eq!(states(&host), [State::Reset, State::InForce]);
}

#[test]
fn without_a_boot_id_nothing_is_applied_and_nothing_taken_for_reset() {
    let host = Host::load("kvm-8c");
    apply_to(&host);
    host.remove("/proc/sys/kernel/random/boot_id");
    assert!(matches!(undo(&host, WRITE), Err(RevertError::NoBoot)));
    assert!(matches!(
        apply_by(&host, &root(&host)),
        Err(ApplyError::NoBoot)
    ));
}

#[test]
fn the_journal_of_another_host_is_refused() {
    let host = Host::load("kvm-8c");
    apply_to(&host);
    host.write("/etc/machine-id", "another host\n");
    let error = undo(&host, FORCE).unwrap_err();
    assert!(
        matches!(error, RevertError::OtherHost { id: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_damaged_journal_is_named_and_nothing_is_guessed() {
    let host = Host::load("kvm-8c");
    apply_to(&host);
    let path = state_dir(&host).join("000001.json");
    let whole = fs::read_to_string(&path).unwrap();
    let before = bytes(&host);
    for damaged in [
        String::new(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace("\"60\\n\"", "\"99\\n\""),
        whole.replace("\"id\": 1", "\"id\": 2"),
        "{}".to_owned(),
    ] {
        assert_ne!(damaged, whole);
        fs::write(&path, damaged).unwrap();
        let error = undo(&host, FORCE).unwrap_err();
        assert!(
            matches!(error, RevertError::Journal(JournalError::Corrupt { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("000001.json"), "{error}");
        assert!(apply_by(&host, &root(&host)).is_err());
        assert_eq!(bytes(&host), before);
    }
    fs::write(&path, whole).unwrap();
    undo(&host, WRITE).unwrap();
}

#[test]
fn a_write_of_a_journal_that_was_cut_short_does_no_harm() {
    let host = Host::load("kvm-8c");
    apply_to(&host);
    fs::write(state_dir(&host).join("000002.fresh"), "{\"dig").unwrap();
    assert_eq!(
        outcomes(&undo(&host, WRITE).unwrap())[0],
        RevertOutcome::Restored
    );
}

#[test]
fn two_at_once_and_unknown_journals_are_refused() {
    let host = Host::load("kvm-8c");
    let held = store(&host);
    let error = Store::open(state_dir(&host)).unwrap_err();
    assert!(matches!(error, JournalError::Busy { .. }), "{error}");
    drop(held);
    let error = revert_by(&host, Which::Journal(7), WRITE, &root(&host)).unwrap_err();
    assert!(
        error.to_string().contains("wanted journal 7, found none"),
        "{error}"
    );
    host.write("/blocked", "a file where a folder should be");
    let error = Store::open(host.path().join("blocked/state")).unwrap_err();
    assert!(error.to_string().contains("--state-dir"), "{error}");
}

#[test]
fn junk_is_put_back_as_it_was() {
    // Neither text nor a value; what is written over it must not lose a bit of it.
    let odd = |byte: &u8| *byte != b'[';
    for junk in [
        vec![0xff; 4_000],
        (0..=255).filter(odd).collect(),
        b"\n\n".to_vec(),
        vec![],
    ] {
        let host = Host::load("kvm-8c");
        let plan = planned(&host);
        for step in &plan.steps {
            host.write(&step.path, &junk);
        }
        let before = bytes(&host);
        let applied = apply(
            &plan,
            &root(&host),
            &store(&host),
            &Identity::read(&root(&host)),
        );
        assert_eq!(applied.unwrap().written.len(), plan.steps.len());
        undo(&host, WRITE).unwrap();
        assert_eq!(bytes(&host), before);
    }
}

#[test]
fn old_journals_are_forgotten() {
    let host = Host::load("small-vm-2c");
    for _ in 0..70 {
        apply_to(&host);
        undo(&host, WRITE).unwrap();
    }
    let journals = store(&host).all().unwrap();
    assert!(journals.len() <= 65, "{}", journals.len());
    assert_eq!(journals.last().unwrap().id, 70);
}

/// A cheap generator, so that a failure can be run again by its seed.
fn next(seed: &mut u64) -> usize {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

#[test]
fn two_hundred_random_lives_leave_every_byte_as_it_was() {
    for seed in 0..200_u64 {
        let mut random = seed;
        // The server of 64 CPUs has one step, and hundreds of files to lay out.
        let host = Host::load(["kvm-8c", "kvm-8c", "small-vm-2c"][next(&mut random) % 3]);
        let before = bytes(&host);
        for _ in 0..3 {
            let fault = [
                Fault::Refuse(io::ErrorKind::PermissionDenied),
                Fault::Ignore,
                Fault::Half,
                Fault::CrashBefore,
                Fault::CrashAfter,
            ][next(&mut random) % 5];
            // Beyond the last write nothing fails.
            let pen = FaultyPen::new(&host, fault, next(&mut random) % 20);
            let _ = catch_unwind(AssertUnwindSafe(|| apply_by(&host, &pen)));
            if next(&mut random).is_multiple_of(2) {
                revert_by(&host, Which::All, WRITE, &root(&host)).unwrap();
                assert_eq!(bytes(&host), before, "seed {seed}");
            }
        }
        revert_by(&host, Which::All, WRITE, &root(&host)).unwrap();
        assert_eq!(bytes(&host), before, "seed {seed}");
    }
}
