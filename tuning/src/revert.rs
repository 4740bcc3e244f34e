//! Undoes what an apply has written: the prior bytes, from its journal, the latest file first.

use serde::{Deserialize, Serialize};

use crate::apply::{Holds, holds, put_back};
use crate::facts::Identity;
use crate::journal::{Entry, EntryState, Journal, JournalError, State, Store};
use crate::pen::Pen;

/// Which of the journals to undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The latest that is open.
    Last,
    /// All that are open.
    All,
    /// The one of this number.
    Journal(u64),
    /// What this setting wrote, in all that are open.
    Setting(String),
}

/// How to undo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevertOptions {
    /// Write; without it, only say what would be written.
    pub write: bool,
    /// Write even where somebody has changed the value since.
    pub force: bool,
}

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reverted {
    /// The journal.
    pub journal: u64,
    /// The setting.
    pub setting: String,
    /// The file.
    pub path: String,
    /// What it holds, or would hold.
    pub to: String,
    /// What was done, or would be.
    pub outcome: RevertOutcome,
    /// More to that, such as what was found instead.
    pub detail: Option<String>,
}

/// What was done with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevertOutcome {
    /// Its prior bytes are back, or would be.
    Restored,
    /// It held its prior bytes: never written, refused, or undone before.
    Untouched,
    /// Somebody had changed it since; by force its prior bytes are back.
    Forced,
    /// A reboot has reset it.
    Reset,
    /// The kernel has no such file any more.
    Gone,
    /// It could not be written.
    Failed,
}

impl RevertOutcome {
    /// The name in tables and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Untouched => "untouched",
            Self::Forced => "forced",
            Self::Reset => "reset",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

/// Why nothing was undone.
#[derive(Debug, thiserror::Error)]
pub enum RevertError {
    /// The journals could not be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No such journal.
    #[error(
        "wanted journal {wanted}, found {}; name one of them, `last` or `all`",
        found.join(", ")
    )]
    Unknown {
        /// The number asked for.
        wanted: u64,
        /// The numbers there are.
        found: Vec<String>,
    },
    /// The boot has no name.
    #[error(
        "wanted the id of this boot, found none; without it nobody can tell whether a reboot came \
         between: mount /proc, then try again"
    )]
    NoBoot,
    /// The journal of another host.
    #[error(
        "journal {id} was written on another host ({theirs}; this is {ours}); its prior values \
         mean nothing here: move it away"
    )]
    OtherHost {
        /// The journal.
        id: u64,
        /// Its host.
        theirs: String,
        /// This host.
        ours: String,
    },
    /// Values have changed since.
    #[error(
        "changed since, by a later apply or by somebody else: {}; nothing was written: --force \
         overwrites them with what was there before the apply",
        changed.join("; ")
    )]
    Changed {
        /// Each file, with what was expected and found.
        changed: Vec<String>,
    },
}

/// Undoes `which`, by `pen`, and answers what became of each file; nothing when none was in force.
///
/// # Errors
/// [`RevertError`]; nothing was written then. A file that cannot be written is no error but an
/// outcome, and its journal stays open.
pub fn revert(
    which: &Which,
    options: RevertOptions,
    pen: &dyn Pen,
    store: &Store,
    identity: &Identity,
) -> Result<Vec<Reverted>, RevertError> {
    if identity.boot_id.is_none() {
        return Err(RevertError::NoBoot);
    }
    let mut journals = chosen(which, store.all()?)?;
    journals.reverse();
    for journal in &journals {
        of_this_host(journal, identity)?;
    }
    if !options.force {
        let changed: Vec<_> = journals
            .iter()
            .filter(|journal| journal.identity.boot_id == identity.boot_id)
            .flat_map(|journal| changed(journal, which, &journals, pen))
            .collect();
        if !changed.is_empty() {
            return Err(RevertError::Changed { changed });
        }
    }
    let mut all: Vec<Reverted> = Vec::new();
    for journal in &mut journals {
        let mut some = revert_one(journal, which, options, pen, identity);
        for file in &mut some {
            // Not written yet, so the file still shows what the newer apply made of it.
            if !options.write && all.iter().any(|newer| newer.path == file.path) {
                (file.outcome, file.detail) = (RevertOutcome::Restored, None);
            }
        }
        all.extend(some);
        if options.write {
            store.save(journal)?;
        }
    }
    Ok(all)
}

/// The open journals that `which` names.
fn chosen(which: &Which, journals: Vec<Journal>) -> Result<Vec<Journal>, RevertError> {
    if let Which::Journal(wanted) = *which
        && !journals.iter().any(|journal| journal.id == wanted)
    {
        let mut found: Vec<_> = journals.iter().map(|of| of.id.to_string()).collect();
        if found.is_empty() {
            found.push("none".to_owned());
        }
        return Err(RevertError::Unknown { wanted, found });
    }
    let mut open: Vec<_> = journals
        .into_iter()
        .filter(|journal| !journal.state.closed())
        .collect();
    match which {
        Which::All => {}
        Which::Last => drop(open.drain(..open.len().saturating_sub(1))),
        Which::Journal(id) => open.retain(|journal| journal.id == *id),
        Which::Setting(id) => {
            open.retain(|journal| journal.entries.iter().any(|of| of.setting == *id));
        }
    }
    Ok(open)
}

fn of_this_host(journal: &Journal, identity: &Identity) -> Result<(), RevertError> {
    match (&journal.identity.host_id, &identity.host_id) {
        (Some(theirs), Some(ours)) if theirs != ours => Err(RevertError::OtherHost {
            id: journal.id,
            theirs: theirs.clone(),
            ours: ours.clone(),
        }),
        _ => Ok(()),
    }
}

/// Whether `revert` of `which` concerns this setting.
fn concerns(which: &Which, setting: &str) -> bool {
    match which {
        Which::Setting(id) => id == setting,
        Which::Last | Which::All | Which::Journal(_) => true,
    }
}

/// Files of `journal` that hold neither what it wrote nor what was there before.
fn changed(
    journal: &Journal,
    which: &Which,
    newest_first: &[Journal],
    pen: &dyn Pen,
) -> Vec<String> {
    let newer = newest_first.iter().take_while(|of| of.id > journal.id);
    let newer: Vec<_> = newer.flat_map(|of| &of.entries).collect();
    let entries = journal
        .entries
        .iter()
        .filter(|of| of.state == EntryState::Written && concerns(which, &of.setting));
    entries
        // What a newer apply wrote over it is reverted before it.
        .filter(|entry| !newer.iter().any(|of| of.path == entry.path))
        .filter_map(|entry| match holds(pen, entry) {
            Holds::Other(found) => Some(format!(
                "{} holds {found:?}, not {:?} as written",
                entry.path, entry.wrote
            )),
            Holds::Prior | Holds::Wrote | Holds::Gone(_) | Holds::Unreadable(_) => None,
        })
        .collect()
}

fn revert_one(
    journal: &mut Journal,
    which: &Which,
    options: RevertOptions,
    pen: &dyn Pen,
    identity: &Identity,
) -> Vec<Reverted> {
    let reset = journal.identity.boot_id != identity.boot_id;
    let (mut all, mut failed) = (Vec::new(), false);
    for entry in journal.entries.iter_mut().rev() {
        if entry.state == EntryState::Reverted || !concerns(which, &entry.setting) {
            continue;
        }
        let (outcome, detail) = match (reset, entry.state) {
            (true, _) => (RevertOutcome::Reset, None),
            // What was never ours to write is not ours to put back.
            (false, EntryState::Refused) => (RevertOutcome::Untouched, None),
            (false, _) => revert_entry(entry, options, pen),
        };
        failed |= outcome == RevertOutcome::Failed;
        if outcome != RevertOutcome::Failed {
            entry.state = EntryState::Reverted;
        }
        all.push(Reverted {
            journal: journal.id,
            setting: entry.setting.clone(),
            path: entry.path.clone(),
            to: entry.form.canonical(&entry.prior.text()),
            outcome,
            detail,
        });
    }
    let rest = journal
        .entries
        .iter()
        .any(|of| of.state == EntryState::Written);
    journal.state = match (reset, rest || failed) {
        (true, _) => State::Reset,
        (false, false) => State::Reverted,
        (false, true) => journal.state,
    };
    all
}

fn revert_entry(
    entry: &Entry,
    options: RevertOptions,
    pen: &dyn Pen,
) -> (RevertOutcome, Option<String>) {
    let (outcome, detail) = match holds(pen, entry) {
        Holds::Prior => return (RevertOutcome::Untouched, None),
        Holds::Gone(why) => return (RevertOutcome::Gone, Some(why)),
        Holds::Unreadable(why) => return (RevertOutcome::Failed, Some(why)),
        Holds::Wrote => (RevertOutcome::Restored, None),
        Holds::Other(found) => (RevertOutcome::Forced, Some(format!("it held {found:?}"))),
    };
    match options.write.then(|| put_back(pen, entry)) {
        None | Some(Ok(())) => (outcome, detail),
        Some(Err(why)) => (RevertOutcome::Failed, Some(why)),
    }
}
