//! The thread that keeps the keys: fetches those of the authorization server, reads the files
//! again when they change, and publishes a new set. No shard waits for any of it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::Uri;
use ninefold_runtime::{clock, thread};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::access::Access;
use super::api_keys::{ApiKey, open_private, read_bounded};
use super::fetch::fetch;
use super::jwks::Signer;
use super::keys::Looking;
use super::{api_keys, jwks};
use crate::limits::Limits;

/// Where the keys of an authorization server come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Url(Uri),
    File(Box<Path>),
}

/// Reads a file of API keys.
pub(super) fn read_api_keys(path: &Path, limits: &Limits) -> Result<Vec<ApiKey>, String> {
    let text = open_private(path, limits.auth_file_bytes)?;
    api_keys::read(&text, limits.auth_key_count)
}

/// Reads a file with a JWK Set: public keys, so whoever likes may read it.
pub(super) fn read_jwks(path: &Path, limits: &Limits) -> Result<Vec<Signer>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let text = read_bounded(file, limits.jwks_bytes)?;
    jwks::read(text.as_bytes(), limits.jwks_count)
}

/// The thread, while it runs; ends when dropped.
pub(crate) struct Keeper {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread on `cpus`; shards ask it through what is returned beside it.
    pub(crate) fn start(
        access: Arc<Access>,
        limits: Limits,
        cpus: Vec<u32>,
    ) -> io::Result<(Self, Arc<Looking>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (looking, wishes) = Looking::new(ns(limits.jwks_refresh_min_ms));
        let looking = Arc::new(looking);
        let (end, ended) = oneshot::channel();
        let keeping = Keeping {
            access,
            limits,
            looking: looking.clone(),
            fetched_ns: None,
            text: Vec::new(),
            troubles: [None, None],
        };
        // The first keys are worth a wait of those who come before them.
        looking.begin(clock::monotonic_ns());
        let thread = thread::spawn_on_set("keys".to_owned(), cpus, move || {
            runtime.block_on(async {
                tokio::select! {
                    () = keeping.keep(wishes) => {}
                    _ = ended => {}
                }
            });
            // A name that is being looked up must not hold up the end of the node.
            runtime.shutdown_background();
        })?;
        let keeper = Self {
            end: Some(end),
            thread: Some(thread),
        };
        Ok((keeper, looking))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that keeps the keys panicked");
        }
    }
}

struct Keeping {
    access: Arc<Access>,
    limits: Limits,
    looking: Arc<Looking>,
    /// When the keys in use came.
    fetched_ns: Option<u64>,
    /// The text that they were read from.
    text: Vec<u8>,
    /// What was last said of the JWK Set and of the file of API keys, so that it is said once.
    troubles: [Option<String>; 2],
}

const JWKS: usize = 0;
const API_KEYS: usize = 1;

impl Keeping {
    async fn keep(mut self, mut wishes: mpsc::Receiver<()>) {
        let (mut fetch_ns, mut look_ns) = (0, 0);
        loop {
            let now_ns = clock::monotonic_ns();
            if now_ns >= fetch_ns {
                fetch_ns = self.fetch(now_ns).await;
            } else if now_ns >= look_ns {
                self.look();
                look_ns = now_ns + ns(self.limits.auth_reload_ms);
            } else {
                let wait = Duration::from_nanos(fetch_ns.min(look_ns) - now_ns);
                match timeout(wait, wishes.recv()).await {
                    Ok(Some(())) => fetch_ns = 0,
                    Ok(None) => return,
                    Err(_) => {}
                }
            }
        }
    }

    /// Gets the keys of the authorization server; when that is to be done again.
    async fn fetch(&mut self, now_ns: u64) -> u64 {
        self.looking.begin(now_ns);
        let asked = self.looking.asked();
        let fetched = match self.access.source() {
            Some(Source::Url(uri)) => {
                let text = fetch(uri, &self.limits).await;
                text.map_err(|why| format!("{uri}: {why}"))
            }
            Some(Source::File(_)) | None => {
                self.look();
                self.looking.end(asked);
                return u64::MAX;
            }
        };
        let read = fetched.and_then(|text| {
            if self.fetched_ns.is_some() && text == self.text {
                return Ok(None);
            }
            let signers = jwks::read(&text, self.limits.jwks_count)?;
            self.text = text;
            Ok(Some(signers))
        });
        let again_ms = match read {
            Ok(signers) => {
                self.fetched_ns = Some(now_ns);
                if let Some(signers) = signers {
                    tracing::info!(keys = signers.len(), "the authorization server's keys came");
                    self.access.board().set_signers(Some(signers));
                }
                self.say(JWKS, None);
                self.limits.jwks_refresh_ms
            }
            Err(why) => {
                self.say(JWKS, Some(why));
                self.forget_old(now_ns);
                self.limits.jwks_refresh_min_ms
            }
        };
        self.looking.end(asked);
        clock::monotonic_ns() + ns(again_ms)
    }

    /// Keys that could not be fetched again for long may have been withdrawn.
    fn forget_old(&mut self, now_ns: u64) {
        let keep_ns = ns(self.limits.jwks_keep_ms);
        let old = |fetched_ns| now_ns.saturating_sub(fetched_ns) > keep_ns;
        if self.fetched_ns.is_some_and(old) {
            tracing::error!("the authorization server's keys are too old, and are not used");
            self.fetched_ns = None;
            self.access.board().set_signers(None);
        }
    }

    /// Reads the files again, and publishes what has changed. A file that is no good any more
    /// changes nothing.
    fn look(&mut self) {
        if let Some(path) = self.access.api_keys_file() {
            match read_api_keys(path, &self.limits) {
                Ok(keys) => {
                    if keys != *self.access.board().newest().api_keys {
                        tracing::info!(keys = keys.len(), "the API keys have changed");
                        self.access.board().set_api_keys(keys);
                    }
                    self.say(API_KEYS, None);
                }
                Err(why) => {
                    let why = format!("{}: {why}", path.display());
                    self.say(API_KEYS, Some(why));
                }
            }
        }
        if let Some(Source::File(path)) = self.access.source() {
            let text = File::open(path)
                .map_err(|error| error.to_string())
                .and_then(|file| read_bounded(file, self.limits.jwks_bytes));
            let read = text.and_then(|text| {
                if text.as_bytes() == self.text {
                    return Ok(None);
                }
                let signers = jwks::read(text.as_bytes(), self.limits.jwks_count)?;
                self.text = text.into_bytes();
                Ok(Some(signers))
            });
            match read {
                Ok(Some(signers)) => self.access.board().set_signers(Some(signers)),
                Ok(None) => {}
                Err(why) => {
                    let why = format!("{}: {why}", path.display());
                    return self.say(JWKS, Some(why));
                }
            }
            self.say(JWKS, None);
        }
    }

    /// Says what is wrong with a source, once; and once when it is good again.
    fn say(&mut self, of: usize, trouble: Option<String>) {
        let what = ["the authorization server's keys", "the API keys"][of];
        match (&trouble, &self.troubles[of]) {
            (Some(why), known) if known.as_ref() != Some(why) => {
                tracing::error!(%why, "{what} could not be read: those before stay in use");
            }
            (None, Some(_)) => tracing::info!("{what} can be read again"),
            _ => {}
        }
        self.troubles[of] = trouble;
    }
}

fn ns(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}
