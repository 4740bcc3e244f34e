//! Writes a plan: journal first, then each file, read back and verified; all is undone when one
//! file does not do as it should.

use std::io;

use serde::{Deserialize, Serialize};

use crate::facts::{Identity, chosen};
use crate::journal::{
    Bytes, Entry, EntryState, JOURNAL_SCHEMA, Journal, JournalError, State, Store,
};
use crate::pen::Pen;
use crate::plan::{Plan, Step};
use crate::setting::Form;

/// What an apply did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The journal that undoes it; none when there was nothing to write.
    pub journal: Option<u64>,
    /// Files written and verified.
    pub written: Vec<String>,
    /// Files that held the value by the time they were to be written.
    pub already: Vec<String>,
    /// Files that the kernel refused and that may be refused, with its answer.
    pub refused: Vec<(String, String)>,
}

/// Why nothing is in force.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The journal could not be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An earlier apply was cut short.
    #[error(
        "the apply of journal {id} was cut short and may be half in force; run \
         `ninefold-tune revert --yes` first"
    )]
    Interrupted {
        /// The journal.
        id: u64,
    },
    /// The boot has no name.
    #[error(
        "wanted the id of this boot, found none; without it no revert could tell whether a reboot \
         came between: mount /proc, then try again"
    )]
    NoBoot,
    /// We may not write.
    #[error("wanted to write {path}: {source}; {hint}; nothing was written")]
    NotPermitted {
        /// The file.
        path: String,
        /// The system's answer.
        source: io::Error,
        /// What it takes.
        hint: &'static str,
    },
    /// A file of the plan cannot be read any more.
    #[error(
        "wanted to write {path}, found it gone or unreadable since the plan was made ({source}); \
         nothing was written: plan again"
    )]
    Vanished {
        /// The file.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A write failed; the host is as it was.
    #[error(
        "{setting}: {why}; everything was undone, no file has changed (journal {journal}); leave \
         it out with --skip {setting}"
    )]
    Undone {
        /// The setting that failed.
        setting: String,
        /// What was wanted and what was found.
        why: String,
        /// The journal.
        journal: u64,
    },
    /// A write failed, and so did undoing.
    #[error(
        "{setting}: {why}; undoing failed for {}; journal {journal} keeps their prior bytes: run \
         `ninefold-tune revert {journal} --yes` once the cause is gone",
        left.join(", ")
    )]
    NotUndone {
        /// The setting that failed.
        setting: String,
        /// What was wanted and what was found.
        why: String,
        /// Files that still hold something else than before, with the reason.
        left: Vec<String>,
        /// The journal, which stays open.
        journal: u64,
    },
}

impl ApplyError {
    /// The exit code of `ninefold-tune apply`.
    pub fn exit(&self) -> u8 {
        match self {
            Self::NotPermitted { .. } => 7,
            Self::Journal(error) if error.is_not_permitted() => 7,
            Self::Vanished { .. } | Self::Undone { .. } => 6,
            Self::Journal(_) | Self::Interrupted { .. } | Self::NoBoot | Self::NotUndone { .. } => {
                1
            }
        }
    }
}

/// Makes `plan` so, by `pen`, with a journal in `store`.
///
/// # Errors
/// [`ApplyError`]; but for [`ApplyError::NotUndone`] the host is then as it was before.
pub fn apply(
    plan: &Plan,
    pen: &dyn Pen,
    store: &Store,
    identity: &Identity,
) -> Result<Applied, ApplyError> {
    if identity.boot_id.is_none() {
        return Err(ApplyError::NoBoot);
    }
    close_what_a_reboot_reset(store, identity)?;
    store.prune()?;
    if let Some(cut) = store.all()?.iter().find(|of| of.state == State::Begun) {
        return Err(ApplyError::Interrupted { id: cut.id });
    }
    let mut applied = Applied::default();
    let mut entries = Vec::new();
    for step in &plan.steps {
        match entry(step, pen)? {
            Some(entry) => entries.push(entry),
            None => applied.already.push(step.path.clone()),
        }
    }
    if entries.is_empty() {
        return Ok(applied);
    }
    let mut journal = Journal {
        schema: JOURNAL_SCHEMA.to_owned(),
        id: store.next_id()?,
        identity: identity.clone(),
        profile: plan.profile,
        state: State::Begun,
        entries,
    };
    store.save(&journal)?;
    for index in 0..journal.entries.len() {
        let at = &mut journal.entries[index];
        let may_refuse = plan
            .steps
            .iter()
            .any(|of| of.path == at.path && of.may_refuse);
        match put(pen, &at.path, at.form, &at.wrote) {
            Ok(()) => applied.written.push(at.path.clone()),
            Err(why) if may_refuse && holds(pen, at) == Holds::Prior => {
                at.state = EntryState::Refused;
                applied.refused.push((at.path.clone(), why));
            }
            Err(why) => return Err(undo(journal, index, why, pen, store)),
        }
    }
    // Where the kernel refused every file there is nothing to undo.
    let in_force = !applied.written.is_empty();
    applied.journal = in_force.then_some(journal.id);
    journal.state = match in_force {
        true => State::InForce,
        false => State::Undone,
    };
    match store.save(&journal) {
        Ok(()) => Ok(applied),
        // A journal that says less than was done must not be left in force.
        Err(error) => {
            let last = journal.entries.len() - 1;
            Err(undo(journal, last, error.to_string(), pen, store))
        }
    }
}

/// What the file of an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// What it held before, byte for byte.
    Prior,
    /// What was written.
    Wrote,
    /// Something else.
    Other(String),
    /// It is not there any more.
    Gone(String),
    /// It is there, and cannot be read.
    Unreadable(String),
}

/// Whether the file, or the device behind it, has vanished.
fn is_gone(error: &io::Error) -> bool {
    let no_device = Some(rustix::io::Errno::NODEV.raw_os_error());
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || error.raw_os_error() == no_device
}

pub(crate) fn holds(pen: &dyn Pen, entry: &Entry) -> Holds {
    match pen.read(&entry.path) {
        Err(error) if is_gone(&error) => Holds::Gone(error.to_string()),
        Err(error) => Holds::Unreadable(error.to_string()),
        Ok(bytes) if bytes == entry.prior.as_slice() => Holds::Prior,
        Ok(bytes) => {
            let found = entry.form.canonical(&String::from_utf8_lossy(&bytes));
            match found == entry.form.canonical(&entry.wrote) {
                true => Holds::Wrote,
                false => Holds::Other(found),
            }
        }
    }
}

/// Writes the prior bytes of `entry` back, and verifies that they are there.
pub(crate) fn put_back(pen: &dyn Pen, entry: &Entry) -> Result<(), String> {
    let prior = entry.prior.text();
    // Of `always [madvise] never` the kernel takes the marked word and shows the whole.
    let value = chosen(&prior).map_or_else(|| entry.prior.as_slice().to_vec(), String::into_bytes);
    pen.write(&entry.path, &value)
        .map_err(|error| format!("{}: {error}", entry.path))?;
    match holds(pen, entry) {
        Holds::Prior => Ok(()),
        Holds::Gone(why) | Holds::Unreadable(why) => Err(format!("{}: {why}", entry.path)),
        Holds::Wrote => Err(format!("{} still holds {:?}", entry.path, entry.wrote)),
        Holds::Other(found) if found == entry.form.canonical(&prior) => Ok(()),
        Holds::Other(found) => Err(format!("{} holds {found:?} instead", entry.path)),
    }
}

/// The journal's entry of a step; none when the file already holds what is wanted.
fn entry(step: &Step, pen: &dyn Pen) -> Result<Option<Entry>, ApplyError> {
    let path = || step.path.clone();
    let prior = pen
        .read(&step.path)
        .map_err(|source| ApplyError::Vanished {
            path: path(),
            source,
        })?;
    if step.form.canonical(&String::from_utf8_lossy(&prior)) == step.form.canonical(&step.write) {
        return Ok(None);
    }
    match pen.can_write(&step.path) {
        Err(source) if hint(&source, &step.path).is_some() => {
            return Err(ApplyError::NotPermitted {
                hint: hint(&source, &step.path).unwrap_or_default(),
                path: path(),
                source,
            });
        }
        // The kernel will say the same at the write, and then it is known whether that matters.
        Err(_) | Ok(()) => {}
    }
    Ok(Some(Entry {
        setting: step.setting.clone(),
        path: path(),
        form: step.form,
        prior: Bytes::from(prior),
        wrote: step.write.clone(),
        state: EntryState::Written,
    }))
}

/// What it takes to write here, when it is a matter of permission.
fn hint(error: &io::Error, path: &str) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => Some(
            "it is mounted read-only, as in most containers: run it on the host, or remount it",
        ),
        io::ErrorKind::PermissionDenied if path.contains("/net/") => {
            Some("it takes root, and CAP_NET_ADMIN over its network namespace: run it with sudo")
        }
        io::ErrorKind::PermissionDenied => {
            Some("it takes root, and in a container CAP_SYS_ADMIN: run it with sudo")
        }
        _ => None,
    }
}

/// Writes a value, reads it back and compares.
fn put(pen: &dyn Pen, path: &str, form: Form, value: &str) -> Result<(), String> {
    pen.write(path, value.as_bytes()).map_err(|error| {
        let hint = hint(&error, path).map(|hint| format!("; {hint}"));
        let hint = hint.unwrap_or_default();
        format!("wanted {value:?} in {path}, but the write failed: {error}{hint}")
    })?;
    let found = pen
        .read(path)
        .map_err(|error| format!("wanted {value:?} in {path}, but cannot read it back: {error}"))?;
    let found = form.canonical(&String::from_utf8_lossy(&found));
    match found == form.canonical(value) {
        true => Ok(()),
        false => Err(format!(
            "wanted {value:?} in {path}, found {found:?} after writing it"
        )),
    }
}

/// Undoes all up to the entry that failed, the latest first, and closes the journal if that works.
fn undo(
    mut journal: Journal,
    failed: usize,
    why: String,
    pen: &dyn Pen,
    store: &Store,
) -> ApplyError {
    let mut left = Vec::new();
    for entry in journal.entries[..=failed].iter().rev() {
        let undone = match holds(pen, entry) {
            Holds::Prior => Ok(()),
            _ => put_back(pen, entry),
        };
        left.extend(undone.err());
    }
    let setting = journal.entries[failed].setting.clone();
    let id = journal.id;
    if left.is_empty() {
        journal.state = State::Undone;
        // A journal that stays open is closed by the next revert, which finds nothing to do.
        return match store.save(&journal) {
            Ok(()) => ApplyError::Undone {
                setting,
                why,
                journal: id,
            },
            Err(error) => error.into(),
        };
    }
    ApplyError::NotUndone {
        setting,
        why,
        left,
        journal: id,
    }
}

/// Files of the kernel do not outlive it: what an earlier boot wrote is no longer in force.
fn close_what_a_reboot_reset(store: &Store, identity: &Identity) -> Result<(), JournalError> {
    for mut journal in store.all()? {
        if !journal.state.closed() && journal.identity.boot_id != identity.boot_id {
            journal.state = State::Reset;
            store.save(&journal)?;
        }
    }
    Ok(())
}
