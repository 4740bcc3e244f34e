//! Static API keys: a TOML file with a SHA-256 digest, a subject and scopes for each.
//!
//! ```toml
//! [[key]]
//! subject = "nightly"
//! sha256 = "64 hexadecimal digits"
//! scopes = ["tools:read"]
//! ```
//!
//! A key is a long random string, so a plain digest cannot be turned back; a password is not.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::scopes::is_scope;

/// Longest name of a subject in bytes.
const SUBJECT_BYTES: usize = 256;

/// A SHA-256 digest of a token.
pub(super) type Fingerprint = [u8; 32];

/// One key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiKey {
    pub(super) subject: Box<str>,
    pub(super) scopes: Vec<Box<str>>,
    digest: Fingerprint,
}

/// The key whose digest is `fingerprint`. Looks at all of them, whichever it is, and compares in
/// constant time, so that the time tells nothing of digests.
pub(super) fn find<'a>(keys: &'a [ApiKey], fingerprint: &Fingerprint) -> Option<&'a ApiKey> {
    let mut at = u32::MAX;
    for (index, key) in (0..).zip(keys) {
        let same: Choice = key.digest.ct_eq(fingerprint);
        at.conditional_assign(&index, same);
    }
    keys.get(usize::try_from(at).ok()?)
}

/// Reads the text of a file.
///
/// # Errors
/// What was wanted and what was found.
pub(super) fn read(text: &str, count_max: usize) -> Result<Vec<ApiKey>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {
        #[serde(default)]
        key: Vec<Key>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Key {
        subject: String,
        sha256: String,
        #[serde(default)]
        scopes: Vec<String>,
    }
    // Without the excerpt that a whole error shows: digests have no place in a log.
    let file: Keys = toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |at| 1 + text[..at.start].matches('\n').count());
        format!("line {line}: {}", error.message().trim_end())
    })?;
    if file.key.len() > count_max {
        return Err(format!("{} keys, at most {count_max}", file.key.len()));
    }
    let mut keys: Vec<ApiKey> = Vec::with_capacity(file.key.len());
    for (nth, key) in (1..).zip(file.key) {
        let refuse = |what: &str| Err(format!("key {nth}: {what}"));
        if key.subject.is_empty() || key.subject.len() > SUBJECT_BYTES {
            return refuse("wanted a subject of 1 to 256 bytes");
        }
        let Some(digest) = from_hex(&key.sha256) else {
            return refuse("sha256: wanted 64 hexadecimal digits, as `sha256sum` prints them");
        };
        if let Some(scope) = key.scopes.iter().find(|it| !is_scope(it)) {
            return refuse(&format!("{scope:?} is no scope (RFC 6749, 3.3)"));
        }
        if keys.iter().any(|it| it.digest == digest) {
            return refuse("a key of this digest is there already");
        }
        keys.push(ApiKey {
            subject: key.subject.into(),
            scopes: key.scopes.into_iter().map(Into::into).collect(),
            digest,
        });
    }
    Ok(keys)
}

fn from_hex(text: &str) -> Option<Fingerprint> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Reads a file that decides who may come in: a regular one, of at most `bytes_max`, that only its
/// owner can write and strangers cannot read.
///
/// # Errors
/// What was wanted and what was found.
pub(super) fn open_private(path: &Path, bytes_max: usize) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    // Of the open file, so that it cannot be exchanged in between.
    let facts = file.metadata().map_err(|error| error.to_string())?;
    if !facts.is_file() {
        return Err("wanted a regular file".to_owned());
    }
    let owner = facts.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(format!(
            "it belongs to user {owner}: wanted root or the node's own user"
        ));
    }
    let mode = facts.mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(format!(
            "its mode is {mode:03o}: wanted 600 or 640, `chmod 600` it"
        ));
    }
    read_bounded(file, bytes_max)
}

/// Reads at most `bytes_max` of a file of text.
pub(super) fn read_bounded(file: File, bytes_max: usize) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("it is over the limit of {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "wanted UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn digest(key: &str) -> Fingerprint {
        Sha256::digest(key).into()
    }

    fn hex(digest: &Fingerprint) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_key_is_found_by_its_digest_and_no_other() {
        let entry = |subject: &str, key: &str| {
            let digest = hex(&digest(key));
            format!("[[key]]\nsubject = \"{subject}\"\nsha256 = \"{digest}\"\nscopes = [\"s\"]\n")
        };
        let text = [
            entry("a", "first"),
            entry("b", "second"),
            entry("a", "third"),
        ]
        .concat();
        let keys = read(&text, 3).unwrap();
        for (key, subject) in [("first", "a"), ("second", "b"), ("third", "a")] {
            assert_eq!(&*find(&keys, &digest(key)).unwrap().subject, subject);
        }
        assert_eq!(find(&keys, &digest("fourth")), None);
        assert_eq!(find(&[], &digest("first")), None);
        assert!(read(&text, 2).unwrap_err().contains("3 keys, at most 2"));
        assert_eq!(read("", 1), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_digests() {
        let good = "0123456789abcdef".repeat(4);
        let key = |fields: &str| format!("[[key]]\n{fields}");
        let twice = format!("[[key]]\nsubject = \"a\"\nsha256 = \"{good}\"\n").repeat(2);
        for (text, wanted) in [
            (key("subject = \"a\""), "line 1"),
            (
                key("subject = \"\"\nsha256 = \"0\""),
                "key 1: wanted a subject",
            ),
            (
                key("subject = \"a\"\nsha256 = \"0\""),
                "64 hexadecimal digits",
            ),
            (
                key("subject = \"a\"\nsha256 = \"0\"\nscope = \"x\""),
                "line 4: unknown field",
            ),
            (
                key(&format!(
                    "subject = \"a\"\nsha256 = \"{good}\"\nscopes = [\"a b\"]"
                )),
                "\"a b\" is no scope",
            ),
            (twice, "key 2: a key of this digest"),
            ("[[key]".to_owned(), "line 1"),
        ] {
            let why = read(&text, 9).unwrap_err();
            assert!(why.contains(wanted), "{why}");
            assert!(!why.contains(&good) && !why.contains('\n'), "{why}");
        }
    }
}
