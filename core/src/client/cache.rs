//! Which era the servers of an origin belong to, remembered beyond one conversation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hyper::Uri;
use ninefold_runtime::clock;

use super::limits::Limits;
use super::peer::lock;
use crate::mcp::Era;

/// Spares a client of a legacy server the question whether it is modern. Clones share what they
/// know; give the same one to all clients of a program by [`super::Options::era_cache`].
#[derive(Clone, Debug, Default)]
pub struct EraCache(Arc<Mutex<HashMap<String, Known>>>);

#[derive(Clone, Copy, Debug)]
struct Known {
    era: Era,
    since_ns: u64,
}

impl EraCache {
    /// A cache that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The era of the origin of `uri`, if it was learnt within `era_cache_ms`.
    pub(crate) fn era(&self, uri: &Uri, limits: &Limits) -> Option<Era> {
        let now_ns = clock::monotonic_ns();
        let known = *lock(&self.0).get(&origin(uri))?;
        let age_ns = now_ns.saturating_sub(known.since_ns);
        (age_ns < limits.era_cache_ms.saturating_mul(1_000_000)).then_some(known.era)
    }

    /// Learns an era. Beyond `era_cache_count` origins the one learnt first is forgotten.
    pub(crate) fn learn(&self, uri: &Uri, era: Era, limits: &Limits) {
        let mut all = lock(&self.0);
        let since_ns = clock::monotonic_ns();
        all.insert(origin(uri), Known { era, since_ns });
        while all.len() > limits.era_cache_count {
            let oldest = all.iter().min_by_key(|(_, known)| known.since_ns);
            let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) else {
                return;
            };
            all.remove(&oldest);
        }
    }

    pub(crate) fn forget(&self, uri: &Uri) {
        lock(&self.0).remove(&origin(uri));
    }
}

/// Scheme, host and port.
fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let port = uri
        .port_u16()
        .unwrap_or(if scheme == "https" { 443 } else { 80 });
    format!("{scheme}://{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_are_known_by_origin_for_their_time_and_in_bounds() {
        let (cache, mut limits) = (EraCache::new(), Limits::default());
        let uri = |text: &str| -> Uri { text.parse().unwrap() };
        cache.learn(&uri("http://A.example/mcp"), Era::Legacy, &limits);
        let known = |text: &str, limits: &Limits| cache.era(&uri(text), limits);
        assert_eq!(
            known("http://a.example:80/other", &limits),
            Some(Era::Legacy)
        );
        assert_eq!(known("https://a.example/mcp", &limits), None);
        limits.era_cache_count = 2;
        for n in 0..3 {
            cache.learn(&uri(&format!("http://{n}.example/")), Era::Modern, &limits);
        }
        assert_eq!(
            known("http://a.example/", &limits),
            None,
            "the oldest is forgotten"
        );
        assert_eq!(known("http://2.example/", &limits), Some(Era::Modern));
        cache.forget(&uri("http://2.example/"));
        assert_eq!(known("http://2.example/", &limits), None);
        limits.era_cache_ms = 0;
        assert_eq!(
            known("http://1.example/", &limits),
            None,
            "its time is over"
        );
    }
}
