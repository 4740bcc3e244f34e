//! What the process may hold: descriptors and locked memory.

use super::{Change, Reading, Scope, Setting, Severity, Value, Want, to};
use crate::check::Context;

/// What one executor locks for its ring and its registered buffers.
const MEMLOCK_BYTES_PER_SHARD: u64 = 512 << 10;

/// Descriptors that a node needs beside its connections: rings, timers, listeners, files.
const NOFILE_OWN: u64 = 1_024;

/// What a unit is given at least: a descriptor costs nothing until it is open.
const NOFILE_ROUND: u64 = 1 << 20;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        id: "limits.nofile",
        why: "A connection is a descriptor; past the hard limit accept fails with EMFILE.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/proc/self/limits",
        remedy: "LimitNOFILE=1048576 in the unit; docker run --ulimit nofile=1048576; \
                 or start with fewer connections",
        risk: "none",
        reboot: false,
        change: Change::unit(|at| {
            let wanted = at.options.connection_count_max.saturating_add(NOFILE_OWN);
            Some(format!("LimitNOFILE={}", wanted.max(NOFILE_ROUND)))
        }),
        absent: None,
        // The node raises the soft limit itself.
        read: |at| {
            at.facts
                .limits
                .nofile
                .map(|limit| limit.hard.ceiling())
                .into()
        },
        want: |at| {
            let connections = at.options.connection_count_max;
            Want::AtLeast(Value::Count(connections.saturating_add(NOFILE_OWN)))
        },
    },
    Setting {
        id: "limits.memlock",
        why: "Rings and registered buffers are locked memory; too little of it means smaller rings \
              or a shard that cannot start.",
        severity: Severity::Production,
        scope: Scope::Anywhere,
        source: "/proc/self/limits",
        remedy: "LimitMEMLOCK=infinity in the unit; docker run --ulimit memlock=-1",
        risk: "none",
        reboot: false,
        change: Change::unit(|_| to("LimitMEMLOCK=infinity")),
        absent: None,
        read: memlock,
        want: |at| {
            // One ring more: the control plane has its own.
            let rings = (at.shard_count as u64).saturating_add(1);
            Want::AtLeast(Value::Bytes(rings.saturating_mul(MEMLOCK_BYTES_PER_SHARD)))
        },
    },
];

fn memlock(at: &Context<'_>) -> Reading {
    let limits = &at.facts.limits;
    match limits.cap_ipc_lock {
        Some(true) => Reading::Moot("CAP_IPC_LOCK lifts the limit"),
        _ => limits
            .memlock
            .map(|limit| Value::Bytes(limit.hard.ceiling()))
            .into(),
    }
}
