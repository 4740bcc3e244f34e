//! Bringing a ring up, and saying plainly why it does not come.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::{IoUring, Probe, opcode};

use super::buffers::BufferRing;
use super::kernel::KernelRing;
use super::ring::Ring;
use super::sim::{SimNet, SimRing};
use super::socket::Sockets;
use super::{BUFFER_GROUP, Driver};
use crate::limits::RECV_BUFFERS;

/// Submission entries; completions get four times as many, since receives are multishot.
const ENTRIES: [u32; 3] = [1024, 256, 64];

/// A simulated park waits for nothing that a descriptor could end.
const NO_WAKE_FD: i32 = -1;

/// Why a shard has no ring.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The kernel or a container's seccomp profile forbids io_uring.
    #[error(
        "wanted an io_uring, but the kernel forbids it ({0}); allow it with \
         `sysctl kernel.io_uring_disabled=0`, or allow the io_uring system calls in the seccomp \
         profile of the container"
    )]
    Forbidden(io::Error),
    /// Too little memory may be locked.
    #[error(
        "wanted memory for an io_uring, but {found} may be locked ({error}); raise it with \
         `ulimit -l 8192` or LimitMEMLOCK=8M"
    )]
    Memlock {
        /// The limit found, for reading.
        found: String,
        /// What the kernel said to the smallest ring.
        error: io::Error,
    },
    /// The kernel is too old.
    #[error("wanted kernel 6.0 or newer for multishot receive with provided buffers, but {0}")]
    Kernel(String),
    /// Anything else.
    #[error("could not set an io_uring up: {0}")]
    Setup(#[from] io::Error),
}

impl Driver {
    /// Sets up the ring of the calling thread; `wake_fd` is an eventfd that ends a park.
    ///
    /// # Errors
    /// [`DriverError`], which says what to change.
    pub(crate) fn new(wake_fd: &OwnedFd) -> Result<Self, DriverError> {
        let (ring, buffers) = ring_and_buffers()?;
        Ok(Self::on(ring, buffers, wake_fd.as_raw_fd()))
    }

    /// A driver on a simulated network, whose every choice follows from `seed`.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the simulator of shards"))]
    pub(crate) fn simulated(net: &SimNet, seed: u64) -> Self {
        let ring = SimRing::new(net, seed);
        let buffers = ring.buffers().clone();
        Self::on(Ring::Simulated(ring), buffers, NO_WAKE_FD)
    }

    fn on(ring: Ring, buffers: Rc<BufferRing>, wake_fd: i32) -> Self {
        let mut driver = Driver {
            ring,
            buffers,
            sockets: Sockets::default(),
            starved: VecDeque::new(),
            starved_accepts: VecDeque::new(),
            retry_accept_ns: 0,
            send_pool: Vec::new(),
            wake_fd,
            wake_buffer: Box::new(0),
        };
        driver.arm_wake();
        driver
    }
}

/// A ring of the kernel with its buffers registered. Whoever drops the ring leaks the buffers
/// first: the kernel may still use them.
pub(super) fn ring_and_buffers() -> Result<(Ring, Rc<BufferRing>), DriverError> {
    let ring = ring_of_some_size()?;
    require_opcodes(&ring)?;
    let buffers = BufferRing::new();
    // SAFETY: the table is page aligned, has RECV_BUFFERS entries, and is leaked rather than
    // freed while the kernel might use it (see `Drop for Driver`).
    let registered = unsafe {
        ring.submitter().register_buf_ring_with_flags(
            buffers.address(),
            RECV_BUFFERS,
            BUFFER_GROUP,
            0,
        )
    };
    registered.map_err(|e| match e.raw_os_error() {
        Some(libc::EINVAL) => DriverError::Kernel(format!("buffer rings are unknown ({e})")),
        _ => DriverError::Setup(e),
    })?;
    Ok((Ring::Kernel(KernelRing::new(ring)), buffers))
}

/// Tries large rings first: little lockable memory costs batching, not service.
fn ring_of_some_size() -> Result<IoUring, DriverError> {
    let mut last = None;
    for entries in ENTRIES {
        match build(entries) {
            Ok(ring) => return Ok(ring),
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) => last = Some(e),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES)) => {
                return Err(DriverError::Forbidden(e));
            }
            Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {
                return Err(DriverError::Forbidden(e));
            }
            Err(e) => return Err(e.into()),
        }
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
    let found = limit.map_or_else(|| "any amount".to_owned(), |bytes| format!("{bytes} bytes"));
    Err(DriverError::Memlock {
        found,
        error: last.unwrap_or_else(|| io::ErrorKind::Other.into()),
    })
}

/// The best set-up flags the kernel takes: deferred task work (6.1), cooperative (5.19), plain.
fn build(entries: u32) -> io::Result<IoUring> {
    let defer = IoUring::builder()
        .setup_cqsize(entries * 4)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(entries);
    match defer {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
        other => return other,
    }
    let coop = IoUring::builder()
        .setup_cqsize(entries * 4)
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .build(entries);
    match coop {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
        other => return other,
    }
    IoUring::builder().setup_cqsize(entries * 4).build(entries)
}

fn require_opcodes(ring: &IoUring) -> Result<(), DriverError> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let wanted = [
        ("accept", opcode::Accept::CODE),
        ("recv", opcode::Recv::CODE),
        ("send", opcode::Send::CODE),
        ("read", opcode::Read::CODE),
        ("async cancel", opcode::AsyncCancel::CODE),
        // Came with 6.0, as did multishot receive, which the probe does not show by itself.
        ("send zero copy", opcode::SendZc::CODE),
    ];
    match wanted.iter().find(|(_, code)| !probe.is_supported(*code)) {
        Some((name, _)) => Err(DriverError::Kernel(format!(
            "operation {name:?} is unknown"
        ))),
        None => Ok(()),
    }
}
