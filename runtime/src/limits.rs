//! Every limit of the runtime in one table: what is bounded, by how much, and what happens there.
//!
//! | limit | value | at the limit |
//! |---|---|---|
//! | [`SHARDS_MAX`] | 64 | `StartError::Shards`: a doorbell word has one bit a shard |
//! | [`MAILBOX_MESSAGES`] | 1,024 a lane | `SendError::Full` hands the message back |
//! | [`INLINE_BYTES`] | 64 B | a larger message is boxed once by its sender |
//! | [`TURN_MESSAGES`] | 1,024 | the turn ends, the actor goes to the tail of its class |
//! | [`TICK_TURNS`] | 16 turns | rings, I/O and timers are looked at |
//! | [`EXPRESS_SLOTS`] | 128 a shard pair | `SendError::Full` |
//! | [`BULK_SLOTS`] | 512 a shard pair | `SendError::Full` |
//! | [`BULK_BATCH`] | 16 frames | the batch is published |
//! | [`DRAIN_MAX`] | 256 frames a lane and tick | the rest waits for the next tick |
//! | [`INJECT_MAX`] | 65,536 jobs a shard | `SendError::Full`, `Busy` |
//! | [`INJECT_DRAIN`] | 64 jobs a tick | the rest waits for the next tick |
//! | [`TIMERS_DRAIN`] | 256 expiries a tick | the rest fires in the next tick |
//! | [`ACTORS_MAX`] | 16 M cells a shard | `SpawnError::Full` |
//! | [`BLOCKING_QUEUE`] | 1,024 jobs | `BlockingError::Full` |
//! | [`RECV_BUFFERS`] x [`RECV_BUFFER_BYTES`] | 512 x 4 KiB a shard | receives wait for a buffer |
//! | [`RECV_QUEUED_MAX`] | 8 buffers a socket | its receive is paused until it reads |
//! | [`ACCEPT_QUEUED_MAX`] | 256 a listener | accepting pauses until the acceptor reads |
//! | [`SEND_POOL_BUFFERS`] x [`SEND_BUFFER_KEEP_BYTES`] | 256 x 64 KiB | the buffer is freed |
//! | [`SPIN`] | 20 us | the shard parks in its ring |
//! | [`PARK_MAX`] | 250 ms | the shard turns once and parks again |
//! | [`STOP_WITHIN`] | 2 s | a shard thread that is blocked is left behind and reported |

use std::time::Duration;

/// Shards in one runtime.
pub const SHARDS_MAX: usize = 64;
/// Messages in each lane of a mailbox unless the actor's options say otherwise.
pub const MAILBOX_MESSAGES: u32 = 1024;
/// Bytes of a message that travel inline in an envelope.
pub const INLINE_BYTES: usize = 64;
/// Messages in one turn: a cap behind the time budget, not the unit of fairness.
pub const TURN_MESSAGES: u32 = 1024;
/// Turns between two looks at rings, I/O and timers.
pub const TICK_TURNS: u32 = 16;
/// Frames in the express lane (high class, replies) of one ordered shard pair.
pub const EXPRESS_SLOTS: usize = 128;
/// Frames in the bulk lane of one ordered shard pair.
pub const BULK_SLOTS: usize = 512;
/// Frames that a sender gathers before it publishes them.
pub const BULK_BATCH: usize = 16;
/// Frames that a receiver takes from one lane in one tick.
pub const DRAIN_MAX: usize = 256;
/// Jobs that threads outside the shards may have queued at one shard.
pub const INJECT_MAX: usize = 65_536;
/// Jobs taken from that queue in one tick.
pub const INJECT_DRAIN: usize = 64;
/// Timers fired in one tick.
pub const TIMERS_DRAIN: usize = 256;
/// Actors and tasks of one shard.
pub const ACTORS_MAX: u32 = 1 << 24;
/// Jobs waiting for a thread of the blocking pool.
pub const BLOCKING_QUEUE: usize = 1024;
/// Receive buffers of one shard, shared by all its sockets; a power of two.
pub const RECV_BUFFERS: u16 = 512;
/// Bytes of one receive buffer.
pub const RECV_BUFFER_BYTES: usize = 4096;
/// Receive buffers that one socket may hold unread.
pub const RECV_QUEUED_MAX: usize = 8;
/// Accepted connections that wait for the acceptor.
pub const ACCEPT_QUEUED_MAX: usize = 256;
/// Send buffers that a shard keeps for reuse.
pub const SEND_POOL_BUFFERS: usize = 256;
/// A send buffer with more capacity than this is freed after use.
pub const SEND_BUFFER_KEEP_BYTES: usize = 64 << 10;
/// Time a shard with nothing to do spins before it parks.
pub const SPIN: Duration = Duration::from_micros(20);
/// Longest single park.
pub const PARK_MAX: Duration = Duration::from_millis(250);
/// Time the shards have to end once they are told to stop.
pub const STOP_WITHIN: Duration = Duration::from_secs(2);
