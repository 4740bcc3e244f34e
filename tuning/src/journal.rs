//! The journal of an apply: the prior bytes of every file it touches, on disk before the first
//! write. Whatever happens afterwards, `revert` finds here what was there before.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::facts::{Identity, Root};
use crate::profile::Profile;
use crate::setting::Form;

/// The name and version of the journal's shape.
pub const JOURNAL_SCHEMA: &str = "ninefold.tune.journal.v1";

/// Where journals are kept, below the root that they are about.
pub const STATE_DIR: &str = "/var/lib/ninefold/tune";

/// Closed journals are kept for the curious, but not for ever.
const CLOSED_COUNT_MAX: usize = 64;

/// One apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// [`JOURNAL_SCHEMA`].
    pub schema: String,
    /// Its number, which is its name: `000001.json`.
    pub id: u64,
    /// The host and the boot that it was made in.
    pub identity: Identity,
    /// What the host was made fit for.
    pub profile: Profile,
    /// How far it has come.
    pub state: State,
    /// Every file, in the order of writing.
    pub entries: Vec<Entry>,
}

/// How far an apply has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Some files may have been written, or none; only `revert` may follow.
    Begun,
    /// All were written and verified.
    InForce,
    /// It failed, and everything is as it was before.
    Undone,
    /// It was reverted.
    Reverted,
    /// A reboot has reset it.
    Reset,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The setting that asked for it.
    pub setting: String,
    /// The file.
    pub path: String,
    /// How its values are spelt.
    pub form: Form,
    /// What it held, byte for byte.
    pub prior: Bytes,
    /// What was to be written.
    pub wrote: String,
    /// How this file stands.
    pub state: EntryState,
}

/// How one file of an apply stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// It was, or was to be, written.
    Written,
    /// The kernel refused it and it holds its prior bytes.
    Refused,
    /// It was reverted.
    Reverted,
}

/// Bytes that are nearly always text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// As they are.
    Text(String),
    /// Not UTF-8.
    Raw(Vec<u8>),
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Raw(error.into_bytes()), Self::Text)
    }
}

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }

    /// As text, lossily.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.as_slice()).into_owned()
    }
}

impl State {
    /// Whether `revert` has nothing to do with it any more.
    pub fn closed(self) -> bool {
        !matches!(self, Self::Begun | Self::InForce)
    }
}

/// On disk: the journal, and a digest by which a damaged one is known.
#[derive(Serialize, Deserialize)]
struct Sealed {
    digest: String,
    journal: Journal,
}

/// Why a journal could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The state directory does not do as it should.
    #[error(
        "wanted to keep a journal in {path}: {source}; nothing is written without one: give a \
         writable directory with --state-dir, or run as root"
    )]
    Store {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another one is at work.
    #[error(
        "another ninefold-tune holds {path}; wait for it to end, then try again: two at once would \
         each undo the other's work"
    )]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// A file of the store makes no sense.
    #[error(
        "wanted a journal in {path}, found {why}; what was applied cannot be undone from it: look \
         at the paths in it, set them by hand or reboot, then move it away"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl JournalError {
    /// Whether somebody with more rights could have kept the journal.
    pub fn is_not_permitted(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        let kind = match self {
            Self::Store { source, .. } => Some(source.kind()),
            Self::Busy { .. } | Self::Corrupt { .. } => None,
        };
        matches!(kind, Some(PermissionDenied | ReadOnlyFilesystem))
    }
}

/// A directory of journals, held by one process.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    _lock: File,
}

/// No link is followed, and no pipe waited for.
const NO_LINK: i32 = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .bits()
    .cast_signed();
/// Largest journal that is read: far beyond what 50 settings fill.
const JOURNAL_BYTES_MAX: u64 = 16 << 20;

fn read_journal(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::options()
        .read(true)
        .custom_flags(NO_LINK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("no plain file"));
    }
    let mut text = Vec::new();
    file.take(JOURNAL_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Makes [`STATE_DIR`] below `top`, step by step and through no link.
fn make_below(top: &Path) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(top, flags, Mode::empty())?;
    for name in STATE_DIR.split('/').filter(|name| !name.is_empty()) {
        match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = match rustix::fs::openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let found =
                    format!("{name:?} there is no directory (a symbolic link is not followed)");
                return Err(io::Error::other(found));
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

impl Store {
    /// Opens `dir`, made where it does not exist, and locks it until the store is dropped.
    ///
    /// # Errors
    /// When the directory cannot be made or another process holds it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let dir = dir.into();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| JournalError::Store { path, source }
        };
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let path = dir.join("lock");
        // A tree that somebody sent may hold a link there, to be emptied.
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(NO_LINK)
            .open(&path)
            .map_err(failed(&path))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JournalError::Busy { path })?;
        Ok(Self { dir, _lock: lock })
    }

    /// Opens `named`; without one, [`STATE_DIR`] below `root`. In a tree that somebody sent no
    /// symbolic link is followed on the way there, for it would lead to a directory of this host.
    ///
    /// # Errors
    /// Those of [`Store::open`], and where a symbolic link stands in the way.
    pub fn of(root: &Root, named: Option<PathBuf>) -> Result<Self, JournalError> {
        if let Some(named) = named {
            return Self::open(named);
        }
        let dir = root.resolve(STATE_DIR);
        if !root.is_host() {
            make_below(root.top()).map_err(|source| JournalError::Store {
                path: dir.clone(),
                source,
            })?;
        }
        Self::open(dir)
    }

    /// Every journal, the oldest first.
    ///
    /// # Errors
    /// When one cannot be read or is damaged: what is in force would be a guess.
    pub fn all(&self) -> Result<Vec<Journal>, JournalError> {
        let mut ids: Vec<u64> = fs::read_dir(&self.dir)
            .map_err(|source| JournalError::Store {
                path: self.dir.clone(),
                source,
            })?
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                name.strip_suffix(".json")?.parse().ok()
            })
            .collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| self.load(id)).collect()
    }

    fn load(&self, id: u64) -> Result<Journal, JournalError> {
        let path = self.path(id);
        let corrupt = |why: String| JournalError::Corrupt {
            path: path.clone(),
            why,
        };
        let text = read_journal(&path).map_err(|source| JournalError::Store {
            path: path.clone(),
            source,
        })?;
        let sealed: Sealed = serde_json::from_slice(&text)
            .map_err(|error| corrupt(format!("no JSON of ours ({error})")))?;
        let journal = sealed.journal;
        match () {
            () if sealed.digest != digest(&journal).map_err(|e| corrupt(e.to_string()))? => {
                Err(corrupt("a digest that does not fit its content".to_owned()))
            }
            () if journal.schema != JOURNAL_SCHEMA => {
                Err(corrupt(format!("the schema {:?}", journal.schema)))
            }
            () if journal.id != id => Err(corrupt(format!("the journal {}", journal.id))),
            () => Ok(journal),
        }
    }

    /// The number of the next journal.
    pub(crate) fn next_id(&self) -> Result<u64, JournalError> {
        Ok(self.all()?.last().map_or(1, |last| last.id + 1))
    }

    /// Writes `journal`, whole or not at all; when this returns it is on disk.
    pub(crate) fn save(&self, journal: &Journal) -> Result<(), JournalError> {
        let path = self.path(journal.id);
        let fresh = path.with_extension("fresh");
        let save = || {
            let sealed = Sealed {
                digest: digest(journal)?,
                journal: journal.clone(),
            };
            // What a crash has left there, or a link that somebody has put there.
            let _ = fs::remove_file(&fresh);
            let mut file = File::options().write(true).create_new(true).open(&fresh)?;
            serde_json::to_writer_pretty(&mut file, &sealed)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            // The name must be on disk too.
            File::open(&self.dir)?.sync_all()
        };
        save().map_err(|source| JournalError::Store {
            path: path.clone(),
            source,
        })
    }

    /// Removes the oldest of the closed journals beyond those that are kept.
    pub(crate) fn prune(&self) -> Result<(), JournalError> {
        let all = self.all()?;
        let closed: Vec<_> = all.iter().filter(|of| of.state.closed()).collect();
        let beyond = closed.len().saturating_sub(CLOSED_COUNT_MAX);
        for journal in closed.into_iter().take(beyond) {
            let path = self.path(journal.id);
            fs::remove_file(&path).map_err(|source| JournalError::Store { path, source })?;
        }
        Ok(())
    }

    fn path(&self, id: u64) -> PathBuf {
        self.dir.join(format!("{id:06}.json"))
    }
}

/// FNV-1a over the journal as JSON: it finds damage, not malice.
fn digest(journal: &Journal) -> io::Result<String> {
    let bytes = serde_json::to_vec(journal)?;
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    Ok(format!("{hash:016x}"))
}
