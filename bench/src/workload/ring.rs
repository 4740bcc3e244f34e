//! A ball that goes round a ring of actors; a ring of two is a rally.

use std::ops::ControlFlow;

use super::{Backend, Failed, Latch, Role, exactly, tell_for_sure};
use crate::measure::clock;

struct Player<B: Backend> {
    next: Option<B::Address<Self>>,
    handled: u64,
    caught_ns: Latch<u64>,
}

/// 24 bytes.
enum Throw<B: Backend> {
    Meet(Box<B::Address<Player<B>>>),
    Ball { hops_left: u64, payload: u64 },
}

impl<B: Backend> Role for Player<B> {
    type Message = Throw<B>;

    #[inline]
    fn on(&mut self, message: Throw<B>) -> ControlFlow<()> {
        match message {
            Throw::Meet(next) => self.next = Some(*next),
            Throw::Ball { hops_left, payload } => {
                self.handled += 1;
                if hops_left == 0 {
                    self.caught_ns.set(clock::now_ns());
                } else if let Some(next) = &self.next {
                    let hops_left = hops_left - 1;
                    // One ball for all mailboxes: none is ever full.
                    let _ = B::tell(next, Throw::Ball { hops_left, payload });
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn answer(&mut self, _: u64) -> u64 {
        self.handled
    }
}

/// `size` fresh actors throw one ball for `hops` hops; ns a hop.
pub(super) async fn go_round<B: Backend>(size: u64, hops: u64) -> Result<f64, Failed> {
    let caught_ns = Latch::default();
    let player = |next| Player::<B> {
        next,
        handled: 0,
        caught_ns: caught_ns.clone(),
    };
    let last = B::spawn(player(None)).await?;
    let mut players = vec![last.clone()];
    let mut first = last.clone();
    for _ in 1..size {
        first = B::spawn(player(Some(first))).await?;
        players.push(first.clone());
    }
    tell_for_sure::<B, _>(&last, Throw::Meet(Box::new(first.clone()))).await;
    let start = clock::now_ns();
    let ball = Throw::Ball {
        hops_left: hops,
        payload: start,
    };
    tell_for_sure::<B, _>(&first, ball).await;
    let end = caught_ns.wait().await;
    let mut handled = 0;
    for player in &players {
        handled += B::ask(player, 0).await.unwrap_or(0);
    }
    exactly("ring: times that the ball was caught", hops + 1, handled)?;
    Ok((end - start) as f64 / (hops + 1) as f64)
}
