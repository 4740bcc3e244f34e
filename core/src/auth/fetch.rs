//! Fetching a JWK Set over HTTPS, within bounds of bytes and time.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Request, StatusCode, Uri};
use tokio::time::timeout;

use crate::client::pool_for;
use crate::limits::Limits;

/// Whether keys may come from `uri`: over TLS, or from this very host.
pub(super) fn is_trustworthy(uri: &Uri) -> bool {
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(host)) => !host.is_empty(),
        (Some("http"), Some(host)) => matches!(host, "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    }
}

/// Fetches `uri`; what comes is bytes that nobody has looked at.
///
/// # Errors
/// What was wanted and what was found. No redirect is followed: keys are trusted for where they
/// come from.
pub(super) async fn fetch(uri: &Uri, limits: &Limits) -> Result<Vec<u8>, String> {
    let within = Duration::from_millis(limits.jwks_fetch_ms);
    let fetched = timeout(within, exchange(uri, limits)).await;
    fetched.unwrap_or_else(|_| Err(format!("no whole answer within {within:?}")))
}

async fn exchange(uri: &Uri, limits: &Limits) -> Result<Vec<u8>, String> {
    let pool = pool_for(uri, &[], limits.jwks_fetch_ms).map_err(|error| error.to_string())?;
    let request = Request::get(uri.clone()).header("accept", "application/json");
    let request = request
        .body(Default::default())
        .map_err(|error| error.to_string())?;
    let response = pool.request(request).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })?;
    if response.status() != StatusCode::OK {
        return Err(format!("wanted 200, found {}", response.status()));
    }
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if bytes.len() > limits.jwks_bytes {
            return Err(format!("over the limit of {} bytes", limits.jwks_bytes));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_host() {
        let judge = |uri: &str| uri.parse().is_ok_and(|uri| is_trustworthy(&uri));
        for good in [
            "https://as.example/jwks",
            "http://127.0.0.1:9/k",
            "http://[::1]/k",
        ] {
            assert!(judge(good), "{good}");
        }
        for bad in [
            "http://as.example/jwks",
            "file:///jwks",
            "/jwks",
            "ftp://localhost/",
            "",
        ] {
            assert!(!judge(bad), "{bad}");
        }
    }
}
