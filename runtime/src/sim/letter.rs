//! Letters: what the workloads' messages carry, so that each is accounted for.
//!
//! A letter is written, and then comes to exactly one end: it is read by its receiver, taken back
//! by a sender that was refused, or dropped by the runtime, which must have counted that. Letters
//! of one stream (a sender, a receiver, a lane) are read in the order in which they were written.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use super::world::{self, World};

/// Who sends to whom in which lane.
pub(super) type StreamKey = (u32, u32, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    Read,
    TakenBack,
    Dropped,
}

/// The state of every letter of a simulation.
#[derive(Default)]
pub(super) struct Letters {
    states: RefCell<Vec<State>>,
    streams: RefCell<BTreeMap<StreamKey, VecDeque<usize>>>,
    /// Letters that have arrived.
    pub(super) read: Cell<u64>,
    /// Letters that the runtime has dropped unread.
    pub(super) dropped: Cell<u64>,
}

/// One letter. Plain data with a drop: the simulator may double it to see that it is noticed.
#[derive(Debug)]
pub(super) struct Letter {
    index: usize,
    stream: Option<StreamKey>,
}

impl Letter {
    /// A letter of a stream.
    pub(super) fn write(world: &World, stream: StreamKey) -> Self {
        let letter = Letter::loose(world);
        let mut streams = world.letters.streams.borrow_mut();
        streams.entry(stream).or_default().push_back(letter.index);
        Letter {
            index: letter.keep(),
            stream: Some(stream),
        }
    }

    /// A letter whose order does not matter.
    pub(super) fn loose(world: &World) -> Self {
        let mut states = world.letters.states.borrow_mut();
        states.push(State::UnderWay);
        Letter {
            index: states.len() - 1,
            stream: None,
        }
    }

    /// The index, without the drop.
    fn keep(self) -> usize {
        let index = self.index;
        std::mem::forget(self);
        index
    }

    /// The receiver has it.
    pub(super) fn read(self, world: &World) {
        if let Some(stream) = self.stream {
            world.letters.in_order(world, stream, self.index);
        }
        world.letters.read.set(world.letters.read.get() + 1);
        world.letters.end(world, self.keep(), State::Read);
    }

    /// The sender has it again: it was refused, and nothing was sent after it.
    pub(super) fn take_back(self, world: &World) {
        if let Some(stream) = self.stream {
            let mut streams = world.letters.streams.borrow_mut();
            if let Some(queue) = streams.get_mut(&stream) {
                queue.retain(|index| *index != self.index);
            }
        }
        world.letters.end(world, self.keep(), State::TakenBack);
    }

    /// Never arrives anywhere: what a broken sender does.
    pub(super) fn lose(self) {
        self.keep();
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        world::with(|world| {
            world.letters.dropped.set(world.letters.dropped.get() + 1);
            world.letters.end(world, self.index, State::Dropped);
        });
    }
}

impl Letters {
    fn end(&self, world: &World, index: usize, end: State) {
        let before = std::mem::replace(&mut self.states.borrow_mut()[index], end);
        world.expect(before == State::UnderWay, "a message ends once", || {
            format!("letter {index} is {end:?} and was {before:?} before")
        });
    }

    /// All letters before this one in its stream have ended.
    fn in_order(&self, world: &World, stream: StreamKey, index: usize) {
        let mut streams = self.streams.borrow_mut();
        let queue = streams.entry(stream).or_default();
        while let Some(first) = queue.pop_front() {
            if first == index {
                return;
            }
            let state = self.states.borrow()[first];
            world.expect(state == State::Dropped, "order of one sender", || {
                format!("{stream:?}: letter {index} overtook {first}, which is {state:?}")
            });
        }
        let state = self.states.borrow()[index];
        world.violated(
            "order of one sender",
            None,
            format!("{stream:?}: letter {index} is not due, it is {state:?}"),
        );
    }

    /// Letters that have not come to their end.
    pub(super) fn under_way(&self) -> Vec<usize> {
        let states = self.states.borrow();
        let open = states.iter().enumerate();
        open.filter(|(_, state)| **state == State::UnderWay)
            .map(|(index, _)| index)
            .collect()
    }
}
