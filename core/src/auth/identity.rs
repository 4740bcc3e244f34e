//! Who a request comes from, once its token has been looked at.

use sha2::{Digest, Sha256};

/// The subject of an accepted token, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    subject: Box<str>,
    issuer: Option<Box<str>>,
    client: Option<Box<str>>,
    scopes: Vec<Box<str>>,
    owner: Owner,
}

/// What sessions, tasks and states of rounds are bound to: a digest of where the subject comes from
/// and of its name. Half of SHA-256 suffices, since nobody chooses the subject that is to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner([u8; 16]);

impl Owner {
    fn of(issuer: Option<&str>, subject: &str) -> Self {
        let mut hash = Sha256::new();
        // An issuer is a URL, so nothing of it can be taken for the tag of a key.
        hash.update(issuer.unwrap_or("key"));
        hash.update([0]);
        hash.update(subject);
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(half)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Identity {
    pub(super) fn new(
        issuer: Option<&str>,
        subject: &str,
        client: Option<&str>,
        scopes: Vec<Box<str>>,
    ) -> Self {
        Self {
            subject: subject.into(),
            issuer: issuer.map(Into::into),
            client: client.map(Into::into),
            scopes,
            owner: Owner::of(issuer, subject),
        }
    }

    /// The subject: the claim `sub` of a token, or the name of an API key.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Who issued the token; `None` for an API key.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The OAuth client that the token was issued to, where the token says so.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// The scopes granted, with those that they imply.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(AsRef::as_ref)
    }

    /// Whether `scope` was granted, or is implied by one that was.
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|it| **it == *scope)
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_subject_of_an_issuer() {
        let owner = |issuer, subject| Identity::new(issuer, subject, None, vec![]).owner();
        let mine = owner(Some("https://a.example"), "me");
        assert_eq!(mine, owner(Some("https://a.example"), "me"));
        assert_ne!(mine, owner(Some("https://b.example"), "me"));
        assert_ne!(mine, owner(Some("https://a.example"), "you"));
        assert_ne!(mine, owner(None, "me"));
    }
}
