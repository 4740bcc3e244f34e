//! Savina's ping-pong (`pingpong`): a ping with its sender's address, a pong, and a word of the
//! pinger to itself before the next.

use std::ops::ControlFlow;

use super::{Backend, Failed, Latch, Role, exactly, tell_for_sure};
use crate::measure::clock;

struct Ping<B: Backend> {
    me: Option<B::Address<Self>>,
    pong: B::Address<Pong<B>>,
    left: u64,
    done_ns: Latch<u64>,
}

struct Pong<B: Backend> {
    pinged: u64,
    done: Latch<u64>,
    backend: std::marker::PhantomData<fn(B)>,
}

enum ToPing<B: Backend> {
    Start(Box<B::Address<Ping<B>>>),
    Again,
    Pong,
}

enum ToPong<B: Backend> {
    Ping(B::Address<Ping<B>>),
    Stop,
}

// No mailbox below ever holds more than one message, so none is full.
impl<B: Backend> Ping<B> {
    fn ping(&mut self) {
        if let Some(me) = &self.me {
            self.left -= 1;
            let _ = B::tell(&self.pong, ToPong::Ping(me.clone()));
        }
    }
}

impl<B: Backend> Role for Ping<B> {
    type Message = ToPing<B>;

    #[inline]
    fn on(&mut self, message: ToPing<B>) -> ControlFlow<()> {
        match message {
            ToPing::Start(me) => {
                self.me = Some(*me);
                self.ping();
            }
            ToPing::Again => self.ping(),
            ToPing::Pong if self.left > 0 => {
                if let Some(me) = &self.me {
                    let _ = B::tell(me, ToPing::Again);
                }
            }
            ToPing::Pong => {
                self.done_ns.set(clock::now_ns());
                let _ = B::tell(&self.pong, ToPong::Stop);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

impl<B: Backend> Role for Pong<B> {
    type Message = ToPong<B>;

    #[inline]
    fn on(&mut self, message: ToPong<B>) -> ControlFlow<()> {
        match message {
            ToPong::Ping(sender) => {
                self.pinged += 1;
                let _ = B::tell(&sender, ToPing::Pong);
                ControlFlow::Continue(())
            }
            ToPong::Stop => {
                self.done.set(self.pinged);
                ControlFlow::Break(())
            }
        }
    }
}

/// `pings` pings; ns a message, of which each ping makes three.
pub(super) async fn ping_pong<B: Backend>(pings: u64) -> Result<f64, Failed> {
    let (done, done_ns) = (Latch::default(), Latch::default());
    let pong = Pong::<B> {
        pinged: 0,
        done: done.clone(),
        backend: std::marker::PhantomData,
    };
    let ping = Ping::<B> {
        me: None,
        pong: B::spawn(pong).await?,
        left: pings,
        done_ns: done_ns.clone(),
    };
    let ping = B::spawn(ping).await?;
    let start = clock::now_ns();
    tell_for_sure::<B, _>(&ping, ToPing::Start(Box::new(ping.clone()))).await;
    let end = done_ns.wait().await;
    exactly("ping-pong: pings", pings, done.wait().await)?;
    Ok((end - start) as f64 / (3 * pings) as f64)
}
