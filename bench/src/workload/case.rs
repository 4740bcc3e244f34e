//! The cases: how each is called, how much it does, and what it measures.

use serde::{Deserialize, Serialize};

use super::{Backend, Failed, bank, big, chameneos, counting, forkjoin, ping, ring, spawn, stream};
use crate::report::model::Unit;

/// One part in so many of a round warms up before it.
const WARM_UP: u64 = 10;
/// The actors of `mailbox.ring`, and of Savina's thread ring.
const RING: u64 = 1_000;
const THREAD_RING: u64 = 100;

/// One thing that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// A stream of casts to one actor.
    Tell,
    /// Calls one by one.
    Ask,
    /// A rally of two.
    PingPong,
    /// One ball round a thousand actors.
    Ring,
    /// A hundred senders, one receiver.
    FanIn,
    /// One sender, a hundred receivers.
    FanOut,
    /// A crowd of idle actors.
    Spawn,
    /// A panic and what comes after it.
    Restart,
    /// Savina's `pingpong`.
    SavinaPingPong,
    /// Savina's `threadring`.
    SavinaThreadRing,
    /// Savina's `count`.
    SavinaCounting,
    /// Savina's `fjcreate`.
    SavinaForkJoin,
    /// Savina's `big`.
    SavinaBig,
    /// Savina's `chameneos`.
    SavinaChameneos,
    /// Savina's `banking`.
    SavinaBank,
}

/// How much is done in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// For CI and a first look.
    Quick,
    /// For figures; Savina's own parameters.
    Thorough,
}

impl Case {
    /// All of them, in the order they run.
    #[cfg(feature = "peers")]
    pub(crate) const ALL: [Self; 15] = [
        Self::Tell,
        Self::Ask,
        Self::PingPong,
        Self::Ring,
        Self::FanIn,
        Self::FanOut,
        Self::Spawn,
        Self::Restart,
        Self::SavinaPingPong,
        Self::SavinaThreadRing,
        Self::SavinaCounting,
        Self::SavinaForkJoin,
        Self::SavinaBig,
        Self::SavinaChameneos,
        Self::SavinaBank,
    ];

    /// The Savina subset.
    pub(crate) const SAVINA: [Self; 7] = [
        Self::SavinaPingPong,
        Self::SavinaThreadRing,
        Self::SavinaCounting,
        Self::SavinaForkJoin,
        Self::SavinaBig,
        Self::SavinaChameneos,
        Self::SavinaBank,
    ];

    /// Metrics of a round, in the order in which [`Case::round`] gives them.
    pub(crate) fn metrics(self) -> &'static [(&'static str, Unit)] {
        match self {
            Self::Tell => &[("mailbox.tell.ns", Unit::Ns)],
            Self::Ask => &[("mailbox.ask.p50_ns", Unit::Ns)],
            Self::PingPong => &[("mailbox.pingpong.ns", Unit::Ns)],
            Self::Ring => &[("mailbox.ring.ns", Unit::Ns)],
            Self::FanIn => &[("mailbox.fanin.ns", Unit::Ns)],
            Self::FanOut => &[("mailbox.fanout.ns", Unit::Ns)],
            Self::Spawn => &[
                ("actor.spawn.per_s", Unit::PerSecond),
                ("actor.idle.bytes", Unit::Bytes),
            ],
            Self::Restart => &[("actor.restart.p50_us", Unit::Us)],
            Self::SavinaPingPong => &[("savina.pingpong.ns", Unit::Ns)],
            Self::SavinaThreadRing => &[("savina.threadring.ns", Unit::Ns)],
            Self::SavinaCounting => &[("savina.counting.ns", Unit::Ns)],
            Self::SavinaForkJoin => &[("savina.forkjoin.ns", Unit::Ns)],
            Self::SavinaBig => &[("savina.big.ns", Unit::Ns)],
            Self::SavinaChameneos => &[("savina.chameneos.ns", Unit::Ns)],
            Self::SavinaBank => &[("savina.bank.ns", Unit::Ns)],
        }
    }

    /// How many of what [`Case::round`] counts make a round.
    pub(crate) fn amount(self, depth: Depth) -> u64 {
        let (quick, thorough) = match self {
            Self::Tell | Self::FanIn | Self::FanOut => (200_000, 2_000_000),
            Self::Ask => (50_000, 500_000),
            Self::PingPong | Self::Ring => (100_000, 1_000_000),
            Self::Spawn => (50_000, 200_000),
            Self::Restart => (2_000, 20_000),
            Self::SavinaPingPong => (10_000, 40_000),
            Self::SavinaThreadRing => (50_000, 100_000),
            Self::SavinaCounting => (200_000, 1_000_000),
            Self::SavinaForkJoin => (10_000, 40_000),
            Self::SavinaBig => (500, 20_000),
            Self::SavinaChameneos => (20_000, 200_000),
            Self::SavinaBank => (10_000, 50_000),
        };
        match depth {
            Depth::Quick => quick,
            Depth::Thorough => thorough,
        }
    }

    /// A warm-up, then one round of `amount` messages, hops, actors, restarts, pings (of each
    /// worker in big), meetings or transfers. Nothing where the backend lacks what it takes.
    pub(crate) async fn round<B: Backend>(self, amount: u64) -> Result<Vec<f64>, Failed> {
        // What is weighed must be new: a crowd does not warm up.
        if self != Self::Spawn {
            self.once::<B>((amount / WARM_UP).max(1)).await?;
        }
        self.once::<B>(amount).await
    }

    async fn once<B: Backend>(self, amount: u64) -> Result<Vec<f64>, Failed> {
        let ns_each = match self {
            Self::Tell => stream::tell::<B>(amount).await?,
            Self::PingPong => ring::go_round::<B>(2, amount).await?,
            Self::Ring => ring::go_round::<B>(RING, amount).await?,
            Self::FanIn => stream::fan_in::<B>(amount).await?,
            Self::FanOut => stream::fan_out::<B>(amount).await?,
            Self::SavinaPingPong => ping::ping_pong::<B>(amount).await?,
            Self::SavinaThreadRing => ring::go_round::<B>(THREAD_RING, amount).await?,
            Self::SavinaCounting => counting::count::<B>(amount).await?,
            Self::SavinaForkJoin => forkjoin::create::<B>(amount).await?,
            Self::SavinaBig => big::big::<B>(amount).await?,
            Self::SavinaChameneos => chameneos::meet::<B>(amount).await?,
            Self::SavinaBank => bank::bank::<B>(amount).await?,
            Self::Ask => stream::ask::<B>(amount).await?.at(0.5) as f64,
            Self::Restart => {
                let latency = B::restarts(amount).await?;
                return Ok(latency.iter().map(|all| all.at(0.5) as f64 / 1e3).collect());
            }
            Self::Spawn => {
                let crowd = spawn::crowd::<B>(amount).await?;
                return Ok([crowd.per_s].into_iter().chain(crowd.bytes).collect());
            }
        };
        Ok(vec![ns_each])
    }
}
