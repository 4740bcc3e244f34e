//! Where requests come in on one shard: each brings a token, each token is looked at.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ninefold_runtime::clock;
use sha2::{Digest, Sha256};

use super::access::Access;
use super::api_keys::{self, Fingerprint};
use super::cache::Cache;
use super::header;
use super::identity::Identity;
use super::jwt;
use super::keys::{KeySet, Looking};
use super::refusal::{Flaw, Refusal};
use crate::http::Head;
use crate::limits::{KEY_WAITS, Limits};

/// The gate of one shard.
pub(crate) struct Gate {
    access: Arc<Access>,
    keys: RefCell<Arc<KeySet>>,
    cache: RefCell<Cache>,
    looking: Option<Arc<Looking>>,
    waiting: Waiting,
    token_bytes: usize,
}

/// Requests that wait for keys, each with what was received of it.
#[derive(Default)]
struct Waiting(Cell<usize>);

/// One of them, while it lives.
pub(crate) struct Waiter<'a>(&'a Waiting);

impl Waiting {
    fn enter(&self) -> Option<Waiter<'_>> {
        let waiting = self.0.get();
        (waiting < KEY_WAITS).then(|| {
            self.0.set(waiting + 1);
            Waiter(self)
        })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
    }
}

/// What became of a look at a token.
pub(crate) enum Judged {
    /// It is good; whether that was known already.
    Admitted(Rc<Identity>, bool),
    Refused(Refusal),
    /// It may be, once the look for keys with this number has been done.
    Waits(u64, Refusal),
}

impl Gate {
    pub(crate) fn new(access: Arc<Access>, limits: &Limits) -> Self {
        Self {
            keys: RefCell::new(access.board().newest()),
            access,
            cache: RefCell::new(Cache::new(limits.auth_cache_count)),
            looking: None,
            waiting: Waiting::default(),
            token_bytes: limits.auth_token_bytes,
        }
    }

    /// Lets this gate ask for newer keys.
    pub(crate) fn look_by(&mut self, looking: Arc<Looking>) {
        self.looking = Some(looking);
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Whether the look for keys with this number has been done.
    pub(crate) fn has_looked(&self, number: u64) -> bool {
        let looking = self.looking.as_ref();
        looking.is_none_or(|looking| looking.has_done(number))
    }

    /// Counts a request that waits for keys; `None` at the limit.
    pub(crate) fn begin_wait(&self) -> Option<Waiter<'_>> {
        self.waiting.enter()
    }

    /// Judges the token of a request. Nothing of an earlier request counts.
    // [mcp:auth-validate]
    pub(crate) fn judge(&self, head: &Head<'_>) -> Judged {
        let token = match header::token(head) {
            Ok(token) => token,
            Err(refusal) => return Judged::Refused(refusal),
        };
        if token.len() > self.token_bytes {
            return Judged::Refused(Refusal::Invalid(Flaw::Unknown));
        }
        self.renew();
        let fingerprint: Fingerprint = Sha256::digest(token).into();
        let now_s = now_s();
        if let Some(known) = self.cache.borrow_mut().find(&fingerprint, now_s) {
            return Judged::Admitted(known, true);
        }
        match self.look_at(token, &fingerprint) {
            Ok((identity, until_s)) => {
                let identity = Rc::new(identity);
                let mut cache = self.cache.borrow_mut();
                cache.put(fingerprint, identity.clone(), until_s);
                Judged::Admitted(identity, false)
            }
            Err(refusal) => match self.ask_for_keys(refusal) {
                Some(number) => Judged::Waits(number, refusal),
                None => Judged::Refused(refusal),
            },
        }
    }

    /// Takes over the newest keys. What was good by others is judged anew: it may be withdrawn.
    fn renew(&self) {
        let mut keys = self.keys.borrow_mut();
        if let Some(newer) = keys.newer() {
            *keys = newer;
            self.cache.borrow_mut().clear();
        }
    }

    fn look_at(&self, token: &str, digest: &Fingerprint) -> Result<(Identity, u64), Refusal> {
        let (keys, policy) = (self.keys.borrow(), self.access.policy());
        if let Some(key) = api_keys::find(&keys.api_keys, digest) {
            let scopes = policy.expand(key.scopes.clone());
            return Ok((Identity::new(None, &key.subject, None, scopes), u64::MAX));
        }
        // Two dots, or it is no JWT and its issuer's keys are of no use.
        let wanted = self.access.wanted.as_ref();
        let wanted = wanted.filter(|_| token.bytes().filter(|&it| it == b'.').count() == 2);
        let wanted = wanted.ok_or(Refusal::Invalid(Flaw::Unknown))?;
        let signers = keys.signers.as_ref().ok_or(Refusal::Unavailable)?;
        let verified = jwt::judge(token, signers, wanted, policy).map_err(Refusal::Invalid)?;
        Ok((verified.identity, verified.until_s))
    }

    /// Asks for newer keys where they could help; the number of the look to wait for.
    fn ask_for_keys(&self, refusal: Refusal) -> Option<u64> {
        let helps = matches!(
            refusal,
            Refusal::Unavailable | Refusal::Invalid(Flaw::UnknownKey)
        );
        let looking = self.looking.as_ref().filter(|_| helps)?;
        looking.ask(clock::monotonic_ns())
    }
}

/// Seconds since 1970.
fn now_s() -> u64 {
    let since = clock::wall_clock().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_requests_wait_for_keys_and_each_makes_room_when_it_ends() {
        let waiting = Waiting::default();
        let mut waiters: Vec<_> = (0..KEY_WAITS).map(|_| waiting.enter()).collect();
        assert!(waiters.iter().all(Option::is_some));
        assert!(waiting.enter().is_none());
        waiters.pop();
        waiters.push(waiting.enter());
        assert!(waiters.iter().all(Option::is_some) && waiting.enter().is_none());
    }
}
