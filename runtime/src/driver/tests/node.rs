//! A shard in small: one driver, an acceptor and connections that echo, each polled only when its
//! waker has fired, so that a wake-up lost is a test that does not end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use fastrand::Rng;

use super::super::ring::Ring;
use super::super::sim::SimRing;
use super::super::socket::Receive;
use super::super::{Driver, Kind, SimNet, SocketKey, key_of};
use crate::stats::ShardStats;
use crate::task::Wakee;

pub(super) const PORT: u16 = 80;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A task in small: a socket, and whether it has been woken.
pub(super) struct Woken {
    key: SocketKey,
    flag: Arc<Flag>,
}

impl Woken {
    pub(super) fn new(key: SocketKey) -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        Woken { key, flag }
    }

    pub(super) fn is_due(&self) -> bool {
        self.flag.0.swap(false, Ordering::Relaxed)
    }

    pub(super) fn waker(&self) -> Waker {
        self.flag.clone().into()
    }
}

/// What has happened, so that a test knows that it tested something.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) pauses: u64,
    pub(super) accept_errors: u64,
    pub(super) starved: u64,
    pub(super) failed: u64,
}

pub(super) struct Node {
    pub(super) driver: Driver,
    pub(super) stats: ShardStats,
    pub(super) seen: Seen,
    listener: Option<Woken>,
    echoes: Vec<Woken>,
    rng: Rng,
    /// Percent of turns in which a connection that was woken is not polled.
    lazy: u8,
    /// Connections take all that was received before they send, and not one buffer at a time.
    greedy: bool,
    wakes: Vec<Wakee>,
    buffers: u16,
}

impl Node {
    pub(super) fn new(net: &SimNet, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x00de);
        let mut driver = Driver::simulated(net, seed);
        let listener = driver.listen_simulated(PORT).unwrap();
        let buffers = driver.buffers.free();
        Node {
            driver,
            stats: ShardStats::default(),
            seen: Seen::default(),
            listener: Some(Woken::new(listener)),
            echoes: Vec::new(),
            lazy: [0, 50, 90][rng.usize(..3)],
            greedy: rng.bool(),
            rng,
            wakes: Vec::new(),
            buffers,
        }
    }

    pub(super) fn ring(&self) -> &SimRing {
        match &self.driver.ring {
            Ring::Simulated(ring) => ring,
            Ring::Kernel(_) => panic!("a simulated driver has a simulated ring"),
        }
    }

    /// One turn of the shard: the ring, wake-ups, tasks, housekeeping.
    pub(super) fn turn(&mut self) {
        self.driver.ring.enter(None);
        self.check_posted();
        self.driver.reap(&self.stats, &mut self.wakes);
        self.wakes.drain(..).for_each(Wakee::wake);
        self.check_pending();
        self.accept();
        let lazy = self.lazy;
        let mut echoes = std::mem::take(&mut self.echoes);
        echoes.retain(|echo| self.rng.u8(..100) < lazy || !echo.is_due() || self.echo(echo));
        self.echoes = echoes;
        if self.rng.u8(..4) == 0 {
            self.driver.retry_starved(u64::MAX);
        }
        self.seen.accept_errors = self.stats.accept_errors.get();
        self.seen.starved = self.stats.recv_starved.get();
    }

    fn accept(&mut self) {
        let Some(listener) = self.listener.take_if(|l| l.is_due()) else {
            return;
        };
        let waker = listener.waker();
        let mut cx = Context::from_waker(&waker);
        while let Poll::Ready(accepted) = self.driver.poll_accept(listener.key, &mut cx) {
            if let Ok(fd) = accepted {
                self.echoes.push(Woken::new(self.driver.open(fd)));
            }
        }
        self.listener = Some(listener);
    }

    /// Runs one connection; whether it goes on.
    fn echo(&mut self, echo: &Woken) -> bool {
        let waker = echo.waker();
        let mut cx = Context::from_waker(&waker);
        let goes_on = self.echo_some(echo.key, &mut cx).unwrap_or_else(|_| {
            self.seen.failed += 1;
            false
        });
        if !goes_on {
            self.driver.close(echo.key);
        }
        goes_on
    }

    fn echo_some(&mut self, key: SocketKey, cx: &mut Context<'_>) -> io::Result<bool> {
        loop {
            if self.driver.poll_flushed(key, cx)?.is_pending() {
                return Ok(true);
            }
            let mut out = self.driver.send_buffer();
            let goes_on = loop {
                match self.driver.poll_receive(key, cx)? {
                    Poll::Pending => break true,
                    Poll::Ready(None) => break false,
                    Poll::Ready(Some(bytes)) => out.extend_from_slice(&bytes),
                }
                if !self.greedy {
                    break true;
                }
            };
            if out.is_empty() {
                return Ok(goes_on);
            }
            self.driver.send(key, out)?;
        }
    }

    /// Every completion finds the socket it was meant for.
    fn check_posted(&mut self) {
        for done in self.ring().posted().clone() {
            let known = self.driver.sockets.get(key_of(done.user_data)).is_some();
            let is_wake = done.user_data >> 56 == Kind::Wake as u64;
            assert!(known || is_wake, "a completion for nobody: {done:?}");
        }
    }

    /// Every operation under way is counted by its socket, and no other is.
    fn check_pending(&mut self) {
        let mut pending = 0;
        for key in self.driver.sockets.keys() {
            let socket = self.driver.sockets.get(key).unwrap();
            pending += usize::from(socket.pending);
            self.seen.pauses += u64::from(socket.receive == Receive::Pausing);
            assert!(socket.pending > 0 || !socket.closing, "closing for ever");
        }
        assert_eq!(pending + 1, self.ring().in_flight(), "and the wake-up read");
    }

    /// Nothing is open or under way, and no buffer is missing.
    pub(super) fn check_all_closed(&self, net: &SimNet) {
        assert_eq!(self.driver.open_count(), 0, "{net:?}");
        assert_eq!(net.open_count(), 0, "{net:?}");
        assert_eq!(self.ring().in_flight(), 1, "the wake-up read alone");
        assert_eq!(self.driver.buffers.free(), self.buffers, "{net:?}");
    }

    /// Connections that echo now.
    pub(super) fn echoing(&self) -> usize {
        self.echoes.len()
    }

    /// Closes some connection in the middle of whatever it does.
    pub(super) fn close_one(&mut self) {
        if !self.echoes.is_empty() {
            let echo = self.echoes.swap_remove(self.rng.usize(..self.echoes.len()));
            self.driver.close(echo.key);
        }
    }

    /// Stops listening, or listens again.
    pub(super) fn toggle_listener(&mut self) {
        match self.listener.take() {
            Some(listener) => self.driver.close(listener.key),
            None => {
                let key = self.driver.listen_simulated(PORT).unwrap();
                self.listener = Some(Woken::new(key));
            }
        }
    }
}
