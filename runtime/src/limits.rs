//! Every limit of the runtime in one table: what is bounded, by how much, and what happens there.
//!
//! | limit | value | at the limit |
//! |---|---|---|
//! | [`SHARDS_MAX`] | 64 | `StartError::Shards`: a doorbell word has one bit a shard |
//! | [`MAILBOX_MESSAGES`] | 1,024 a lane | `SendError::Full` hands the message back |
//! | [`MAILBOX_BYTES`] | 256 KiB a mailbox | `SendError::Full`, or the overflow policy |
//! | [`MESSAGES_MAX`] | 16 M a shard | `SendError::Full` |
//! | [`CALLS_MAX`] | 4 M a shard | `CallError::Full` |
//! | [`OPTIONS_MAX`] | 4,096 different spawn options a shard | `SpawnError::TooManyOptions` |
//! | [`GROUPS_MAX`] | 16 scheduling groups | `StartError::Groups` |
//! | [`SHARES_MAX`] | 1,000,000 a scheduling group | `StartError::Shares` |
//! | [`ACTOR_TYPES_MAX`] | 256 a shard | further types share one account |
//! | [`MESSAGE_TYPES_MAX`] | 16 an actor type | further types share one account |
//! | [`QUARANTINE_MAX`] | 64 messages a shard | the oldest is dropped |
//! | [`BACKTRACES_EVERY`] | 1 s a thread | a panic before that has no backtrace |
//! | [`SWEEP_SLOTS`] | 64 slots a housekeeping | the next ones are looked at next time |
//! | [`INSPECT_SLOTS`] | 4,096 slots a look | the caller goes on from there |
//! | [`INLINE_BYTES`] | 64 B | a larger message is boxed once by its sender |
//! | [`TURN_MESSAGES`] | 1,024 | the turn ends, the actor goes to the tail of its class |
//! | [`TICK_TURNS`] | 16 turns | rings, I/O and timers are looked at |
//! | [`EXPRESS_SLOTS`] | 128 a shard pair | `SendError::Full` |
//! | [`BULK_SLOTS`] | 512 a shard pair | `SendError::Full` |
//! | [`EAGER_SHARDS`] | 16 | a pair's lanes are made when it first talks |
//! | [`CREDIT_WINDOW`] | 256 messages a sending shard and actor | `SendError::Full` |
//! | [`CREDIT_BATCH`] | 64 messages | credits go home, else at the end of the tick |
//! | [`BIAS_TAKES`] | 1,024 takes without sleep | producers stop fencing |
//! | [`BULK_BATCH`] | 16 frames | the batch is published |
//! | [`DRAIN_MAX`] | 256 frames a lane and tick | the rest waits for the next tick |
//! | [`INJECT_MAX`] | 65,536 jobs a shard | `SendError::Full`, `Busy` |
//! | [`INJECT_DRAIN`] | 64 jobs a tick | the rest waits for the next tick |
//! | [`TIMERS_DRAIN`] | 256 expiries a tick | the rest fires in the next tick |
//! | [`NAMES_MAX`] | 4 M a shard | `RegisterError::TooMany` |
//! | [`NAME_BYTES_MAX`] | 255 B | `RegisterError::TooLong`, `GroupError::TooLong` |
//! | [`NAME_CACHE_MAX`] | 64 Ki names a shard | the cache is emptied |
//! | [`NAME_FORGETS_MAX`] | 4,096 names a shard pair | the peer empties its cache |
//! | [`NAMES_WITHIN`] | 5 s | `RegisterError::Unanswered`, `GroupError::Unanswered` |
//! | [`PROCESS_GROUPS_MAX`] | 64 Ki | `GroupError::TooManyGroups` |
//! | [`PROCESS_GROUP_MEMBERS_MAX`] | 64 Ki a group | `GroupError::TooManyMembers` |
//! | [`GROUP_UPDATES_MAX`] | 4,096 a shard pair | the peer is sent the whole state instead |
//! | [`ERRAND_WITHIN`] | 1 h | `SpawnError::Lost`, `MigrateError::Unanswered` |
//! | [`POOL_WORKERS_MAX`] | 1,024 a pool | `PoolError::Workers` |
//! | [`MIGRATIONS_MAX`] | 8 moves of an actor | `MigrateError::TooOften` |
//! | [`FORWARD_BATCH`] | 256 messages | a forwarder sends the rest once these are reached |
//! | [`ACTORS_MAX`] | 16 M cells a shard | `SpawnError::Full` |
//! | [`BLOCKING_QUEUE`] | 1,024 jobs | `BlockingError::Full` |
//! | [`RESTARTS_REMEMBERED`] | 64 a supervisor | those near each other are remembered as one |
//! | [`RESTART_RETRY`] | 1 ms | a restart that failed is not tried again before |
//! | [`STOP_LOOK`] | 1 ms | how often a child that is to finish is looked at |
//! | [`RECV_BUFFERS`] x [`RECV_BUFFER_BYTES`] | 512 x 4 KiB a shard | receives wait for a buffer |
//! | [`RECV_QUEUED_MAX`] | 8 buffers a socket | its receive is paused until it reads |
//! | [`ACCEPT_QUEUED_MAX`] | 256 a listener | accepting pauses until the acceptor reads |
//! | [`SEND_POOL_BUFFERS`] x [`SEND_BUFFER_KEEP_BYTES`] | 256 x 64 KiB | the buffer is freed |
//! | [`SIM_SOCKETS_MAX`] | 4,096 a simulated network | EMFILE |
//! | [`SIM_BACKLOG`] | 128 a simulated listener | `ConnectionRefused` |
//! | [`SIM_PIPE_BYTES`] | 64 KiB a direction, by seed down to 128 B | writes move nothing |
//! | [`SIM_BUFFERS_MIN`] | 16 by seed up to 128 a simulated driver | receives wait for a buffer |
//! | [`SPIN`] | 20 us | the shard parks in its ring |
//! | [`PARK_MAX`] | 250 ms | the shard turns once and parks again |
//! | [`STOP_WITHIN`] | 2 s | a shard thread that is blocked is left behind and reported |
//! | [`STALL_AFTER`] | 2 ms, at least [`STALL_AFTER_MIN`] | the turn is reported with its stack |
//! | [`STUCK_AFTER`] | 1 s | the shard is reported as stuck |
//! | [`STALL_RECORDS`] | 8 a shard between two rounds | the stall is counted and not named |
//! | [`STALL_STACK_BYTES`] | 32 KiB | a report's stack ends there |
//! | [`STALL_STACK_FRAMES`], [`STALL_LOG_FRAMES`] | 64, 16 logged | outer frames are left out |
//! | [`STALL_REPORTS`] | 64 a runtime | the oldest is forgotten |
//! | [`STALL_LOG_EVERY`] | 10 s a pair of actor and message | counted, logged as a number |
//! | [`STALL_LOG_KINDS`] | 256 pairs | new pairs are counted and not logged |
//! | [`STUCK_STACK_WITHIN`] | 50 ms | a stuck shard is reported without its stack |

use std::time::Duration;

/// Shards in one runtime.
pub const SHARDS_MAX: usize = 64;
/// Messages in each lane of a mailbox unless the actor's options say otherwise.
pub const MAILBOX_MESSAGES: u32 = 1024;
/// Bytes of all messages in a mailbox unless the actor's options say otherwise.
pub const MAILBOX_BYTES: u32 = 256 << 10;
/// Messages in all mailboxes of a shard.
pub const MESSAGES_MAX: u32 = 1 << 24;
/// Calls of a shard that are not answered yet.
pub const CALLS_MAX: u32 = 1 << 22;
/// Different [`crate::SpawnOptions`] in use on a shard.
pub const OPTIONS_MAX: u16 = 4096;
/// Scheduling groups, the default one included.
pub const GROUPS_MAX: usize = 16;
/// Shares of a scheduling group.
pub const SHARES_MAX: u32 = 1_000_000;
/// Types of actors and tasks with an account of their own.
pub const ACTOR_TYPES_MAX: usize = 256;
/// Types of messages of one actor type with an account of their own.
pub const MESSAGE_TYPES_MAX: usize = 16;
/// Quarantined messages that a shard keeps.
pub const QUARANTINE_MAX: usize = 64;
/// Least time between two backtraces.
pub const BACKTRACES_EVERY: Duration = Duration::from_secs(1);
/// Slots looked at for idle actors in one housekeeping.
pub const SWEEP_SLOTS: u32 = 64;
/// Slots looked at for one page of actors.
pub const INSPECT_SLOTS: u32 = 4096;
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
/// Shards up to which every lane of the mesh exists from the start (80 KiB an ordered pair).
pub const EAGER_SHARDS: usize = 16;
/// Messages that one shard may have under way to one actor of another, high ones aside.
pub const CREDIT_WINDOW: u32 = 256;
/// Handled messages of one peer after which their credits go home at once.
pub const CREDIT_BATCH: u32 = 64;
/// Takes from a doorbell without sleep after which its producers go without fences; the next sleep
/// then pays a barrier on every core.
pub const BIAS_TAKES: u32 = 1024;
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
/// Names that a shard holds: local ones, and as many global ones whose home it is.
pub const NAMES_MAX: usize = 1 << 22;
/// Bytes of a name of an actor or of a process group.
pub const NAME_BYTES_MAX: usize = 255;
/// Global names that a shard remembers the owners of.
pub const NAME_CACHE_MAX: usize = 1 << 16;
/// Names that a home shard could not yet tell a peer to forget.
pub const NAME_FORGETS_MAX: usize = 4096;
/// Time that a name or group service has to answer.
pub const NAMES_WITHIN: Duration = Duration::from_secs(5);
/// Process groups of a runtime.
pub const PROCESS_GROUPS_MAX: usize = 1 << 16;
/// Members of one process group.
pub const PROCESS_GROUP_MEMBERS_MAX: usize = 1 << 16;
/// Joins and leaves that a shard could not yet tell a peer.
pub const GROUP_UPDATES_MAX: usize = 4096;
/// Time that a live shard has for an errand: longer than any overload, since what was begun there
/// would stay behind.
pub const ERRAND_WITHIN: Duration = Duration::from_secs(3600);
/// Workers of a pool.
pub const POOL_WORKERS_MAX: usize = 1024;
/// Moves of one actor: each leaves a forwarder behind for as long as the actor lives.
pub const MIGRATIONS_MAX: usize = 8;
/// Messages that a forwarder has under way to its actor, in each lane.
pub const FORWARD_BATCH: usize = 256;
/// Jobs waiting for a thread of the blocking pool.
pub const BLOCKING_QUEUE: usize = 1024;
/// Restarts that a supervisor remembers one by one to keep its intensity.
pub const RESTARTS_REMEMBERED: u32 = 64;
/// Least wait before a restart that failed is tried again.
pub const RESTART_RETRY: Duration = Duration::from_millis(1);
/// Time between two looks at a child that is to finish what it has before it is stopped.
pub const STOP_LOOK: Duration = Duration::from_millis(1);
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
/// Descriptors open in one simulated network.
pub const SIM_SOCKETS_MAX: usize = 4096;
/// Connections that a simulated listener has not accepted yet.
pub const SIM_BACKLOG: usize = 128;
/// Bytes that a direction of a simulated connection holds at most; its seed may say less.
pub const SIM_PIPE_BYTES: usize = 64 << 10;
/// Receive buffers of a simulated driver at least; its seed may say up to eight times as many.
pub const SIM_BUFFERS_MIN: u16 = 16;
/// Time a shard with nothing to do spins before it parks.
pub const SPIN: Duration = Duration::from_micros(20);
/// Longest single park.
pub const PARK_MAX: Duration = Duration::from_millis(250);
/// Time the shards have to end once they are told to stop.
pub const STOP_WITHIN: Duration = Duration::from_secs(2);
/// A turn held for longer than this is reported as a stall.
pub const STALL_AFTER: Duration = Duration::from_millis(2);
/// Least threshold of the stall detector.
pub const STALL_AFTER_MIN: Duration = Duration::from_micros(100);
/// A shard that stands still for longer than this is reported as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(1);
/// Stalls of one shard that wait for the watchdog.
pub const STALL_RECORDS: usize = 8;
/// Bytes of the stack that the record of a stall keeps, from the innermost frame outwards.
pub const STALL_STACK_BYTES: usize = 32 << 10;
/// Frames of a report's stack; a frame may stand for several inlined functions.
pub const STALL_STACK_FRAMES: usize = 64;
/// Functions of a stack that are logged.
pub const STALL_LOG_FRAMES: usize = 16;
/// Reports of stalls that a runtime keeps.
pub const STALL_REPORTS: usize = 64;
/// Time between two log lines about the same actor and message type.
pub const STALL_LOG_EVERY: Duration = Duration::from_secs(10);
/// Pairs of actor and message type whose last log line is remembered.
pub const STALL_LOG_KINDS: usize = 256;
/// The stall detector's signal, above `SIGRTMIN`.
pub const STALL_SIGNAL: i32 = 8;
/// Time between two rounds of the watchdog.
pub const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Time a stuck shard has to show its stack.
pub const STUCK_STACK_WITHIN: Duration = Duration::from_millis(50);
