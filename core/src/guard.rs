//! Host and Origin checks: a web page must not reach a local node through DNS rebinding.

use crate::http::Head;

/// Which hosts and origins may speak to this node.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Host must be loopback or in `hosts`; otherwise any Host passes.
    check_host: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
}

/// Which check refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// Host.
    #[error("Forbidden: Host is neither loopback nor in the list of allowed hosts")]
    Host,
    /// Origin.
    #[error("Forbidden: Origin is neither loopback nor in the list of allowed origins")]
    Origin,
}

impl Guard {
    /// The guard of a node whose listener is bound to a loopback address, or to others.
    pub fn new(loopback: bool) -> Self {
        Self {
            check_host: loopback,
            hosts: Vec::new(),
            origins: Vec::new(),
        }
    }

    /// Also allows `host`, without port; from then on Host is checked on every listener.
    #[must_use]
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.check_host = true;
        self.hosts.push(host.into());
        self
    }

    /// Also allows `origin` as browsers send it, such as `https://example.com`.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// Checks one request.
    pub fn check(&self, head: &Head<'_>) -> Result<(), Foreign> {
        if self.check_host && !head.host.is_some_and(|host| self.host_allowed(host)) {
            return Err(Foreign::Host);
        }
        match head.origin {
            Some(origin) if !self.origin_allowed(origin) => Err(Foreign::Origin),
            _ => Ok(()),
        }
    }

    fn host_allowed(&self, authority: &[u8]) -> bool {
        host_of(authority).is_some_and(|host| {
            loopback(host)
                || self
                    .hosts
                    .iter()
                    .any(|it| it.as_bytes().eq_ignore_ascii_case(host))
        })
    }

    fn origin_allowed(&self, origin: &[u8]) -> bool {
        let authority = origin
            .strip_prefix(b"http://")
            .or(origin.strip_prefix(b"https://"));
        authority.and_then(host_of).is_some_and(loopback)
            || self
                .origins
                .iter()
                .any(|it| it.as_bytes().eq_ignore_ascii_case(origin))
    }
}

fn loopback(host: &[u8]) -> bool {
    host == b"127.0.0.1" || host.eq_ignore_ascii_case(b"localhost") || host == b"[::1]"
}

/// The host of `host[:port]`, brackets kept; `None` unless the port is a number.
fn host_of(authority: &[u8]) -> Option<&[u8]> {
    let end = match authority {
        [b'[', ..] => memchr::memchr(b']', authority)? + 1,
        _ => memchr::memchr(b':', authority).unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    match port {
        [] => Some(host),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            Some(host)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_pass_by_default() {
        let guard = Guard::new(true);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.0.0.1",
            "[::1]:8080",
        ] {
            assert!(guard.host_allowed(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "evil.example.com",
            "localhost.evil.example.com",
            "127.0.0.1.evil.example.com",
            "localhost:80@evil.example.com",
            "localhost:x",
            "127.0.0.2",
            "[::1",
            "[::2]",
            "[::1]x",
        ] {
            assert!(!guard.host_allowed(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn origins_are_loopback_or_listed() {
        let guard = Guard::new(true).allow_origin("https://app.example.com");
        for origin in [
            "http://localhost:3000",
            "https://127.0.0.1",
            "https://app.example.com",
        ] {
            assert!(guard.origin_allowed(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://app.example.com",
            "file://localhost",
            "localhost",
        ] {
            assert!(!guard.origin_allowed(origin.as_bytes()), "{origin}");
        }
    }

    #[test]
    fn a_listed_host_passes_without_regard_to_case_and_port() {
        let guard = Guard::new(false).allow_host("mcp.example.com");
        assert!(guard.host_allowed(b"MCP.example.com:443"));
        assert!(!guard.host_allowed(b"example.com"));
    }
}
