//! Where a client may be sent: what a server, or an authorization server, names is not gone to
//! unless it is safe (Security Best Practices, Server-Side Request Forgery).
//!
//! Everything is https, but for this very host. Addresses of private networks are gone to only if
//! the server is itself at such an address, or if the user says so: a server on the Internet must
//! not make its clients knock at doors behind their firewalls. Names are judged by the addresses
//! that are connected to, not by those that an earlier look-up has found.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use super::error::AuthError;

/// What may be gone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) private: bool,
}

impl Places {
    /// Those that a server at `server` may name; `private` says that its network is trusted.
    pub(crate) fn of(server: &Uri, private: bool) -> Self {
        let own = matches!(host(server), Host::Address(at) if !is_public(at));
        Self {
            private: private || own || is_loopback(server),
        }
    }

    /// The URL, if it may be gone to; `what` is there.
    pub(crate) fn check(self, what: &'static str, url: &str) -> Result<Uri, AuthError> {
        let bad = |why| AuthError::Url {
            what,
            url: url.to_owned(),
            why,
        };
        let uri: Uri = url.parse().map_err(|_| bad("it is no URL"))?;
        let Some(authority) = uri.authority() else {
            return Err(bad("wanted a whole URL, with scheme and host"));
        };
        if authority.as_str().contains('@') {
            return Err(bad("it carries credentials"));
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(&uri) => {}
            Some("http") => return Err(bad("wanted https, as it is not on this host")),
            _ => return Err(bad("wanted https")),
        }
        let private = match host(&uri) {
            Host::Address(at) => !is_public(at),
            Host::Name(name) => is_local_name(&name),
        };
        match private && !self.private {
            true => Err(bad(
                "it is an address of a private network, and the server's own is not: \
                 say that they may be used, if you trust the server that far",
            )),
            false => Ok(uri),
        }
    }
}

enum Host {
    Address(IpAddr),
    Name(String),
}

fn host(uri: &Uri) -> Host {
    let host = uri.host().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match bare.unwrap_or(host).parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(host.to_ascii_lowercase()),
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a URL is of this very host.
pub(crate) fn is_loopback(uri: &Uri) -> bool {
    match host(uri) {
        Host::Address(address) => address.is_loopback(),
        Host::Name(name) => is_local_name(&name),
    }
}

/// Scheme, host and port of a URL, the port spelt out.
pub(crate) fn origin(uri: &Uri) -> (String, String, u16) {
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let port = uri
        .port_u16()
        .unwrap_or(if scheme == "https" { 443 } else { 80 });
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    (scheme, host, port)
}

/// Whether an address is one of the Internet's.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public_v4(v4),
            // Of all blocks, 2000::/3 is the one that is given out; 2001:db8::/32 is for documents.
            None => {
                let [first, second, ..] = v6.segments();
                first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0x0db8)
            }
        },
    }
}

/// The IPv4 address that is reached through an IPv6 address: mapped, NAT64, 6to4.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, ..] = v6.segments();
    let [.., m, n, o, p] = v6.octets();
    match (a, b) {
        _ if v6.to_ipv4_mapped().is_some() => v6.to_ipv4_mapped(),
        // The rest of the block is for networks' own use (RFC 8215): it is not the Internet's.
        (0x0064, 0xff9b) if v6.segments()[2..6] == [0; 4] => Some(Ipv4Addr::new(m, n, o, p)),
        (0x2002, _) => {
            let ([h, i], [j, k]) = (b.to_be_bytes(), c.to_be_bytes());
            Some(Ipv4Addr::new(h, i, j, k))
        }
        _ => None,
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_documentation()
        || matches!((a, b), (0, _) | (100, 64..=127) | (198, 18..=19))
        || (a, b, c) == (192, 0, 0)
        || a >= 224;
    !special
}

/// Finds the addresses of a name, and leaves out those that are not gone to.
#[derive(Clone)]
pub(crate) struct Resolver {
    inner: GaiResolver,
    places: Places,
}

impl Resolver {
    pub(crate) fn new(places: Places) -> Self {
        Self {
            inner: GaiResolver::new(),
            places,
        }
    }
}

/// What a look-up gives when no address may be gone to.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` has addresses of a private network only, which a server elsewhere may not name")]
struct Private(String);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (text, places) = (name.as_str().to_owned(), self.places);
        let found = self.inner.call(name);
        Box::pin(async move {
            let mut found: Vec<_> = found.await?.collect();
            let some = !found.is_empty();
            found.retain(|it| places.private || is_public(it.ip()));
            match some && found.is_empty() {
                true => Err(Private(text).into()),
                false => Ok(found.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_the_internet_names_no_private_places() {
        let places = Places::of(&"https://mcp.example/mcp".parse().unwrap(), false);
        for good in [
            "https://as.example/x?y",
            "https://1.1.1.1",
            "https://[2600::1]:8443/",
        ] {
            assert!(places.check("it", good).is_ok(), "{good}");
        }
        let private = [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fd00::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::808:808]",
            "[2002:a00:1::]",
            "[ff02::1]",
            "localhost",
            "LOCALHOST",
            "a.localhost",
            "localhost.",
        ];
        for host in private {
            let url = format!("https://{host}/x");
            let found = places.check("it", &url);
            assert!(
                matches!(found, Err(AuthError::Url { .. })),
                "{url}: {found:?}"
            );
            let trusted = Places::of(&"https://mcp.example/mcp".parse().unwrap(), true);
            assert!(trusted.check("it", &url).is_ok(), "{url}");
        }
        for bad in [
            "http://as.example",
            "ftp://as.example",
            "javascript:alert(1)",
            "file:///x",
            "",
            "/x",
            "as.example",
            "https://user:pass@as.example/",
            "http://10.0.0.1/",
            "https://",
        ] {
            assert!(places.check("it", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_on_this_host_or_network_names_its_neighbours() {
        for server in [
            "http://localhost:1/mcp",
            "http://127.0.0.1/",
            "https://10.0.0.1/mcp",
        ] {
            let places = Places::of(&server.parse().unwrap(), false);
            assert!(
                places.check("it", "http://localhost:2/x").is_ok(),
                "{server}"
            );
            assert!(places.check("it", "https://10.0.0.2/x").is_ok(), "{server}");
            assert!(places.check("it", "http://10.0.0.2/x").is_err(), "{server}");
        }
    }

    #[test]
    fn names_are_judged_by_what_is_connected_to() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for (private, wanted) in [(true, true), (false, false)] {
            let mut resolver = Resolver::new(Places { private });
            let name: Name = "localhost".parse().unwrap();
            let found = runtime.block_on(async { resolver.call(name).await });
            assert_eq!(found.is_ok_and(|mut it| it.next().is_some()), wanted);
        }
    }
}
