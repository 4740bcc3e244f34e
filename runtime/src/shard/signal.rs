//! Signals: exits, links and monitors, in the system lane, never refused.

use crate::actor::{
    ActorId, Down, Exit, ExitReason, Monitor, Payload, ReplyTo, SIGNAL, Signal, Stamp,
};
use crate::mesh::{Frame, MessageHead};
use crate::panics;
use crate::sched::{Class, LANE_SYSTEM, Slot, SlotKey};

use super::Shard;

impl Shard {
    /// Sends a signal to an actor, wherever it is.
    pub(crate) fn signal(&self, to: ActorId, signal: Signal) {
        // The control plane is a runtime of its own, with a shard 0 and actors of the same numbers.
        let here = to.runtime == self.runtime_id();
        if !here || usize::from(to.shard) >= self.shared().ports.len() {
            return self.bounce(to, signal);
        }
        if to.shard == self.id() {
            return self.deliver_signal(to.key(), signal);
        }
        let head = MessageHead {
            vtable: SIGNAL,
            index: to.index,
            generation: to.generation,
            reply: ReplyTo::NONE,
            posted_at: self.now.get(),
            deadline_us: 0,
            size: 0,
            span: None,
        };
        // SAFETY: the vtable is that of signals.
        let frame = Frame::build(|at| unsafe { Frame::message(at, head, signal) });
        self.mesh.send_reserved(self, to.shard, frame);
    }

    /// Puts a signal into the mailbox of an actor of this shard.
    pub(super) fn deliver_signal(&self, key: SlotKey, signal: Signal) {
        let key = SlotKey {
            index: key.index & !SlotKey::FROM_PARTS,
            ..key
        };
        let Some(slot) = self.slots.get(key) else {
            return self.bounce_local(key, signal);
        };
        if let Some(to) = self.moved_to(slot) {
            return self.forward_signal(slot, to, signal);
        }
        let Some((id, envelope)) = self.envelopes.take(SIGNAL.used) else {
            self.stats().signals_lost.add(1);
            tracing::error!(shard = self.id(), "no room for a signal: {signal:?}");
            return;
        };
        // SAFETY: the vtable is that of signals.
        unsafe { Payload::put(self.envelopes.payload(id), signal) };
        envelope.vtable.set(Some(SIGNAL));
        envelope.reply.set(ReplyTo::NONE);
        envelope.posted_at.set(self.now.get());
        envelope.stamp.set(Stamp {
            deadline_us: 0,
            size: 0,
            from: self.from,
            traced: false,
        });
        slot.lanes[LANE_SYSTEM].push(&self.envelopes, id);
        self.schedule(slot, Class::System);
    }

    /// A signal found its actor gone: who wanted a tie is told.
    pub(super) fn bounce_local(&self, key: SlotKey, signal: Signal) {
        let actor = ActorId {
            runtime: self.runtime_id(),
            shard: self.id(),
            index: key.index,
            generation: key.generation,
        };
        self.bounce(actor, signal);
    }

    fn bounce(&self, actor: ActorId, signal: Signal) {
        match signal {
            Signal::Link(by) => self.signal(
                by,
                Signal::Exit(Exit {
                    from: actor,
                    why: ExitReason::NoActor,
                }),
            ),
            Signal::Watch(monitor, by) => self.signal(
                by,
                Signal::Down(Down {
                    monitor,
                    actor,
                    why: ExitReason::NoActor,
                }),
            ),
            Signal::Exit(_)
            | Signal::Ask(_)
            | Signal::Kill
            | Signal::Down(_)
            | Signal::Unlink(_)
            | Signal::Unwatch(_)
            | Signal::Ended(_) => {}
        }
    }

    /// What `slot` does about a signal, in its own turn.
    pub(crate) fn signalled(&self, slot: &Slot, signal: Signal) {
        match signal {
            Signal::Link(other) => {
                let links = &slot.cold_or_new().links;
                if !links.borrow().contains(&other) {
                    links.borrow_mut().push(other);
                }
            }
            Signal::Unlink(other) => forget_link(slot, other),
            Signal::Watch(monitor, by) => {
                slot.cold_or_new().watchers.borrow_mut().push((monitor, by));
            }
            Signal::Unwatch(monitor) => {
                if let Some(cold) = slot.cold() {
                    cold.watchers.borrow_mut().retain(|(m, _)| *m != monitor);
                }
            }
            // For forwarders only, which act on it when it is delivered.
            Signal::Ended(_) => {}
            Signal::Exit(exit) => {
                forget_link(slot, exit.from);
                self.exit_received(slot, exit);
            }
            Signal::Ask(exit) => self.exit_received(slot, exit),
            Signal::Kill => self.fail_running(slot, ExitReason::Killed),
            Signal::Down(down) => {
                if let Some(cold) = slot.cold() {
                    let mut watching = cold.watching.borrow_mut();
                    let before = watching.len();
                    watching.retain(|(m, _)| *m != down.monitor);
                    // A watch that was ended, or one of an earlier incarnation.
                    if watching.len() == before {
                        return;
                    }
                }
                self.hand_over(slot, Signal::Down(down));
            }
        }
    }

    fn exit_received(&self, slot: &Slot, exit: Exit) {
        let Some(vtable) = slot.vtable.get() else {
            return;
        };
        if vtable.traps_exits {
            self.hand_over(slot, Signal::Exit(exit));
        } else if exit.why.is_abnormal() {
            self.fail_running(slot, exit.why);
        }
    }

    /// Lets the actor itself deal with a signal; one that waits to be restarted misses it.
    fn hand_over(&self, slot: &Slot, signal: Signal) {
        let body = slot.body.get();
        if let Some(vtable) = slot.vtable.get()
            && !body.is_null()
        {
            // SAFETY: the actor is live and this is its own turn.
            unsafe { (vtable.signal)(body, signal, slot, self) };
        }
    }

    /// Ties two actors together; `slot` is the one that asked.
    pub(crate) fn link(&self, slot: &Slot, other: ActorId) {
        let (me, other) = (self.id_of(slot), other.plain());
        if other == me {
            return;
        }
        self.signalled(slot, Signal::Link(other));
        self.signal(other, Signal::Link(me));
    }

    pub(crate) fn unlink(&self, slot: &Slot, other: ActorId) {
        let other = other.plain();
        forget_link(slot, other);
        self.signal(other, Signal::Unlink(self.id_of(slot)));
        // A link from before a move is kept by the forwarder, and names its address.
        let former = slot.cold().map(|cold| cold.former.borrow().clone());
        for id in former.into_iter().flatten() {
            self.signal(id, Signal::Unlink(other));
            self.signal(other, Signal::Unlink(id));
        }
    }

    pub(crate) fn monitor(&self, slot: &Slot, other: ActorId) -> Monitor {
        let other = other.plain();
        let serial = self.monitors.get() + 1;
        self.monitors.set(serial);
        let monitor = Monitor(u64::from(self.id()) << 48 | serial);
        let watching = &slot.cold_or_new().watching;
        watching.borrow_mut().push((monitor, other));
        self.signal(other, Signal::Watch(monitor, self.id_of(slot)));
        monitor
    }

    pub(crate) fn demonitor(&self, slot: &Slot, monitor: Monitor) {
        let Some(cold) = slot.cold() else { return };
        let mut watching = cold.watching.borrow_mut();
        if let Some(at) = watching.iter().position(|(m, _)| *m == monitor) {
            let (_, other) = watching.swap_remove(at);
            drop(watching);
            self.signal(other, Signal::Unwatch(monitor));
        }
    }

    /// Sends an exit to `other` in the name of `from`.
    pub(crate) fn exit(&self, from: ActorId, other: ActorId, why: ExitReason) {
        let signal = if why == ExitReason::Killed {
            Signal::Kill
        } else {
            Signal::Ask(Exit { from, why })
        };
        self.signal(other, signal);
    }

    /// Tells those who are tied to `slot` that it has ended, and forgets whom it watched.
    pub(super) fn announce_end(&self, slot: &Slot, why: &ExitReason) {
        let Some(cold) = slot.cold() else { return };
        let me = self.id_of(slot);
        for other in cold.links.take() {
            self.signal(
                other,
                Signal::Exit(Exit {
                    from: me,
                    why: why.clone(),
                }),
            );
        }
        for (monitor, by) in cold.watchers.take() {
            self.signal(
                by,
                Signal::Down(Down {
                    monitor,
                    actor: me,
                    why: why.clone(),
                }),
            );
        }
        self.forget_watched(slot);
        self.end_forwarders(cold.former.take(), why);
    }

    /// Ends the watches of an incarnation.
    pub(super) fn forget_watched(&self, slot: &Slot) {
        let Some(cold) = slot.cold() else { return };
        for (monitor, other) in cold.watching.take() {
            self.signal(other, Signal::Unwatch(monitor));
        }
    }

    /// Runs a piece of work that is nobody's turn (a timer, an injected job, a drop).
    pub(crate) fn run_caught(&self, what: &'static str, work: impl FnOnce()) {
        if let Err(caught) = panics::catch(work) {
            self.stats().tasks_panicked.add(1);
            tracing::error!(
                shard = self.id(),
                panic = caught.message,
                place = caught.place,
                "panic in {what}"
            );
        }
    }
}

pub(super) fn forget_link(slot: &Slot, other: ActorId) {
    if let Some(cold) = slot.cold() {
        cold.links.borrow_mut().retain(|link| *link != other);
    }
}
