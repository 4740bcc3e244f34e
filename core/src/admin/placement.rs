//! `/placement`: where the node runs, what it holds of its host, and what the host lacks.

use ninefold_tuning::facts::process::self_locked_bytes;
use serde::Serialize;

use super::Status;

#[derive(Serialize)]
struct Placement<'s> {
    shards: Vec<Shard>,
    control: Control,
    oversubscribed: bool,
    blocking_cpus: &'s [u32],
    memory: Memory,
    /// `None` when nobody checked the host.
    host: Option<Host<'s>>,
}

#[derive(Serialize)]
struct Shard {
    shard: usize,
    cpu: u32,
}

#[derive(Serialize)]
struct Control {
    cpu: u32,
    shared_with_shard: bool,
}

#[derive(Serialize)]
struct Memory {
    /// All of it, by mlockall.
    locked: bool,
    /// `None` when the kernel does not say.
    locked_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Host<'s> {
    profile: &'static str,
    c_states_held: bool,
    required_unmet: &'s [String],
    advised_unmet: &'s [String],
}

/// The document, as JSON.
pub(super) fn document(status: &Status) -> String {
    let plan = &status.plan;
    let cpus = plan.shards.iter().copied();
    let host = status.host.as_deref();
    let placement = Placement {
        shards: cpus
            .enumerate()
            .map(|(shard, cpu)| Shard { shard, cpu })
            .collect(),
        control: Control {
            cpu: plan.control,
            shared_with_shard: plan.control_shared,
        },
        oversubscribed: plan.oversubscribed,
        blocking_cpus: &plan.blocking,
        memory: Memory {
            locked: host.is_some_and(|host| host.memory_locked),
            locked_bytes: self_locked_bytes(),
        },
        host: host.map(|host| Host {
            profile: host.profile.name(),
            c_states_held: host.c_states.is_some(),
            required_unmet: &host.required_unmet,
            advised_unmet: &host.advised_unmet,
        }),
    };
    serde_json::to_string(&placement).unwrap_or_default()
}
