//! What everything in a simulation shares: the clock, the chooser, the trace hash, the findings.

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::panic;
use std::rc::Rc;

use rustc_hash::FxHasher;

use super::letter::Letters;
use super::workload::Workload;
use super::{Fault, SimConfig, Violation};
use crate::actor::ActorId;

/// Findings kept of one seed: the first one explains the others.
const VIOLATIONS_MAX: usize = 16;
/// When the virtual clock starts: not at zero, which some fields take for "never".
const BEGIN_NS: u64 = 1_000_000_000;

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// The state of a simulation.
pub(super) struct World {
    pub(super) clock: Rc<Cell<u64>>,
    rng: RefCell<fastrand::Rng>,
    hash: Cell<u64>,
    pub(super) step: Cell<u64>,
    /// The end has begun: nobody starts anything new, nothing fails any more.
    pub(super) calm: Cell<bool>,
    /// Panics that were made on purpose.
    pub(super) panics: Cell<u64>,
    /// The same, of messages that were dropped.
    pub(super) drop_panics: Cell<u64>,
    /// Messages that handlers of the workloads have got.
    pub(super) handled: Cell<u64>,
    pub(super) fault: Option<Fault>,
    pub(super) letters: Letters,
    pub(super) workloads: RefCell<Vec<Rc<dyn Workload>>>,
    violations: RefCell<Vec<Violation>>,
    trace: Option<fn(&str)>,
}

impl World {
    pub(super) fn new(seed: u64, config: &SimConfig) -> Rc<Self> {
        Rc::new(World {
            clock: Rc::new(Cell::new(BEGIN_NS)),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            hash: Cell::new(0),
            step: Cell::new(0),
            calm: Cell::new(false),
            panics: Cell::new(0),
            drop_panics: Cell::new(0),
            handled: Cell::new(0),
            fault: config.fault,
            letters: Letters::default(),
            workloads: RefCell::default(),
            violations: RefCell::default(),
            trace: config.trace,
        })
    }

    /// Makes this the world of the thread until the guard is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Inside {
        Inside(WORLD.replace(Some(self.clone())))
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.get()
    }

    pub(super) fn spend(&self, ns: u64) {
        self.clock.set(self.clock.get() + ns);
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.rng.borrow_mut().u64(..end.max(1))
    }

    pub(super) fn index(&self, len: usize) -> usize {
        self.rng.borrow_mut().usize(..len.max(1))
    }

    pub(super) fn chance(&self, probability: f64) -> bool {
        self.rng.borrow_mut().f64() < probability
    }

    /// As [`World::chance`], but never once the end has begun.
    pub(super) fn unrest(&self, probability: f64) -> bool {
        !self.calm.get() && self.chance(probability)
    }

    /// A span between 1 and about `most`, each order of magnitude as likely as any other.
    pub(super) fn span(&self, most: u64) -> u64 {
        let bits = u64::from(64 - most.leading_zeros());
        1 + self.below(1 << (1 + self.below(bits)))
    }

    /// Whether the simulator is to break what it can break in this way.
    pub(super) fn is_broken(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Folds an event into the trace hash.
    pub(super) fn fold(&self, event: &str, values: &[u64]) {
        let mut hasher = FxHasher::default();
        hasher.write_u64(self.hash.get());
        hasher.write(event.as_bytes());
        hasher.write_u64(self.step.get());
        hasher.write_u64(self.now());
        values.iter().for_each(|value| hasher.write_u64(*value));
        self.hash.set(hasher.finish());
        if let Some(trace) = self.trace {
            let mut line = format!("{:>6} {:>15} {event}", self.step.get(), self.now());
            for value in values {
                // Writing to a string cannot fail.
                let _ = write!(line, " {value}");
            }
            trace(&line);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// Notes that an invariant does not hold.
    pub(super) fn violated(&self, invariant: &'static str, shard: Option<u16>, details: String) {
        if let Some(trace) = self.trace {
            trace(&format!("VIOLATION {invariant}: {details}"));
        }
        let mut violations = self.violations.borrow_mut();
        if violations.len() < VIOLATIONS_MAX {
            violations.push(Violation {
                invariant,
                step: self.step.get(),
                shard,
                details,
            });
        }
    }

    pub(super) fn expect(
        &self,
        holds: bool,
        invariant: &'static str,
        details: impl Fn() -> String,
    ) {
        if !holds {
            self.violated(invariant, None, details());
        }
    }

    pub(super) fn is_violated(&self) -> bool {
        !self.violations.borrow().is_empty()
    }

    pub(super) fn take_violations(&self) -> Vec<Violation> {
        self.violations.take()
    }
}

/// Keeps a world current on its thread.
pub(super) struct Inside(Option<Rc<World>>);

impl Drop for Inside {
    fn drop(&mut self) {
        WORLD.replace(self.0.take());
    }
}

/// Calls `f` with the world of this thread; `None` outside a simulation.
pub(super) fn with<R>(f: impl FnOnce(&Rc<World>) -> R) -> Option<R> {
    let world = WORLD.with_borrow(Clone::clone);
    world.as_ref().map(f)
}

/// Whether a fault that the code itself provides for is to happen now: true with `probability`
/// while a simulation runs on this thread, false anywhere else (FoundationDB's `BUGGIFY`).
#[must_use]
pub fn buggify(probability: f64) -> bool {
    with(|world| world.unrest(probability)).unwrap_or(false)
}

/// A handler of `id` begins with a message of type `M`: the event is traced and takes its time.
pub(super) fn event<M>(world: &World, id: ActorId) {
    world.handled.set(world.handled.get() + 1);
    let (shard, index, generation) = id.to_parts();
    world.fold(
        type_name::<M>(),
        &[u64::from(shard), u64::from(index), u64::from(generation)],
    );
    world.spend(world.span(20_000));
    if world.unrest(0.002) {
        world.spend(world.span(20_000_000));
    }
}

/// As [`fail_at_random`], in the drop of a message that nobody reads, which is nobody's turn.
pub(super) fn fail_in_drop(world: &World, probability: f64) {
    if !std::thread::panicking() && world.unrest(probability) {
        world.drop_panics.set(world.drop_panics.get() + 1);
        world.fold("panic in drop", &[]);
        panic::resume_unwind(Box::new("a failure that the simulator wanted"));
    }
}

/// Panics with `probability`, past the panic hook: nothing is printed, no backtrace is taken.
pub(super) fn fail_at_random(world: &World, probability: f64) {
    if !std::thread::panicking() && world.unrest(probability) {
        world.panics.set(world.panics.get() + 1);
        world.fold("panic", &[]);
        panic::resume_unwind(Box::new("a failure that the simulator wanted"));
    }
}
