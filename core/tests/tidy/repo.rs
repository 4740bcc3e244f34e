//! The repository as text: what the rules read, and what they answer.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use crate::source::Source;

/// Folders that hold no text of ours.
const SKIPPED: &[&str] = &[".git", "node_modules", "reports", "target"];

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub(crate) file: String,
    /// 1-based; 1 when the whole file is meant.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            why,
        } = self;
        write!(f, "{file}:{line}: [{rule}] {why}")
    }
}

/// One text file, its path relative to the root with `/` between the parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Scanned when it is Rust.
    pub(crate) source: Source,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True for files that are compiled only for tests: `tests/` folders and `tests.rs` modules.
    pub(crate) fn is_test(&self) -> bool {
        self.path
            .split('/')
            .any(|part| part == "tests" || part == "tests.rs")
    }

    pub(crate) fn breaks(&self, line: usize, rule: &'static str, why: String) -> Violation {
        Violation {
            file: self.path.clone(),
            line,
            rule,
            why,
        }
    }
}

/// Every text file of the repository, and every path in it (folders and binary files too).
#[derive(Default)]
pub(crate) struct Repo {
    pub(crate) files: Vec<File>,
    pub(crate) paths: BTreeSet<String>,
}

impl Repo {
    /// Reads the repository at `root`.
    pub(crate) fn load(root: impl AsRef<Path>) -> io::Result<Self> {
        let mut repo = Self::default();
        repo.walk(root.as_ref(), "")?;
        Ok(repo)
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
                self.paths.insert(path);
            } else if kind.is_file() {
                // A fixture that is not text has no style.
                match String::from_utf8(fs::read(entry.path())?) {
                    Ok(text) => self.add(path, text),
                    Err(_) => drop(self.paths.insert(path)),
                }
            }
        }
        Ok(())
    }

    /// Adds one text file.
    pub(crate) fn add(&mut self, path: String, text: String) {
        let rust = path.ends_with(".rs");
        let source = if rust {
            Source::scan(&text)
        } else {
            Source::default()
        };
        self.paths.insert(path.clone());
        self.files.push(File { path, text, source });
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}
