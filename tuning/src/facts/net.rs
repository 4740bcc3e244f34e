//! The network: TCP settings, and what the sockets of the host use.

use serde::{Deserialize, Serialize};

use super::root::{Probe, Root};

/// TCP settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetFacts {
    /// The longest accept queue (`net.core.somaxconn`).
    pub somaxconn: Option<u64>,
    /// Half-open connections per listener (`net.ipv4.tcp_max_syn_backlog`).
    pub tcp_max_syn_backlog: Option<u64>,
    /// Ports for outgoing connections (`net.ipv4.ip_local_port_range`).
    pub port_range: Option<PortRange>,
    /// Pages of TCP memory: no pressure below, pressure from, never above (`net.ipv4.tcp_mem`).
    pub tcp_mem_pages: Option<[u64; 3]>,
    /// Connections that connection tracking holds now; absent when it is not loaded.
    pub conntrack_count: Option<u64>,
    /// Connections that it can hold.
    pub conntrack_max: Option<u64>,
    /// How long a socket polls its queue (`net.core.busy_poll`), in microseconds.
    pub busy_poll_us: Option<u64>,
}

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// How many ports there are.
    pub fn len(self) -> u64 {
        (u64::from(self.last) + 1).saturating_sub(u64::from(self.first))
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl NetFacts {
    pub(super) fn read(probe: &Probe<'_>) -> Self {
        let ipv4 = |name| format!("/proc/sys/net/ipv4/{name}");
        // Without the module these files are absent on every host: no gap worth a note.
        let conntrack = |name| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            probe.root().text(&path).ok()?.parse().ok()
        };
        Self {
            somaxconn: probe.value("/proc/sys/net/core/somaxconn"),
            tcp_max_syn_backlog: probe.value(&ipv4("tcp_max_syn_backlog")),
            port_range: probe.with(&ipv4("ip_local_port_range"), |text| {
                let [first, last] = numbers(text)?;
                Some(PortRange { first, last })
            }),
            tcp_mem_pages: probe.with(&ipv4("tcp_mem"), numbers),
            conntrack_count: conntrack("count"),
            conntrack_max: conntrack("max"),
            busy_poll_us: probe.value("/proc/sys/net/core/busy_poll"),
        }
    }
}

/// What the sockets of this network namespace use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sockstat {
    /// TCP sockets over IPv4 in use.
    pub tcp_in_use: u64,
    /// TCP sockets over IPv6 in use.
    pub tcp6_in_use: u64,
    /// TCP sockets that no process holds any more.
    pub tcp_orphan: u64,
    /// Connections in TIME_WAIT.
    pub tcp_time_wait: u64,
    /// TCP sockets allocated, in whatever state.
    pub tcp_alloc: u64,
    /// Pages of memory that TCP holds for all of them.
    pub tcp_mem_pages: u64,
}

/// Reads the socket counters of this host (`/proc/net/sockstat`).
pub fn sockstat() -> Option<Sockstat> {
    let root = Root::host();
    let v4 = root.text("/proc/net/sockstat").ok()?;
    // A kernel without IPv6 has no second file.
    let v6 = root.text("/proc/net/sockstat6").unwrap_or_default();
    parse_sockstat(&v4, &v6)
}

fn parse_sockstat(v4: &str, v6: &str) -> Option<Sockstat> {
    Some(Sockstat {
        tcp_in_use: counter(v4, "TCP:", "inuse")?,
        tcp6_in_use: counter(v6, "TCP6:", "inuse").unwrap_or(0),
        tcp_orphan: counter(v4, "TCP:", "orphan")?,
        tcp_time_wait: counter(v4, "TCP:", "tw")?,
        tcp_alloc: counter(v4, "TCP:", "alloc")?,
        tcp_mem_pages: counter(v4, "TCP:", "mem")?,
    })
}

/// The number behind `key` in the line that begins with `label`.
fn counter(text: &str, label: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_whitespace()
        .skip_while(|&word| word != key)
        .nth(1)?
        .parse()
        .ok()
}

/// Exactly `N` numbers with white space between.
fn numbers<T: std::str::FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
    let numbers: Option<Vec<T>> = text
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_socket_counters() {
        let v4 = "sockets: used 13\nTCP: inuse 1 orphan 2 tw 3 alloc 4 mem 101\nUDP: inuse 9 mem 8";
        let found = parse_sockstat(v4, "TCP6: inuse 5\n").unwrap();
        let want = Sockstat {
            tcp_in_use: 1,
            tcp6_in_use: 5,
            tcp_orphan: 2,
            tcp_time_wait: 3,
            tcp_alloc: 4,
            tcp_mem_pages: 101,
        };
        assert_eq!(found, want);
        assert_eq!(parse_sockstat("", ""), None);
        assert_eq!(parse_sockstat("TCP: inuse", ""), None);
        assert_eq!(
            parse_sockstat("TCP: inuse x orphan 2 tw 3 alloc 4 mem 1", ""),
            None
        );
    }

    #[test]
    fn a_listening_socket_is_counted() {
        let before = sockstat().unwrap();
        let sockets: Vec<_> = (0..20)
            .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        assert!(sockstat().unwrap().tcp_in_use >= before.tcp_in_use + 10);
        drop(sockets);
    }

    #[test]
    fn wants_as_many_numbers_as_it_says() {
        assert_eq!(numbers("1\t2\t3"), Some([1u64, 2, 3]));
        assert_eq!(numbers::<u64, 3>("1 2"), None);
        assert_eq!(numbers::<u64, 2>("1 2 3"), None);
        assert_eq!(numbers::<u16, 2>("1 65536"), None);
    }

    #[test]
    fn ports_are_counted_with_both_ends() {
        assert_eq!(
            PortRange {
                first: 32_768,
                last: 60_999
            }
            .len(),
            28_232
        );
        assert_eq!(
            PortRange {
                first: 0,
                last: u16::MAX
            }
            .len(),
            65_536
        );
        assert!(PortRange { first: 9, last: 1 }.is_empty());
    }
}
