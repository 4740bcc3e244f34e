//! The simulated ring: operations under way, and the chooser of what completes now.

use std::collections::VecDeque;
use std::rc::Rc;

use fastrand::Rng;

use super::super::buffers::BufferRing;
use super::super::op::{Done, Op};
use super::chances::{self, Chances};
use super::connection::{End, Link};
use super::net::{SimFd, SimNet};

/// Completions of one multishot operation in one enter, at most.
const STEPS_AN_ENTER: u8 = 4;

/// How far an operation is.
enum State {
    Running,
    /// Done, but its completion is yet to be posted.
    Finished(Done),
    Posted,
}

struct Flight {
    user_data: u64,
    op: Op,
    /// What the operation's descriptor named when it was submitted: as in a kernel, it goes on
    /// with that whatever becomes of the number.
    link: Option<Link>,
    /// Bytes that a send has moved.
    moved: usize,
    state: State,
}

/// A ring on a [`SimNet`].
pub(in crate::driver) struct SimRing {
    net: SimNet,
    rng: Rng,
    chances: Chances,
    buffers: Rc<BufferRing>,
    submitted: VecDeque<(Op, u64)>,
    flights: Vec<Flight>,
    done: VecDeque<Done>,
}

impl SimRing {
    /// A ring whose every choice follows from `seed`.
    pub(in crate::driver) fn new(net: &SimNet, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        SimRing {
            net: net.clone(),
            chances: Chances::draw(&mut rng),
            buffers: BufferRing::simulated(chances::buffers(&mut rng)),
            rng,
            submitted: VecDeque::new(),
            flights: Vec::new(),
            done: VecDeque::new(),
        }
    }

    /// The buffers that its receives pick from.
    pub(in crate::driver) fn buffers(&self) -> &Rc<BufferRing> {
        &self.buffers
    }

    /// The network it is on.
    pub(in crate::driver) fn net(&self) -> &SimNet {
        &self.net
    }

    /// # Safety
    /// What the operation points to stays valid until its completion has been reaped, or the ring
    /// is gone.
    #[cold]
    pub(in crate::driver) unsafe fn push(&mut self, op: Op, user_data: u64) {
        self.submitted.push_back((op, user_data));
    }

    /// As the kernel's flag for work that waits: set at some moment after there is some.
    #[cold]
    pub(in crate::driver) fn must_enter(&mut self) -> bool {
        !self.submitted.is_empty() || (self.any_can_go() && self.rng.bool())
    }

    #[cold]
    pub(in crate::driver) fn has_work(&mut self) -> bool {
        !self.done.is_empty() || self.must_enter()
    }

    /// Whether nothing will complete until a peer or the driver does something.
    pub(in crate::driver) fn is_quiet(&self) -> bool {
        self.done.is_empty() && self.submitted.is_empty() && !self.any_can_go()
    }

    fn any_can_go(&self) -> bool {
        self.flights.iter().any(|f| can_go(&self.net, f))
    }

    #[cold]
    pub(in crate::driver) fn next(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    pub(in crate::driver) fn adopt(&self, number: i32) -> SimFd {
        self.net.adopt(number)
    }

    /// Takes what was submitted, then lets some of what can go on do so, in any order.
    #[cold]
    pub(in crate::driver) fn enter(&mut self) {
        while let Some((op, user_data)) = self.submitted.pop_front() {
            self.start(op, user_data);
        }
        let mut order: Vec<usize> = (0..self.flights.len()).collect();
        self.rng.shuffle(&mut order);
        for at in order {
            if self.chance(self.chances.progress) {
                self.go_on(at);
            }
        }
        self.flights.retain(|f| !matches!(f.state, State::Posted));
    }

    /// Cancellations take effect in the order of submission, as in a kernel; that they have, and
    /// what they ended, is told whenever.
    fn start(&mut self, op: Op, user_data: u64) {
        let (link, state) = match op {
            Op::Receive { fd } | Op::Send { fd, .. } => (self.net.link(fd), State::Running),
            Op::Cancel { target } => {
                let running =
                    |f: &&mut Flight| f.user_data == target && matches!(f.state, State::Running);
                let result = match self.flights.iter_mut().find(running) {
                    Some(flight) => {
                        flight.state = State::Finished(last(target, -libc::ECANCELED));
                        0
                    }
                    None => -libc::ENOENT,
                };
                (None, State::Finished(last(user_data, result)))
            }
            Op::Wake { .. } | Op::Accept { .. } => (None, State::Running),
        };
        self.flights.push(Flight {
            user_data,
            op,
            link,
            moved: 0,
            state,
        });
    }

    fn go_on(&mut self, at: usize) {
        let user_data = self.flights[at].user_data;
        if let State::Finished(done) = self.flights[at].state {
            self.flights[at].state = State::Posted;
            return self.post(done);
        }
        let op = self.flights[at].op;
        match op {
            Op::Wake { .. } if self.chance(self.chances.spurious_wake) => {
                self.finish(at, last(user_data, 8));
            }
            Op::Wake { .. } | Op::Cancel { .. } => {}
            Op::Accept { fd } => self.repeat(at, |ring| ring.accept(fd, user_data)),
            Op::Receive { .. } => match self.flights[at].link.clone() {
                Some(link) => self.repeat(at, |ring| ring.receive(&link, user_data)),
                None => self.finish(at, last(user_data, -libc::EBADF)),
            },
            Op::Send { bytes, len, .. } => {
                let moved = self.flights[at].moved;
                // SAFETY: the promise of `push`: the bytes are there until the completion has been
                // reaped, and this operation has not been posted. `moved` is at most `len`.
                // Exercised by the simulated echo, under ASan too.
                let rest =
                    unsafe { std::slice::from_raw_parts(bytes.add(moved), len as usize - moved) };
                self.send(at, rest);
            }
        }
    }

    /// Some steps of a multishot operation.
    fn repeat(&mut self, at: usize, mut step: impl FnMut(&mut Self) -> Option<Done>) {
        for _ in 0..self.rng.u8(1..=STEPS_AN_ENTER) {
            match step(self) {
                Some(done) if done.more => self.post(done),
                Some(done) => return self.finish(at, done),
                None => return,
            }
        }
    }

    fn accept(&mut self, listener: i32, user_data: u64) -> Option<Done> {
        if self.net.can_accept(listener) && self.chance(self.chances.no_descriptor) {
            return Some(last(user_data, -libc::EMFILE));
        }
        let result = self.net.accept(listener)?;
        Some(Done {
            more: result >= 0 && !self.chance(self.chances.ends),
            ..last(user_data, result)
        })
    }

    fn receive(&mut self, link: &Link, user_data: u64) -> Option<Done> {
        let mut link = link.borrow_mut();
        let there = link.readable(End::Shard);
        if there == 0 {
            let ended = link.read(End::Shard, &mut []);
            return match ended {
                Ok(None) => None,
                Ok(Some(_)) => Some(last(user_data, 0)),
                Err(errno) => Some(last(user_data, -errno)),
            };
        }
        let wanted = self.some_of(there);
        let picked = self.buffers.pick(|memory| {
            let wanted = wanted.min(memory.len());
            let read = link.read(End::Shard, &mut memory[..wanted]);
            read.ok().flatten().unwrap_or(0)
        });
        let Some((buffer, read)) = picked else {
            return Some(last(user_data, -libc::ENOBUFS));
        };
        Some(Done {
            more: !self.chance(self.chances.ends),
            buffer: Some(buffer),
            ..last(user_data, i32::try_from(read).unwrap_or(i32::MAX))
        })
    }

    /// Sends as the kernel does with MSG_WAITALL: the completion comes when all bytes have gone or
    /// no more can go, and now and then earlier.
    fn send(&mut self, at: usize, rest: &[u8]) {
        let user_data = self.flights[at].user_data;
        let moved = self.flights[at].moved;
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let Some(link) = self.flights[at].link.clone() else {
            return self.finish(at, last(user_data, -libc::EBADF));
        };
        let wanted = self.some_of(rest.len());
        let written = link.borrow_mut().write(End::Shard, &rest[..wanted]);
        match written {
            Err(errno) if moved == 0 => self.finish(at, last(user_data, -errno)),
            Err(_) => self.finish(at, last(user_data, count(moved))),
            Ok(n) => {
                let moved = moved + n;
                self.flights[at].moved = moved;
                if n == rest.len() || (moved > 0 && self.chance(self.chances.short)) {
                    self.finish(at, last(user_data, count(moved)));
                }
            }
        }
    }

    /// The operation is over; its completion is posted now or later.
    fn finish(&mut self, at: usize, done: Done) {
        if self.chance(self.chances.late) {
            self.flights[at].state = State::Finished(done);
        } else {
            self.flights[at].state = State::Posted;
            self.post(done);
        }
    }

    fn post(&mut self, done: Done) {
        self.net.note(&done);
        self.done.push_back(done);
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    /// `n`, or now and then fewer, but at least one of them.
    fn some_of(&mut self, n: usize) -> usize {
        if n > 1 && self.chance(self.chances.short) {
            self.rng.usize(1..n)
        } else {
            n
        }
    }
}

#[cfg(test)]
impl SimRing {
    /// Operations whose last completion has not been posted.
    pub(in crate::driver) fn in_flight(&self) -> usize {
        self.submitted.len() + self.flights.len()
    }

    /// Completions that have not been reaped.
    pub(in crate::driver) fn posted(&self) -> &VecDeque<Done> {
        &self.done
    }
}

/// A completion after which no other of the operation comes.
fn last(user_data: u64, result: i32) -> Done {
    Done {
        user_data,
        result,
        more: false,
        buffer: None,
    }
}

fn can_go(net: &SimNet, flight: &Flight) -> bool {
    match (&flight.state, flight.op) {
        (State::Running, Op::Wake { .. } | Op::Cancel { .. }) | (State::Posted, _) => false,
        (State::Running, Op::Accept { fd }) => net.can_accept(fd),
        (State::Running, Op::Receive { .. }) => {
            let can = |link: &Link| link.borrow().can_read(End::Shard);
            flight.link.as_ref().is_none_or(can)
        }
        (State::Running, Op::Send { len, .. }) => {
            let can = |link: &Link| link.borrow().can_write(End::Shard);
            flight.moved == len as usize || flight.link.as_ref().is_none_or(can)
        }
        (State::Finished(_), _) => true,
    }
}
