//! Tells a service manager how the node is, by the protocol of sd_notify(3).
//!
//! The watchdog of systemd is fed by the slowest shard: `WATCHDOG=1` goes out only while every
//! shard turns. A thread of its own tells, beside the control plane, so that it works without an
//! admin listener and no shard waits for it. A datagram that finds no room is left out: the next
//! one says more, and `READY=1` is said until it is taken.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ninefold_runtime::{Handle, clock, thread};

use crate::admin::STUCK_NS;
use crate::net::NetStats;

/// How often it is looked whether all shards listen.
const READY_EVERY: Duration = Duration::from_millis(20);
/// How often the status is told, where no watchdog wants to be fed more often.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// The watchdog is fed four times in its period: one datagram that is late kills nobody.
const FEEDS_PER_PERIOD: u32 = 4;
/// A shorter period than four times this cannot be kept, and is not tried.
const FEED_EVERY_MIN: Duration = Duration::from_millis(10);

/// A service manager that wants to hear of this process.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    /// Named with each datagram: a manager that starts again binds a new socket there.
    place: SocketAddr,
    watchdog: Option<Duration>,
}

/// Why a service manager cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The address is none of sd_notify(3).
    #[error(
        "NOTIFY_SOCKET: wanted a path from / on or an abstract name from @ on, but found {0:?}; \
         let the service manager set it, or unset it"
    )]
    Address(String),
    /// Nobody can be reached there.
    #[error(
        "NOTIFY_SOCKET: wanted to reach the service manager at {address:?}, but {error}; pass its \
         socket into the container, or unset the variable"
    )]
    Unreachable {
        /// The address.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// The watchdog's period is no number.
    #[error(
        "WATCHDOG_USEC: wanted microseconds above 0, but found {0:?}; set WatchdogSec= in the \
         unit, or unset the variable"
    )]
    Watchdog(String),
}

impl Manager {
    /// The manager that `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` name, if any does.
    ///
    /// # Errors
    /// [`NotifyError`], which says what was wanted, what was found and what to do.
    pub fn from_environment() -> Result<Option<Self>, NotifyError> {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let variable = |name| std::env::var_os(name).map(|it| it.to_string_lossy().into_owned());
        // Set for another process: one that started us inherited the variables to us.
        let ours = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let period = variable("WATCHDOG_USEC").filter(|_| ours);
        let period = period.map(|text| match text.parse() {
            Ok(us) if us > 0 => Ok(Duration::from_micros(us)),
            _ => Err(NotifyError::Watchdog(text)),
        });
        Self::at(&address, period.transpose()?).map(Some)
    }

    /// The manager that listens at `address`: a path, or `@` and an abstract name. It wants
    /// `WATCHDOG=1` at least once in each `watchdog`.
    ///
    /// # Errors
    /// [`NotifyError`], which says what was wanted, what was found and what to do.
    pub fn at(address: &OsStr, watchdog: Option<Duration>) -> Result<Self, NotifyError> {
        let shown = || address.to_string_lossy().into_owned();
        let place = match address.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(address),
            _ => return Err(NotifyError::Address(shown())),
        };
        let reached = place.and_then(|place| {
            UnixDatagram::unbound()?.connect_addr(&place)?;
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, place))
        });
        let (socket, place) = reached.map_err(|error| NotifyError::Unreachable {
            address: shown(),
            error,
        })?;
        Ok(Self {
            socket,
            place,
            watchdog,
        })
    }

    /// Whether the datagram was taken.
    fn tell(&self, message: &str) -> bool {
        let sent = self.socket.send_to_addr(message.as_bytes(), &self.place);
        sent.inspect_err(|error| tracing::debug!(%error, "the service manager was not told"))
            .is_ok()
    }

    /// How often it is told.
    fn pace(&self) -> Duration {
        self.watchdog.map_or(STATUS_EVERY, |period| {
            (period / FEEDS_PER_PERIOD).clamp(FEED_EVERY_MIN, STATUS_EVERY)
        })
    }

    /// Time after which a silent shard keeps the watchdog hungry: half its period, but no less than
    /// `/health` allows.
    fn silence_ns(&self) -> u64 {
        let half = self.watchdog.map_or(0, |period| period.as_nanos() / 2);
        u64::try_from(half).unwrap_or(u64::MAX).max(STUCK_NS)
    }
}

/// The thread that tells, while it runs; ends when dropped.
#[derive(Debug)]
pub struct Teller {
    manager: Arc<Manager>,
    end: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Teller {
    /// Starts to tell `manager` of the shards behind `handle`, on a thread on `cpu`.
    pub(crate) fn start(
        manager: Manager,
        handle: Handle,
        net: Vec<Arc<NetStats>>,
        cpu: u32,
    ) -> io::Result<Self> {
        let manager = Arc::new(manager);
        let (end, ended) = sync_channel(1);
        let telling = Telling {
            manager: manager.clone(),
            handle,
            net,
        };
        let thread = thread::spawn_on_set("notify".to_owned(), vec![cpu], move || {
            telling.until(&ended);
        })?;
        Ok(Self {
            manager,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Says that the node drains. Nothing is said after that: how long a stop may last is the
    /// manager's own to watch.
    pub fn stopping(self) {
        let manager = self.manager.clone();
        drop(self);
        manager.tell("STOPPING=1\nSTATUS=draining\n");
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        drop(self.end.take());
        if self.thread.take().is_some_and(|it| it.join().is_err()) {
            tracing::error!("the thread that tells the service manager ended with a panic");
        }
    }
}

/// What the thread knows.
struct Telling {
    manager: Arc<Manager>,
    handle: Handle,
    net: Vec<Arc<NetStats>>,
}

impl Telling {
    fn until(&self, ended: &Receiver<()>) {
        let mut is_ready = false;
        let mut pace = READY_EVERY;
        while ended.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
            if !is_ready && !self.net.iter().all(|shard| shard.listening.get() == 1) {
                continue;
            }
            let news = self.news(clock::monotonic_ns());
            let ready = if is_ready { "" } else { "READY=1\n" };
            if self.manager.tell(&format!("{ready}{news}")) {
                (is_ready, pace) = (true, self.manager.pace());
            }
        }
    }

    /// The status in words, and food for the watchdog while no shard is silent.
    fn news(&self, now_ns: u64) -> String {
        let limit_ns = self.manager.silence_ns();
        let silence_ns = |shard| {
            let beat_ns = self.handle.stats(shard).map_or(0, |s| s.heartbeat_ns.get());
            now_ns.saturating_sub(beat_ns)
        };
        let silent: Vec<_> = (0..self.net.len())
            .filter(|&shard| silence_ns(shard) >= limit_ns)
            .map(|shard| shard.to_string())
            .collect();
        let connections: u64 = self.net.iter().map(|shard| shard.connections.get()).sum();
        let shards = self.net.len();
        let mut news = format!("STATUS={connections} connections on {shards} shards");
        // Writing into a string does not fail.
        let _ = match silent.is_empty() {
            false => writeln!(news, "; stuck: {}", silent.join(", ")),
            true if self.manager.watchdog.is_some() => write!(news, "\nWATCHDOG=1\n"),
            true => writeln!(news),
        };
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_named() {
        for (address, word) in [("", "@"), ("@", "@"), ("run/notify", "run/notify")] {
            let error = Manager::at(OsStr::new(address), None).expect_err("no address");
            assert!(error.to_string().contains(word), "{error}");
        }
        let nobody = Manager::at(OsStr::new("/nowhere/notify"), None).expect_err("nobody");
        assert!(nobody.to_string().contains("/nowhere/notify"), "{nobody}");
    }

    #[test]
    fn an_abstract_name_is_reached() {
        let name = format!("ninefold-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let ear = UnixDatagram::bind_addr(&address).expect("a socket");
        let manager = Manager::at(OsStr::new(&format!("@{name}")), None).expect("a manager");
        assert!(manager.tell("READY=1\n"));
        let mut heard = [0; 64];
        let bytes = ear.recv(&mut heard).expect("a datagram");
        assert_eq!(&heard[..bytes], b"READY=1\n");
        // It went away, and came back.
        drop(ear);
        assert!(!manager.tell("READY=1\n"));
        let ear = UnixDatagram::bind_addr(&address).expect("a socket");
        assert!(manager.tell("STOPPING=1\n"));
        let bytes = ear.recv(&mut heard).expect("a datagram");
        assert_eq!(&heard[..bytes], b"STOPPING=1\n");
    }

    #[test]
    fn the_watchdog_is_fed_four_times_in_its_period_whatever_it_is() {
        let mut manager = Manager {
            socket: UnixDatagram::unbound().expect("a socket"),
            place: SocketAddr::from_pathname("/nowhere").expect("a path"),
            watchdog: None,
        };
        for (period, pace, silence_ns) in [
            (None, STATUS_EVERY, STUCK_NS),
            (
                Some(Duration::from_secs(4)),
                Duration::from_secs(1),
                2 * STUCK_NS,
            ),
            (Some(Duration::from_micros(1)), FEED_EVERY_MIN, STUCK_NS),
            (Some(Duration::MAX), STATUS_EVERY, u64::MAX),
        ] {
            manager.watchdog = period;
            assert_eq!((manager.pace(), manager.silence_ns()), (pace, silence_ns));
        }
    }
}
