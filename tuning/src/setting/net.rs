//! TCP: queues in front of accept, memory behind the sockets, ports and tracking on the load side.

use crate::check::Context;

use super::{Change, Scope, Setting, Severity, Target, Value, Want, to};

/// Ports are 16 bits, and the lowest thousand are reserved.
const PORT_COUNT_MAX: u64 = 60_000;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "net.somaxconn",
        why: "It caps each listener's accept queue; a burst beyond it loses handshakes, and the \
              client's retry takes a second.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/proc/sys/net/core/somaxconn",
        remedy: "sysctl -w net.core.somaxconn=4096 (docker run --sysctl net.core.somaxconn=4096)",
        risk: "low: memory of waiting connections",
        reboot: false,
        change: Change::Files(&[Target::word("/proc/sys/net/core/somaxconn", |_| to("4096"))]),
        absent: None,
        read: |at| at.facts.net.somaxconn.into(),
        want: |_| Want::AtLeast(Value::Count(4096)),
    },
    Setting {
        id: "net.synbacklog",
        why: "It caps half-open connections; a burst beyond it falls back to SYN cookies or is \
              dropped.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/proc/sys/net/ipv4/tcp_max_syn_backlog",
        remedy: "sysctl -w net.ipv4.tcp_max_syn_backlog=4096 (docker run --sysctl likewise)",
        risk: "low: memory of half-open connections",
        reboot: false,
        change: Change::Files(&[Target::word(
            "/proc/sys/net/ipv4/tcp_max_syn_backlog",
            |_| to("4096"),
        )]),
        absent: None,
        read: |at| at.facts.net.tcp_max_syn_backlog.into(),
        want: |_| Want::AtLeast(Value::Count(4096)),
    },
    Setting {
        id: "net.tcp_mem",
        why: "Past this limit TCP drops data and shrinks windows, on every connection at once.",
        severity: Severity::Advised,
        scope: Scope::Anywhere,
        source: "/proc/sys/net/ipv4/tcp_mem",
        remedy: "sysctl -w net.ipv4.tcp_mem=\"LOW PRESSURE MAX\" in pages, MAX at least 3 % of RAM",
        risk: "that much RAM may be held by sockets",
        reboot: false,
        change: Change::Files(&[Target::word("/proc/sys/net/ipv4/tcp_mem", tcp_mem_pages)]),
        absent: Some("the setting belongs to the host's network namespace"),
        read: |at| {
            let pages = at.facts.net.tcp_mem_pages.map(|[_, _, most]| most);
            pages
                .map(|pages| Value::Bytes(pages.saturating_mul(at.facts.memory.page_bytes)))
                .into()
        },
        want: |at| {
            Want::AtLeast(Value::Bytes(
                at.facts.memory.total_bytes.unwrap_or(0) / 100 * 3,
            ))
        },
    },
    Setting {
        id: "net.client",
        why: "A load generator needs a local port per connection to one address; too few and \
              connect fails with EADDRNOTAVAIL.",
        severity: Severity::Measurement,
        scope: Scope::Anywhere,
        source: "/proc/sys/net/ipv4/ip_local_port_range",
        remedy: "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"",
        risk: "low: a service that binds late may find its port taken",
        reboot: false,
        change: Change::Files(&[Target::word(
            "/proc/sys/net/ipv4/ip_local_port_range",
            |_| to("1024 65535"),
        )]),
        absent: None,
        read: |at| at.facts.net.port_range.map(|range| range.len()).into(),
        want: |at| {
            Want::AtLeast(Value::Count(
                at.options.connection_count_max.min(PORT_COUNT_MAX),
            ))
        },
    },
    Setting {
        id: "net.conntrack",
        why: "A full connection-tracking table drops the packets of new connections.",
        severity: Severity::Measurement,
        scope: Scope::Kernel,
        source: "/proc/sys/net/netfilter/nf_conntrack_max",
        remedy: "sysctl -w net.netfilter.nf_conntrack_max=262144, or exempt the node's port with a \
                 notrack rule",
        risk: "low: 320 B a connection",
        reboot: false,
        change: Change::Files(&[Target::word(
            "/proc/sys/net/netfilter/nf_conntrack_max",
            |at| {
                let held = at.facts.net.conntrack_count.unwrap_or(0);
                let wanted = at.options.connection_count_max.saturating_mul(2);
                Some(wanted.saturating_add(held).max(262_144).to_string())
            },
        )]),
        absent: Some("connection tracking is not loaded"),
        read: |at| {
            let held = at.facts.net.conntrack_count.unwrap_or(0);
            at.facts
                .net
                .conntrack_max
                .map(|most| most.saturating_sub(held))
                .into()
        },
        // Over loopback a connection is tracked once; its TIME_WAIT successor comes on top.
        want: |at| {
            Want::AtLeast(Value::Count(
                at.options.connection_count_max.saturating_mul(2),
            ))
        },
    },
];

/// Low, pressure and most: half, three quarters and all of 3 % of memory.
fn tcp_mem_pages(at: &Context<'_>) -> Option<String> {
    let pages = at.facts.memory.total_bytes? / 100 * 3 / at.facts.memory.page_bytes.max(1) + 1;
    Some(format!("{} {} {pages}", pages / 2, pages / 4 * 3))
}
