//! Every limit of a client: what it takes from a server, and how long it waits.

use crate::limits::{HOUR, KIB, MIB, SECOND, fixed, limits};

limits! {
    {
        /// The limits of one client, by name; durations are in milliseconds.
    }
    /// Bytes of one message: a JSON body, an event of a stream, a line of a child's output.
    message_bytes: usize, Bytes = 16 * MIB, 1024..=1024 * 1024 * 1024, "the request fails";
    /// Bytes that are kept of an answer that is no message, for its error.
    excerpt_bytes: usize, Bytes = KIB, 0..=1_048_576, "the rest is not shown";
    /// Time to connect to a server.
    connect_ms: u64, Millis = 10 * SECOND, 1..=HOUR, "the request fails";
    /// Time that a new session waits for its stream to open, so that no question gets lost.
    stream_open_ms: u64, Millis = 500, 0..=HOUR, "requests go on beside it";
    /// Time that a child process may take to answer the question whether it is modern.
    probe_ms: u64, Millis = 10 * SECOND, 1..=HOUR, "it is taken for legacy";
    /// Time that a server may be silent about a request; its progress starts it again.
    request_ms: u64, Millis = 60 * SECOND, 1..=24 * HOUR, "the request fails and is cancelled";
    /// Time of a request, whatever its progress.
    request_total_ms: u64, Millis = 600 * SECOND, 1..=24 * HOUR,
        "the request fails and is cancelled";
    /// Time that a handler here may take to answer a question of the server.
    answer_ms: u64, Millis = 300 * SECOND, 1..=24 * HOUR, "the server gets -32603";
    /// Time that a cancellation, the end of a session and a child's end may take.
    goodbye_ms: u64, Millis = 2 * SECOND, 1..=HOUR, "given up; a child is killed";
    /// Bytes of one answer on the way to a token: metadata, a registration, the token itself.
    metadata_bytes: usize, Bytes = 256 * KIB, 1024..=16 * 1024 * 1024, "the sign-in fails";
    /// Time of one request on the way to a token.
    fetch_ms: u64, Millis = 15 * SECOND, 1..=HOUR, "the sign-in fails";
    /// Time that a person may take to sign in.
    sign_in_ms: u64, Millis = 300 * SECOND, 1..=24 * HOUR, "the sign-in fails";
    /// Tokens that are got for one request, one after the other was refused.
    token_count: usize, Count = 2, 0..=16, "the request fails";
    /// Scopes that are asked for at a time.
    scope_count: usize, Count = 100, 1..=10_000, "the sign-in fails";
    /// Questions of a server that are answered at a time.
    questions_count: usize, Count = 16, 1..=1024, "the server gets -32603";
    /// Rounds of one request of the modern era.
    round_count: usize, Count = 10, 1..=1000, "the request fails";
    /// Time that the result of a task is waited for.
    task_ms: u64, Millis = HOUR, 1..=24 * HOUR, "given up; the task goes on";
    /// Changes of one subscription that wait to be taken.
    change_count: usize, Count = 256, 1..=65_536,
        "newer ones are dropped, and the subscription tells that some were";
    /// Bytes of the schemas that results are held to, of all tools of a list.
    schema_bytes: usize, Bytes = 4 * MIB, 0..=1024 * 1024 * 1024,
        "results of the tools behind it are not looked at";
    /// Origins whose era is remembered.
    era_cache_count: usize, Count = 256, 1..=65_536, "the one learnt first is forgotten";
    /// Time that an era is remembered.
    era_cache_ms: u64, Millis = HOUR, 0..=24 * HOUR, "the server is asked again";
    /// Pages of one list.
    page_count: usize, Count = 1000, 1..=1_000_000, "the request fails";
    /// Entries of one list.
    entry_count: usize, Count = 100_000, 1..=10_000_000, "the request fails";
    /// Bytes of one list, as JSON.
    list_bytes: usize, Bytes = 64 * MIB, 1024..=16 * 1024 * 1024 * 1024, "the request fails";
    /// Times in a row that a stream which ended is opened again.
    reconnect_count: usize, Count = 5, 0..=1000, "the stream counts as closed";
    /// Time until a stream is opened again, where the server names none.
    retry_ms: u64, Millis = SECOND, 1..=HOUR, "opened again";
    /// Longest time until a stream is opened again that a server can name.
    retry_max_ms: u64, Millis = 60 * SECOND, 1..=HOUR, "opened after this time";
    /// Lines of a child's output in a row that are no JSON.
    stray_line_count: usize, Count = 100, 0..=1_000_000, "the child counts as broken";
}

fixed! {
    /// Shortest time until a stream is opened again, whatever its server names.
    RETRY_MIN_MS: u64, Millis = 100, "opened after this time";
    /// Shortest time between two questions how a task stands, whatever its server says.
    TASK_POLL_MIN_MS: u64, Millis = 50, "asked after this time";
    /// Pages that a person was sent to and of whose end the server may still tell.
    VISIT_COUNT: usize, Count = 64, "the end of the oldest is not told";
    /// Bytes of the id of such a page.
    VISIT_ID_BYTES: usize, Bytes = KIB, "its end is not told";
    /// Bytes of the schema of a tool in which wishes for header fields are looked for.
    SCHEMA_BYTES: usize, Bytes = 64 * KIB, "the tool is not usable over HTTP";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lie_in_their_ranges_and_names_say_their_unit() {
        assert_eq!(Limits::default().validate(), Ok(()));
        for row in TABLE {
            let unit = format!("{:?}", row.unit)
                .to_lowercase()
                .replace("millis", "ms");
            assert!(row.name.ends_with(&unit), "{}", row.name);
        }
    }
}
