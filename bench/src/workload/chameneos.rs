//! Savina's chameneos (`chameneos`): creatures meet in pairs at a mall and change colour; everybody
//! contends for one mailbox.

use std::ops::ControlFlow;

use super::{Backend, Failed, Latch, Role, exactly, tell_for_sure};
use crate::measure::clock;

/// Savina's number of creatures.
const CREATURES: u64 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Colour {
    Red,
    Yellow,
    Blue,
    Faded,
}

impl Colour {
    /// Two of one colour keep it; two of different ones take the third.
    fn complement(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        *[Self::Red, Self::Yellow, Self::Blue]
            .iter()
            .find(|&&third| third != self && third != other)
            .unwrap_or(&Self::Faded)
    }
}

struct Creature<B: Backend> {
    me: Option<B::Address<Self>>,
    mall: B::Address<Mall<B>>,
    colour: Colour,
    meetings: u64,
}

struct Mall<B: Backend> {
    meetings_left: u64,
    waiting: Option<B::Address<Creature<B>>>,
    faded: u64,
    meetings: u64,
    /// When all had faded, and the meetings that they counted.
    done: Latch<(u64, u64)>,
}

enum ToCreature<B: Backend> {
    Start(Box<B::Address<Creature<B>>>),
    /// Another creature is at the mall.
    Meet(Colour, B::Address<Creature<B>>),
    Change(Colour),
    Exit,
}

enum ToMall<B: Backend> {
    Meet(Colour, B::Address<Creature<B>>),
    Meetings(u64),
}

// A creature has at most one message under way to the mall, so no mailbox is ever full.
impl<B: Backend> Creature<B> {
    fn go_to_mall(&mut self) {
        if let Some(me) = &self.me {
            let _ = B::tell(&self.mall, ToMall::Meet(self.colour, me.clone()));
        }
    }
}

impl<B: Backend> Role for Creature<B> {
    type Message = ToCreature<B>;

    #[inline]
    fn on(&mut self, message: ToCreature<B>) -> ControlFlow<()> {
        match message {
            ToCreature::Start(me) => self.me = Some(*me),
            ToCreature::Meet(colour, other) => {
                self.colour = self.colour.complement(colour);
                self.meetings += 1;
                let _ = B::tell(&other, ToCreature::Change(self.colour));
            }
            ToCreature::Change(colour) => {
                self.colour = colour;
                self.meetings += 1;
            }
            ToCreature::Exit => {
                self.colour = Colour::Faded;
                // Nobody is to hold its own address once it is done.
                self.me = None;
                let _ = B::tell(&self.mall, ToMall::Meetings(self.meetings));
                return ControlFlow::Break(());
            }
        }
        self.go_to_mall();
        ControlFlow::Continue(())
    }
}

impl<B: Backend> Role for Mall<B> {
    type Message = ToMall<B>;

    #[inline]
    fn on(&mut self, message: ToMall<B>) -> ControlFlow<()> {
        match message {
            ToMall::Meet(_, creature) if self.meetings_left == 0 => {
                let _ = B::tell(&creature, ToCreature::Exit);
            }
            ToMall::Meet(colour, creature) => match self.waiting.take() {
                None => self.waiting = Some(creature),
                Some(first) => {
                    self.meetings_left -= 1;
                    let _ = B::tell(&first, ToCreature::Meet(colour, creature));
                }
            },
            ToMall::Meetings(count) => {
                self.faded += 1;
                self.meetings += count;
                if self.faded == CREATURES {
                    self.done.set((clock::now_ns(), self.meetings));
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// 100 creatures, `meetings` meetings; ns a message, of which each meeting makes four.
pub(super) async fn meet<B: Backend>(meetings: u64) -> Result<f64, Failed> {
    let done = Latch::default();
    let mall = Mall::<B> {
        meetings_left: meetings,
        waiting: None,
        faded: 0,
        meetings: 0,
        done: done.clone(),
    };
    let mall = B::spawn(mall).await?;
    let mut creatures = Vec::new();
    for number in 0..CREATURES {
        let creature = Creature::<B> {
            me: None,
            mall: mall.clone(),
            colour: [Colour::Red, Colour::Yellow, Colour::Blue][(number % 3) as usize],
            meetings: 0,
        };
        creatures.push(B::spawn(creature).await?);
    }
    let start = clock::now_ns();
    for creature in &creatures {
        tell_for_sure::<B, _>(creature, ToCreature::Start(Box::new(creature.clone()))).await;
    }
    let (end, counted) = done.wait().await;
    exactly("chameneos: meetings, by both sides", 2 * meetings, counted)?;
    Ok((end - start) as f64 / (4 * meetings) as f64)
}

#[cfg(test)]
mod tests {
    use super::Colour::{Blue, Red, Yellow};

    #[test]
    fn colours_complement_each_other() {
        assert!(Red.complement(Red) == Red && Red.complement(Blue) == Yellow);
        assert!(Yellow.complement(Blue) == Red && Blue.complement(Red) == Yellow);
    }
}
