//! Where facts come from: a directory that holds `proc` and `sys`, and what it did not tell.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

/// No file that we read is larger: `/proc/interrupts` of a host with 512 CPUs is 2 MiB.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// A directory that looks like `/`: the host's own, or a saved tree (fixture, support bundle).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The host that this process runs on.
    pub fn host() -> Self {
        Self(PathBuf::from("/"))
    }

    /// A saved tree whose `proc` and `sys` stand directly under `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// Whether this is the live host, where system calls agree with the files.
    pub(crate) fn is_host(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// The directory itself.
    pub(crate) fn top(&self) -> &Path {
        &self.0
    }

    /// Where `path`, which is ours and not the kernel's, stands.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The text of `path`, lossily decoded, without the newline at its end.
    pub(crate) fn text(&self, path: &str) -> Result<String, Gap> {
        let mut bytes = Vec::new();
        fs::File::options()
            .read(true)
            // A pipe in place of a file must not stop us for ever.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(self.resolve(path))
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(Gap::from)?;
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// The sorted names in directory `path`; none when it cannot be listed.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.resolve(path))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    }

    /// The target of the symbolic link at `path`, as procfs spells namespaces.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.resolve(path)).ok()?;
        Some(target.to_str()?.to_owned())
    }

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        self.resolve(path).is_dir()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.resolve(path).exists()
    }
}

/// Why a file gave no fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// The kernel has no such file, or it is switched off.
    Missing,
    /// We are not permitted to read it.
    Forbidden,
    /// It was read, or should have been readable, but makes no sense to us.
    Garbled,
}

impl From<io::Error> for Gap {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Kernels booted with psi=0 keep the file and answer EOPNOTSUPP.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::Unsupported => {
                Self::Missing
            }
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Garbled,
        }
    }
}

/// Reads below a root and remembers what it did not get, so that a check can say why.
pub(crate) struct Probe<'r> {
    root: &'r Root,
    gaps: RefCell<BTreeMap<String, Gap>>,
}

impl<'r> Probe<'r> {
    pub(crate) fn new(root: &'r Root) -> Self {
        Self {
            root,
            gaps: RefCell::default(),
        }
    }

    pub(crate) fn root(&self) -> &'r Root {
        self.root
    }

    pub(crate) fn into_gaps(self) -> BTreeMap<String, Gap> {
        self.gaps.into_inner()
    }

    /// The text of `path`; when there is none, the gap is remembered.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.root
            .text(path)
            .map_err(|gap| self.note(path, gap))
            .ok()
    }

    /// What `parse` makes of `path`; text that it declines is remembered as garbled.
    pub(crate) fn with<T>(&self, path: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let parsed = parse(&self.text(path)?);
        if parsed.is_none() {
            self.note(path, Gap::Garbled);
        }
        parsed
    }

    /// The single value that `path` holds.
    pub(crate) fn value<T: FromStr>(&self, path: &str) -> Option<T> {
        self.with(path, |text| text.trim().parse().ok())
    }

    fn note(&self, path: &str, gap: Gap) {
        self.gaps.borrow_mut().insert(path.to_owned(), gap);
    }
}
