//! The one place that writes a host's files, and only below the [`Root`] it was given.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::facts::{Root, chosen};

/// A file of the kernel's is a page at most when it is written, and not much more when read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads and writes the files that settings stand in; tests put one that fails in its place.
pub trait Pen {
    /// The bytes of `path`.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Whether `path` could be written, without writing it.
    ///
    /// # Errors
    /// The system's, when it could not.
    fn can_write(&self, path: &str) -> io::Result<()>;

    /// Writes `value` to `path`, which must exist, in one piece.
    ///
    /// # Errors
    /// The system's, with which a kernel refuses a value.
    fn write(&self, path: &str, value: &[u8]) -> io::Result<()>;
}

/// Symbolic links lead nowhere outside of the root: they are followed as if it were `/`.
impl Pen for Root {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open(self, path, OFlags::RDONLY)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        // A part of it must never stand for the whole.
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn can_write(&self, path: &str) -> io::Result<()> {
        open(self, path, OFlags::WRONLY).map(drop)
    }

    fn write(&self, path: &str, value: &[u8]) -> io::Result<()> {
        let written = match self.is_host() {
            true => value.to_vec(),
            false => as_a_kernel_would(&self.read(path)?, value)?,
        };
        let truncate = match self.is_host() {
            true => OFlags::empty(),
            false => OFlags::TRUNC,
        };
        let mut file = open(self, path, OFlags::WRONLY | truncate)?;
        // In one call: to the kernel each write is a value of its own.
        match file.write(&written)? {
            count if count == written.len() => Ok(()),
            count => Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("{count} of {} bytes were taken", written.len()),
            )),
        }
    }
}

fn open(root: &Root, path: &str, flags: OFlags) -> io::Result<File> {
    let top = rustix::fs::open(
        root.top(),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let file = rustix::fs::openat2(
        top,
        path,
        // A pipe in place of a file must not stop us for ever.
        flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?;
    Ok(File::from(file))
}

/// In a saved tree files are only bytes: of `always [madvise] never` the mark is moved, and a word
/// that is not offered is refused, as the kernel does.
fn as_a_kernel_would(held: &[u8], value: &[u8]) -> io::Result<Vec<u8>> {
    let (held, wanted) = (
        String::from_utf8_lossy(held),
        String::from_utf8_lossy(value),
    );
    let (Some(marked), wanted) = (chosen(&held), wanted.trim()) else {
        return Ok(value.to_vec());
    };
    let plain = held.replace(&format!("[{marked}]"), &marked);
    if !plain.split_whitespace().any(|word| word == wanted) {
        return Err(rustix::io::Errno::INVAL.into());
    }
    let mark = |part: &str| match part.trim() == wanted {
        true => part.replace(wanted, &format!("[{wanted}]")),
        false => part.to_owned(),
    };
    Ok(plain
        .split_inclusive(char::is_whitespace)
        .map(mark)
        .collect::<String>()
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_saved_tree_answers_as_a_kernel_would() {
        let held = b"always [madvise] never\n";
        let text = |value: &[u8]| as_a_kernel_would(held, value).unwrap();
        assert_eq!(text(b"never"), b"always madvise [never]\n");
        assert_eq!(text(b"madvise\n"), held);
        let refused = as_a_kernel_would(held, b"maybe").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(as_a_kernel_would(b"60\n", b"1").unwrap(), b"1");
    }

    #[test]
    fn the_kernel_is_read_as_the_facts_are() {
        let path = "/proc/sys/kernel/osrelease";
        let bytes = Root::host().read(path).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap().trim(),
            Root::host().text(path).unwrap()
        );
    }

    #[test]
    fn no_link_and_no_path_leads_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let inside = dir.path().join("root");
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, "untouched").unwrap();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../outside", inside.join("relative")).unwrap();
        let root = Root::at(&inside);
        for path in [
            "absolute",
            "relative",
            "../outside",
            "/../outside",
            "no/such",
        ] {
            let error = root.write(path, b"changed").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}");
            assert!(root.can_write(path).is_err());
        }
        assert_eq!(fs::read(&outside).unwrap(), b"untouched");
        fs::write(inside.join("value"), "longer than before").unwrap();
        root.write("/value", b"7").unwrap();
        assert_eq!(root.read("value").unwrap(), b"7");
    }
}
