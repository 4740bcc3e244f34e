//! Placement: which CPU each shard, the control plane and the blocking pool get.
//!
//! Deterministic: the same topology, mask and policy give the same plan.

use ninefold_tuning::facts::cpu::{Cpu, Topology};

use crate::limits::SHARDS_MAX;

/// How shards are laid over the allowed CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Whole cores first, alternating between memory nodes; SMT siblings last.
    #[default]
    Spread,
    /// Neighbours first: one node and one core, siblings included, before the next.
    Pack,
    /// Exactly these CPUs, in this order.
    Explicit(Vec<u32>),
}

impl std::str::FromStr for Placement {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        match text {
            "spread" => Ok(Placement::Spread),
            "pack" => Ok(Placement::Pack),
            list => list
                .parse::<ninefold_tuning::facts::cpu::CpuList>()
                .map(|cpus| Placement::Explicit(cpus.iter().collect()))
                .map_err(|_| PlacementError::Unknown(list.to_owned())),
        }
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Not the name of a policy nor a CPU list.
    #[error("wanted a placement `spread`, `pack` or a CPU list like `2-5,8`, found {0:?}")]
    Unknown(String),
    /// A CPU that is not allowed to this process.
    #[error(
        "wanted CPU {cpu}, but the mask of this process (taskset, cpuset) allows only {allowed}"
    )]
    NotAllowed {
        /// The CPU asked for.
        cpu: u32,
        /// What may be used.
        allowed: String,
    },
    /// Shards out of range.
    #[error("wanted 1 to {SHARDS_MAX} shards, found {0}")]
    Shards(usize),
    /// The CPU mask could not be read.
    #[error("found no CPU that this process may use")]
    NoCpu,
}

/// Who runs where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The CPU of each shard; index is the shard id.
    pub shards: Vec<u32>,
    /// The CPU of the control plane.
    pub control: u32,
    /// The control plane shares its CPU with a shard.
    pub control_shared: bool,
    /// Several shards share a CPU.
    pub oversubscribed: bool,
    /// The CPUs of the blocking pool: those without a shard, or all when there are none.
    pub blocking: Vec<u32>,
}

impl Plan {
    /// Lays `shards` (default: all CPUs but one for the control plane) over `topology`.
    ///
    /// The first CPU of the order, where the kernel's own work tends to be, goes to the control
    /// plane; with `own_control` false it shares the first shard's CPU.
    ///
    /// # Errors
    /// [`PlacementError`].
    pub fn make(
        topology: &Topology,
        shards: Option<usize>,
        placement: &Placement,
        own_control: bool,
    ) -> Result<Self, PlacementError> {
        if let Some(n) = shards
            && !(1..=SHARDS_MAX).contains(&n)
        {
            return Err(PlacementError::Shards(n));
        }
        let allowed: Vec<Cpu> = topology.allowed_cpus().collect();
        let order = order(&allowed, placement, topology)?;
        let explicit = matches!(placement, Placement::Explicit(_));
        let spare = allowed.iter().map(|c| c.id).find(|id| !order.contains(id));
        let (control, rest) = match (explicit, spare, order.as_slice()) {
            (_, _, []) => return Err(PlacementError::NoCpu),
            // Explicit CPUs are for shards; the control plane takes one that is left.
            (true, Some(spare), all) if own_control => (spare, all),
            (false, _, [first, rest @ ..]) if own_control && !rest.is_empty() => (*first, rest),
            (_, _, all) => (all[0], all),
        };
        let count = shards.unwrap_or(rest.len()).min(SHARDS_MAX);
        let cpus: Vec<u32> = rest.iter().copied().cycle().take(count).collect();
        let blocking: Vec<u32> = allowed
            .iter()
            .map(|c| c.id)
            .filter(|id| !cpus.contains(id))
            .collect();
        Ok(Plan {
            control_shared: cpus.contains(&control),
            oversubscribed: count > rest.len(),
            blocking: if blocking.is_empty() {
                order.clone()
            } else {
                blocking
            },
            shards: cpus,
            control,
        })
    }
}

fn order(
    allowed: &[Cpu],
    placement: &Placement,
    topology: &Topology,
) -> Result<Vec<u32>, PlacementError> {
    let mut cpus = allowed.to_vec();
    match placement {
        Placement::Explicit(list) => {
            for &cpu in list {
                if !allowed.iter().any(|c| c.id == cpu) {
                    let allowed = topology.allowed.to_string();
                    return Err(PlacementError::NotAllowed { cpu, allowed });
                }
            }
            return Ok(list.clone());
        }
        Placement::Pack => cpus.sort_by_key(|c| (c.node, c.package, c.core, c.smt_rank, c.id)),
        Placement::Spread => {
            cpus.sort_by_key(|c| (c.smt_rank, c.node, c.package, c.core, c.id));
            let mut place: std::collections::HashMap<(u32, u32), u32> = Default::default();
            // Rank within (sibling, node), then alternate nodes by that rank.
            let mut ranked: Vec<(u32, u32, Cpu)> = Vec::with_capacity(cpus.len());
            for c in cpus {
                let rank = place.entry((c.smt_rank, c.node)).or_default();
                ranked.push((c.smt_rank, *rank, c));
                *rank += 1;
            }
            ranked.sort_by_key(|(smt, rank, c)| (*smt, *rank, c.node, c.id));
            cpus = ranked.into_iter().map(|(_, _, c)| c).collect();
        }
    }
    Ok(cpus.into_iter().map(|c| c.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two nodes of two cores with two siblings each; ids as Linux numbers them.
    fn host(allowed: &str) -> Topology {
        let cpu = |id: u32| Cpu {
            id,
            node: id % 4 / 2,
            package: id % 4 / 2,
            core: id % 2,
            smt_rank: id / 4,
        };
        Topology {
            online: "0-7".parse().unwrap(),
            allowed: allowed.parse().unwrap(),
            isolated: Default::default(),
            cpus: (0..8).map(cpu).collect(),
        }
    }

    fn plan(allowed: &str, shards: Option<usize>, placement: &str) -> Plan {
        Plan::make(&host(allowed), shards, &placement.parse().unwrap(), true).unwrap()
    }

    #[test]
    fn spread_alternates_nodes_and_leaves_siblings_for_last() {
        let p = plan("0-7", None, "spread");
        assert_eq!((p.control, p.control_shared), (0, false));
        assert_eq!(p.shards, [2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn pack_fills_a_core_before_the_next() {
        assert_eq!(plan("0-7", Some(3), "pack").shards, [4, 1, 5]);
    }

    #[test]
    fn the_mask_is_respected_and_a_single_cpu_is_shared_openly() {
        let p = plan("3", None, "spread");
        assert_eq!(
            (p.shards.as_slice(), p.control, p.control_shared),
            (&[3][..], 3, true)
        );
        assert_eq!(p.blocking, [3]);
        let p = plan("2-3", Some(3), "spread");
        assert_eq!(
            (p.shards.as_slice(), p.oversubscribed),
            (&[3, 3, 3][..], true)
        );
    }

    #[test]
    fn explicit_cpus_are_taken_as_they_are_or_refused() {
        let p = plan("0-3", None, "3,1");
        assert_eq!((p.shards.as_slice(), p.control), (&[1, 3][..], 0));
        let wrong = Plan::make(&host("0-3"), None, &"6".parse().unwrap(), true);
        assert!(matches!(
            wrong,
            Err(PlacementError::NotAllowed { cpu: 6, .. })
        ));
        assert!("nonsense".parse::<Placement>().is_err());
        assert!(Plan::make(&host("0"), Some(0), &Placement::Spread, true).is_err());
    }
}
