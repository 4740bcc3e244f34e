//! Where tokens and registrations are kept: in memory, or in a file of the user's.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::geteuid;
use serde_json::Value;

use super::error::AuthError;
use crate::client::peer::lock;

/// Largest file of credentials that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What others than the user may do with the file: nothing.
const OTHERS: u32 = 0o077;

/// Keeps what a client must not forget. Values are secrets. Called from threads that may block.
pub trait Store: Send + Sync {
    /// What is kept under `key`.
    fn get(&self, key: &str) -> Result<Option<Value>, AuthError>;
    /// Keeps `value` under `key`; without a value, forgets.
    fn set(&self, key: &str, value: Option<Value>) -> Result<(), AuthError>;
}

/// Forgets everything with the client.
#[derive(Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Value>>);

impl Store for MemoryStore {
    fn get(&self, key: &str) -> Result<Option<Value>, AuthError> {
        Ok(lock(&self.0).get(key).cloned())
    }

    fn set(&self, key: &str, value: Option<Value>) -> Result<(), AuthError> {
        change(&mut lock(&self.0), key, value);
        Ok(())
    }
}

fn change(kept: &mut BTreeMap<String, Value>, key: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(kept.insert(key.to_owned(), value)),
        None => drop(kept.remove(key)),
    }
}

/// Keeps everything in one file that only its user can read (mode 0600). Several processes may use
/// it at once: each change is made under a lock and replaces the file whole.
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// Keeps in the file `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn failed(&self, error: impl std::fmt::Display) -> AuthError {
        AuthError::Store(format!("credentials in {}: {error}", self.path.display()))
    }

    /// A neighbour of the file.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// Everything that is kept. A file that others could read, or have written, is not trusted.
    fn read(&self) -> Result<BTreeMap<String, Value>, AuthError> {
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(no_link)
            .open(&self.path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.failed(error)),
        };
        let about = file.metadata().map_err(|error| self.failed(error))?;
        let path = self.path.display();
        if !about.is_file() {
            return Err(self.failed("wanted a file, found something else"));
        }
        if about.mode() & OTHERS != 0 {
            let mode = about.mode() & 0o777;
            let why = format!(
                "wanted mode 0600, found {mode:04o}: `chmod 600 {path}`, and sign in \
                               anew if somebody may have read it"
            );
            return Err(self.failed(why));
        }
        if about.uid() != geteuid().as_raw() {
            return Err(self.failed("the file belongs to another user"));
        }
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        let read = read.map_err(|error| self.failed(error))?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(self.failed(format!("more than {FILE_BYTES_MAX} bytes: remove it")));
        }
        let parsed = serde_json::from_str(&text);
        parsed.map_err(|error| self.failed(format!("{error}: remove it to begin anew")))
    }

    fn write(&self, kept: &BTreeMap<String, Value>) -> Result<(), AuthError> {
        let failed = |error| self.failed(error);
        let text = serde_json::to_string_pretty(kept).map_err(|error| self.failed(error))?;
        let new = self.beside(".new");
        // What a process that died has left behind; the lock says that no other is at it.
        let _ = fs::remove_file(&new);
        let mut file = private(OpenOptions::new().create_new(true))
            .open(&new)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&new, &self.path).map_err(failed)
    }

    fn locked(&self) -> Result<File, AuthError> {
        let failed = |error| self.failed(error);
        if let Some(folder) = self.path.parent().filter(|it| *it != Path::new("")) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(failed)?;
        }
        let lock = private(OpenOptions::new().create(true)).open(self.beside(".lock"));
        let lock = lock.map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| self.failed(error))?;
        Ok(lock)
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.write(true).mode(0o600)
}

impl Store for FileStore {
    fn get(&self, key: &str) -> Result<Option<Value>, AuthError> {
        Ok(self.read()?.remove(key))
    }

    fn set(&self, key: &str, value: Option<Value>) -> Result<(), AuthError> {
        let _lock = self.locked()?;
        let mut kept = self.read()?;
        change(&mut kept, key, value);
        self.write(&kept)
    }
}
