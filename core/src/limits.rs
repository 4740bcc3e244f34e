//! Every limit of the node in one table: name, unit, default, range and what happens beyond it.
//!
//! [`TABLE`] is for people, configuration and documentation; [`Limits`] is what the code reads.
//! Both come from one declaration, so neither can say what the other does not. [`FIXED`] holds what
//! is bounded as well and cannot be configured.

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of memory or of a message.
    Bytes,
    /// A number of things.
    Count,
    /// Milliseconds.
    Millis,
}

/// One row of [`TABLE`].
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Name, as in [`Limits`] and in configuration.
    pub name: &'static str,
    /// What is counted.
    pub unit: Unit,
    /// Value without configuration.
    pub default: u64,
    /// Smallest accepted value.
    pub min: u64,
    /// Largest accepted value.
    pub max: u64,
    /// What the peer sees at the limit.
    pub beyond: &'static str,
}

/// A configured value lies outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit {name} must lie in {min}..={max}, found {found}: choose a value in that range")]
pub struct OutOfRange {
    /// Name of the limit.
    pub name: &'static str,
    /// Smallest accepted value.
    pub min: u64,
    /// Largest accepted value.
    pub max: u64,
    /// The value that was configured.
    pub found: u64,
}

macro_rules! limits {
    ({$(#[$whose:meta])+}
     $($(#[$doc:meta])+ $name:ident: $kind:ty, $unit:ident = $default:expr,
        $min:literal..=$max:expr, $beyond:literal;)+) => {
        $(#[$whose])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits { $($(#[$doc])+ pub $name: $kind,)+ }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// Calls `f` with the name and the value of each limit, in the order of [`TABLE`].
            pub fn each(&self, f: &mut dyn FnMut(&'static str, u64)) {
                $(f(stringify!($name), self.$name as u64);)+
            }

            /// Checks each value against its range in [`TABLE`]; the error names the first that
            /// lies outside.
            pub fn validate(&self) -> Result<(), $crate::limits::OutOfRange> {
                let mut rows = TABLE.iter();
                let mut bad = None;
                self.each(&mut |name, found| {
                    if let Some(&$crate::limits::Limit { min, max, .. }) = rows.next()
                        && !(min..=max).contains(&found)
                    {
                        bad.get_or_insert($crate::limits::OutOfRange { name, min, max, found });
                    }
                });
                bad.map_or(Ok(()), Err)
            }
        }

        /// Every limit of [`Limits`].
        pub const TABLE: &[$crate::limits::Limit] = &[$($crate::limits::Limit {
            name: stringify!($name),
            unit: $crate::limits::Unit::$unit,
            default: $default as u64,
            min: $min,
            max: $max,
            beyond: $beyond,
        },)+];
    };
}

/// Limits that no configuration changes: constants for the code, and their rows for people.
macro_rules! fixed {
    ($($(#[$doc:meta])+ $name:ident: $kind:ty, $unit:ident = $value:expr, $beyond:literal;)+) => {
        $($(#[$doc])+ pub(crate) const $name: $kind = $value;)+

        /// Every limit that no configuration changes; its range is its value.
        pub const FIXED: &[$crate::limits::Limit] = &[$($crate::limits::Limit {
            name: stringify!($name),
            unit: $crate::limits::Unit::$unit,
            default: $value as u64,
            min: $value as u64,
            max: $value as u64,
            beyond: $beyond,
        },)+];
    };
}

pub(crate) use {fixed, limits};

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;
pub(crate) const SECOND: u64 = 1000;
pub(crate) const HOUR: u64 = 3600 * SECOND;

limits! {
    {
        /// The limits of one node, by name; durations are in milliseconds.
    }
    /// Bytes of a request line, its CRLF included.
    request_line_bytes: usize, Bytes = 8 * KIB, 256..=64 * 1024, "414 and close";
    /// Bytes of a request head, request line included.
    head_bytes: usize, Bytes = 16 * KIB, 512..=256 * 1024, "431 and close";
    /// Header fields of a request; the parser's table is fixed, hence the low maximum.
    header_count: usize, Count = 64, 8..=64, "431 and close";
    /// Bytes of a request body, after chunked decoding; of a line, where messages are lines.
    body_bytes: usize, Bytes = 4 * MIB, 1024..=256 * 1024 * 1024,
        "413 and close; a line is skipped and answered with -32700";
    /// Nesting of arrays and objects in a request body.
    json_depth: usize, Count = 128, 8..=512, "400 with -32700";
    /// Values in a request body, counted from above: a value takes 48 bytes while it is read, so
    /// that a body of digits and commas would grow to many times its size.
    json_values: usize, Count = 1_048_576, 1024..=67_108_864, "400 with -32700";
    /// Bytes that the connections of one shard may gather before they are whole requests; counted
    /// apart, those of messages that its streams of 2024-11-05 have not taken.
    inbox_bytes_per_shard: usize, Bytes = 256 * MIB, 1_048_576..=68_719_476_736,
        "503 with Retry-After and close";
    /// Open connections of one shard.
    connections_per_shard: usize, Count = 16_384, 1..=1_048_576, "closed at accept";
    /// Open connections of one shard from one peer: an IPv4 address, or the /64 of an IPv6 one.
    /// The default leaves a quarter of the shard's to others.
    peer_connections_per_shard: usize, Count = 12_288, 1..=1_048_576, "closed at accept";
    /// Requests of one connection.
    requests_per_connection: usize, Count = 1_000_000, 1..=1_000_000_000_000,
        "the last is answered with Connection: close";
    /// Time from the first byte of a request to the end of its head.
    header_deadline_ms: u64, Millis = 10 * SECOND, 100..=HOUR, "408 and close";
    /// Time from the end of a head to the end of its body.
    body_deadline_ms: u64, Millis = 30 * SECOND, 100..=HOUR, "408 and close";
    /// Time that a body may take before it is held to `body_bytes_per_s`.
    body_grace_ms: u64, Millis = 5 * SECOND, 10..=HOUR, "the rate below counts";
    /// Least bytes a second at which a body must arrive, from the end of `body_grace_ms` on.
    body_bytes_per_s: usize, Bytes = KIB, 0..=1_073_741_824, "408 and close";
    /// Time a kept connection may stay without a request.
    keep_alive_idle_ms: u64, Millis = 75 * SECOND, 100..=HOUR, "closed";
    /// Time a peer may take to accept the bytes of an answer.
    write_deadline_ms: u64, Millis = 30 * SECOND, 100..=HOUR, "closed";
    /// Legacy sessions of one shard.
    sessions_per_shard: usize, Count = 10_000, 1..=1_048_576, "503 with Retry-After";
    /// Time a legacy session may stay unused.
    session_idle_ms: u64, Millis = 1800 * SECOND, 1000..=24 * HOUR, "ended; then 404 with -32001";
    /// Time a tool may take.
    tool_deadline_ms: u64, Millis = 60 * SECOND, 10..=HOUR, "tool result with isError";
    /// Bytes that one tool result may hold.
    tool_output_bytes: usize, Bytes = 4 * MIB, 1024..=256 * 1024 * 1024,
        "tool result with isError";
    /// Bytes that the contents of a resource, or the messages of a prompt, may hold.
    content_bytes: usize, Bytes = 16 * MIB, 1024..=256 * 1024 * 1024, "-32603";
    /// Bytes of a request id that is a string, and of a progress token: both are kept while their
    /// request is under way.
    id_bytes: usize, Bytes = 1024, 64..=65_536, "400 with -32600; no progress is told";
    /// Entries on one page of a list.
    page_entries: usize, Count = 500, 1..=100_000, "the rest behind nextCursor";
    /// Bytes of messages that may wait to be sent on one stream, a first one of any size apart.
    stream_bytes: usize, Bytes = MIB, 1024..=256 * 1024 * 1024,
        "progress and log messages are dropped, questions fail, a session's stream ends";
    /// Time between two signs of life on a stream.
    stream_keep_alive_ms: u64, Millis = 15 * SECOND, 10..=HOUR, "a comment is sent";
    /// Time that a client is told to wait before it comes back to a stream that has ended.
    stream_retry_ms: u64, Millis = SECOND, 1..=HOUR, "sent as retry";
    /// Open streams of one shard: of sessions, and of subscriptions.
    streams_per_shard: usize, Count = 16_384, 1..=1_048_576, "503 with Retry-After";
    /// Calls, questions and streams of one shard that may wait for something from elsewhere.
    waits_per_shard: usize, Count = 65_536, 1..=16_777_216,
        "questions to clients fail, calls cannot be cancelled, streams get 503";
    /// Legacy calls of one shard that may go on when their client has gone.
    calls_alone_per_shard: usize, Count = 1024, 0..=1_048_576, "the call ends";
    /// Calls under way on one connection whose messages are lines, or on one stream of 2024-11-05;
    /// the subscriptions there, counted apart.
    calls_per_channel: usize, Count = 256, 1..=65_536,
        "nothing more is read until one ends; while a call waits for the client, -32603; \
         a subscription is refused";
    /// Calls that one client may make in a second on one shard, once its burst is used up: of
    /// tools, for completions, prompts and the contents of resources; 0 sets no rate. A client is
    /// the subject of a token; without tokens a peer; without an address a connection.
    calls_per_s: u64, Count = 0, 0..=1_000_000, "429 with Retry-After; -32000";
    /// Calls that one client may make at once, where there is a rate.
    calls_burst: u64, Count = 100, 1..=1_000_000, "the rate above counts";
    /// Time that calls under way on such a connection are given when their client says no more.
    input_end_ms: u64, Millis = 5 * SECOND, 0..=HOUR, "the calls end";
    /// Events of one session that are kept for replay.
    replay_count: usize, Count = 256, 1..=65_536, "the oldest are forgotten";
    /// Bytes of events of one session that are kept for replay.
    replay_bytes: usize, Bytes = 256 * KIB, 1024..=64 * 1024 * 1024, "the oldest are forgotten";
    /// Resources that one session or one stream may subscribe to.
    subscription_count: usize, Count = 256, 1..=65_536, "-32602";
    /// Bytes of the URIs that one session or one stream may subscribe to, together.
    subscription_bytes: usize, Bytes = 64 * KIB, 256..=16 * 1024 * 1024, "-32602";
    /// Time that a client may take to answer a question of the server, in the legacy era.
    client_answer_ms: u64, Millis = 300 * SECOND, 100..=24 * HOUR, "the question fails";
    /// Time that the state of a call in rounds is good for, in the modern era.
    request_state_ms: u64, Millis = 900 * SECOND, 100..=24 * HOUR, "-32602";
    /// Bytes of answers that a call in rounds, or a task, may be given at once.
    request_state_bytes: usize, Bytes = 64 * KIB, 256..=4 * 1024 * 1024, "-32602";
    /// Tasks of one shard, running and remembered.
    tasks_per_shard: usize, Count = 1000, 1..=1_048_576,
        "the call goes on as a call; -32603 in the legacy era";
    /// Tasks of one legacy session, running and remembered.
    tasks_per_session: usize, Count = 100, 1..=1000, "-32603";
    /// Requests for its result and streams that may watch one task at a time.
    task_watch_count: usize, Count = 16, 1..=1024,
        "503 with -32000; a subscription is not honoured for it";
    /// Bytes of results that the tasks of one shard may keep; looked at when a task begins.
    task_bytes_per_shard: usize, Bytes = 256 * MIB, 1024..=68_719_476_736,
        "the call goes on as a call; -32603 in the legacy era";
    /// Time from the beginning of a task until it is forgotten, and ended if it still runs.
    task_ttl_ms: u64, Millis = HOUR, 1000..=24 * HOUR, "ended; then -32602";
    /// Messages of one batch, which only sessions of 2025-03-26 may send.
    batch_count: usize, Count = 64, 1..=4096, "400 with -32600";
    /// Bytes of a token or an API key.
    auth_token_bytes: usize, Bytes = 8 * KIB, 256..=64 * 1024, "401 with invalid_token";
    /// Good tokens that one shard remembers.
    auth_cache_count: usize, Count = 4096, 0..=1_048_576, "the token is verified anew";
    /// How far the clock of an authorization server may be off; whole seconds count.
    auth_leeway_ms: u64, Millis = 60 * SECOND, 0..=600 * SECOND, "401 with invalid_token";
    /// API keys of a file.
    auth_key_count: usize, Count = 1024, 1..=65_536, "the file is refused";
    /// Bytes of a file of API keys.
    auth_file_bytes: usize, Bytes = MIB, 1024..=64 * 1024 * 1024, "the file is refused";
    /// Time between two looks at files of keys.
    auth_reload_ms: u64, Millis = 5 * SECOND, 10..=HOUR, "changes are seen so late";
    /// Keys of a JWK Set.
    jwks_count: usize, Count = 64, 1..=1024, "the set is refused";
    /// Bytes of a JWK Set.
    jwks_bytes: usize, Bytes = 256 * KIB, 1024..=16 * 1024 * 1024, "the set is refused";
    /// Time that fetching a JWK Set may take.
    jwks_fetch_ms: u64, Millis = 5 * SECOND, 10..=60 * SECOND, "it is tried again later";
    /// Time between two fetches of a JWK Set.
    jwks_refresh_ms: u64, Millis = 300 * SECOND, 100..=24 * HOUR, "fetched again";
    /// Time between two fetches after a failed one, or because a token names an unknown key.
    jwks_refresh_min_ms: u64, Millis = 10 * SECOND, 10..=HOUR,
        "401 without another look for the key";
    /// Time that keys are used when they cannot be fetched again.
    jwks_keep_ms: u64, Millis = 24 * HOUR, 1000..=720 * HOUR, "503 with Retry-After";
    /// Time that a request waits for a fetch that may bring the key it needs.
    jwks_wait_ms: u64, Millis = 2 * SECOND, 0..=60 * SECOND, "401, or 503 with Retry-After";
    /// Longest sleep of the builtin tool `sleep`.
    sleep_tool_ms: u64, Millis = 30 * SECOND, 1..=HOUR, "tool result with isError";
    /// Most rounds of the builtin tool `hash`.
    hash_tool_rounds: u64, Count = 10_000_000, 1..=1_000_000_000, "tool result with isError";
}

fixed! {
    /// Bytes of one line of chunked framing.
    CHUNK_LINE_BYTES: usize, Bytes = 256, "400 and close";
    /// Bytes of all trailer fields of a chunked body.
    TRAILER_BYTES: usize, Bytes = 4 * KIB, "400 and close";
    /// Bytes of chunked framing beyond one for each byte of the body: a flood of one-byte chunks is
    /// refused.
    CHUNK_OVERHEAD_BYTES: usize, Bytes = 16 * KIB, "400 and close";
    /// Bytes of a body up to which the parser keeps its buffers for the next one.
    PARSER_KEPT_BYTES: usize, Bytes = 64 * KIB, "the buffers are freed";
    /// Arenas that a shard keeps for requests to come.
    ARENAS_KEPT: usize, Count = 64, "freed";
    /// Bytes of an arena that is kept.
    ARENA_KEPT_BYTES: usize, Bytes = 256 * KIB, "freed";
    /// Bytes of answers of pipelined requests that are gathered before they are sent.
    SEND_BATCH_BYTES: usize, Bytes = 64 * KIB, "sent";
    /// Requests of a connection that are answered at a stretch.
    TURN_REQUESTS: u32, Count = 16, "other tasks of the shard get their turn";
    /// Bytes that a peer may send ahead while its answer goes on.
    PIPELINED_BYTES: usize, Bytes = 64 * KIB, "closed";
    /// Times that a peer which says no more is tried.
    PROBE_COUNT: u8, Count = 3, "tried at the pace of stream_keep_alive_ms";
    /// Time between two of them.
    PROBE_EVERY_MS: u64, Millis = 100, "a comment is sent";
    /// Bytes that are still read, and dropped, behind a refusal.
    LINGER_BYTES: usize, Bytes = MIB, "closed";
    /// Time for that.
    LINGER_MS: u64, Millis = SECOND, "closed";
    /// Requests of one shard that may wait for keys at once: each holds what was received of it.
    KEY_WAITS: usize, Count = 32, "401, or 503 with Retry-After, at once";
    /// Clients of one shard whose calls are counted apart, where there is a rate.
    RATE_CLIENTS: usize, Count = 65_536, "the calls of the others are counted together";
    /// Bytes of the head of a request to the admin listener.
    ADMIN_HEAD_BYTES: usize, Bytes = 16 * KIB, "431 and close";
    /// Settings of the host that a start names, each in a line.
    HOST_LINES: usize, Count = 6, "counted in one line";
    /// Updates of resources that may wait for one shard.
    SHARD_UPDATES: usize, Count = 4096, "the newest is dropped and logged";
    /// Messages that may wait for the hub of one shard: answers of clients, events, cancellations.
    HUB_MESSAGES: u32, Count = 16_384,
        "answers get 503 with Retry-After, streams end, cancellations wait";
    /// Bytes of them: each answer is as large as a body may be.
    HUB_MESSAGE_BYTES: u32, Bytes = 64 << 20,
        "answers get 503 with Retry-After, streams end, cancellations wait";
    /// Messages that may wait for one session.
    SESSION_MESSAGES: u32, Count = 256, "503 with Retry-After; events are not kept for replay";
    /// Bytes of them: a result may be as large as a tool's output may, and is recorded there.
    SESSION_MESSAGE_BYTES: u32, Bytes = 16 << 20,
        "503 with Retry-After; events are not kept for replay";
    /// Messages that may wait for one task.
    TASK_MESSAGES: u32, Count = 64, "503 with Retry-After";
    /// Bytes of them: several answers as large as a body may be.
    TASK_MESSAGE_BYTES: u32, Bytes = 16 << 20, "503 with Retry-After";
    /// Shortest time that a task is remembered, whatever its client wants.
    TASK_TTL_MIN_MS: u64, Millis = SECOND, "remembered so long";
    /// Time that clients are advised to let pass before they ask a task again.
    TASK_POLL_MS: u64, Millis = 500, "asked more often, it answers all the same";
    /// Time that a session or a task may take to answer a request.
    HANDLE_ANSWER_MS: u64, Millis = 2 * SECOND, "503 with Retry-After";
    /// Pause before what must not get lost and found no room is sent again.
    TELL_AGAIN_MS: u64, Millis = 10, "sent again";
    /// Streams of a session of which it is known that they have ended although none of their events
    /// is kept.
    STREAMS_FORGOTTEN: usize, Count = 64, "who comes back for an older one waits";
    /// Streams of earlier requests that the client of a session may have come back for at once.
    STREAMS_RESUMED: usize, Count = 64, "409";
    /// Bytes of a client's name that its session remembers.
    CLIENT_NAME_BYTES: usize, Bytes = 128, "cut off";
    /// Bytes of the name of a tool.
    TOOL_NAME_BYTES: usize, Bytes = 64, "the tool is refused";
    /// Values in one answer to `completion/complete`, by the specification.
    COMPLETION_VALUES: usize, Count = 100, "cut off, with hasMore";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_limit_says_its_unit() {
        for row in FIXED {
            let says = |unit: &str| row.name.split('_').any(|word| word == unit);
            let (bytes, ms) = (row.unit == Unit::Bytes, row.unit == Unit::Millis);
            assert_eq!((says("BYTES"), says("MS")), (bytes, ms), "{}", row.name);
            assert!(row.default > 0 && !row.beyond.is_empty());
        }
    }

    #[test]
    fn table_and_struct_agree() {
        let mut rows = TABLE.iter();
        Limits::default().each(&mut |name, value| {
            let row = rows.next().expect("a row for each field");
            assert_eq!((row.name, row.default), (name, value));
            assert!(
                row.min <= value && value <= row.max,
                "{name} outside its own range"
            );
            assert!(!row.beyond.is_empty());
            let says = |unit: &str| name.split('_').any(|word| word == unit);
            match row.unit {
                Unit::Bytes => assert!(says("bytes"), "{name}"),
                Unit::Millis => assert!(says("ms"), "{name}"),
                Unit::Count => assert!(!says("bytes") && !says("ms"), "{name}"),
            }
        });
        assert!(rows.next().is_none());
    }

    #[test]
    fn a_value_outside_its_range_is_named() {
        let limits = Limits {
            json_depth: 100_000,
            ..Limits::default()
        };
        assert_eq!(limits.validate().map_err(|e| e.name), Err("json_depth"));
        assert_eq!(Limits::default().validate(), Ok(()));
    }
}
