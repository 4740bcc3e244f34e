//! The streams of one session: which are open, and which of their events can be replayed.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::hub::{Hub, Parcel, SlotRef};
use crate::limits::Limits;
use crate::session::{Event, SessionError};

/// Name of the stream that belongs to no request.
const STANDALONE: &str = "g";
/// Streams that are known to have ended although their last event is kept no more.
const FORGOTTEN_MAX: usize = 64;
/// Streams of earlier requests that a client may have come back for at once.
const RESUMED_MAX: usize = 64;

struct Kept {
    stream: Box<str>,
    number: u64,
    last: bool,
    event: Event,
}

/// The streams of a session.
#[derive(Default)]
pub(super) struct Streams {
    standalone: Option<SlotRef>,
    /// Number of the latest event of the stream that belongs to no request.
    latest: u64,
    resumed: Vec<(Box<str>, SlotRef)>,
    kept: VecDeque<Kept>,
    forgotten: VecDeque<Box<str>>,
    kept_bytes: usize,
    kept_max: usize,
    kept_bytes_max: usize,
}

impl Streams {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            kept_max: limits.replay_count,
            kept_bytes_max: limits.replay_bytes,
            ..Self::default()
        }
    }

    /// Whether a client reads one of the streams now.
    pub(super) fn are_read(&self) -> bool {
        self.standalone.is_some() || !self.resumed.is_empty()
    }

    /// Keeps an event, and passes it on if the client has come back for its stream.
    // [mcp:http-one-stream]
    pub(super) fn record(&mut self, hub: &Hub, stream: &str, event: Event, last: bool) {
        let reader = self.resumed.iter().find(|(name, _)| **name == *stream);
        if let Some(&(_, slot)) = reader {
            hub.post(slot, Parcel::Event(event.clone()));
            if last {
                hub.post(slot, Parcel::End);
                self.resumed.retain(|(_, it)| !it.is(&slot));
            }
        }
        self.keep(stream, event, last);
    }

    /// Sends a notification that belongs to no request.
    pub(super) fn notify(&mut self, hub: &Hub, method: &str, params: Option<Value>) {
        let mut message = json!({"jsonrpc": "2.0", "method": method});
        if let Some(params) = params {
            message["params"] = params;
        }
        self.latest += 1;
        let event = Event {
            id: format!("{STANDALONE}-{}", self.latest),
            data: message.to_string(),
        };
        if let Some(slot) = self.standalone {
            hub.post(slot, Parcel::Event(event.clone()));
        }
        self.keep(STANDALONE, event, false);
    }

    // [mcp:http-event-id]
    fn keep(&mut self, stream: &str, event: Event, last: bool) {
        let Some((_, number)) = place(&event.id) else {
            return;
        };
        self.kept_bytes += event.data.len();
        self.kept.push_back(Kept {
            stream: stream.into(),
            number,
            last,
            event,
        });
        while self.kept.len() > self.kept_max || self.kept_bytes > self.kept_bytes_max {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.kept_bytes -= oldest.event.data.len();
            if oldest.last {
                self.forgotten.push_back(oldest.stream);
                self.forgotten
                    .drain(..self.forgotten.len().saturating_sub(FORGOTTEN_MAX));
            }
        }
    }

    /// Lets `slot` read on after the event `after`, or read the stream that belongs to no request.
    /// A client that comes back for that one takes it from a connection that it has given up.
    // [mcp:http-replay] [mcp:http-get-responses]
    pub(super) fn attach(
        &mut self,
        hub: &Hub,
        after: Option<&str>,
        slot: SlotRef,
        primes: bool,
    ) -> Result<(), SessionError> {
        let Some((stream, number)) = after.and_then(place) else {
            if self.standalone.is_some() {
                return Err(SessionError::Conflict);
            }
            self.standalone = Some(slot);
            if primes {
                let id = format!("{STANDALONE}-{}", self.latest);
                hub.post(
                    slot,
                    Parcel::Event(Event {
                        id,
                        data: String::new(),
                    }),
                );
            }
            return Ok(());
        };
        let mut ended = self.forgotten.iter().any(|name| **name == *stream);
        for kept in self.kept.iter().filter(|it| *it.stream == *stream) {
            if kept.number > number {
                hub.post(slot, Parcel::Event(kept.event.clone()));
            }
            ended |= kept.last;
        }
        if stream == STANDALONE {
            if let Some(earlier) = self.standalone.replace(slot) {
                hub.post(earlier, Parcel::End);
            }
        } else if ended {
            hub.post(slot, Parcel::End);
        } else {
            // A client that comes back once more has lost the connection of the time before.
            let earlier = self.resumed.iter().position(|(name, _)| **name == *stream);
            if let Some(at) = earlier {
                let (_, earlier) = self.resumed.swap_remove(at);
                hub.post(earlier, Parcel::End);
            }
            if self.resumed.len() >= RESUMED_MAX {
                return Err(SessionError::Conflict);
            }
            self.resumed.push((stream.into(), slot));
        }
        Ok(())
    }

    /// The reader behind `slot` has gone.
    pub(super) fn detach(&mut self, slot: &SlotRef) {
        self.standalone.take_if(|it| it.is(slot));
        self.resumed.retain(|(_, it)| !it.is(slot));
    }

    /// Ends every stream.
    pub(super) fn end(&mut self, hub: &Hub) {
        let resumed = self.resumed.drain(..).map(|(_, slot)| slot);
        for slot in resumed.chain(self.standalone.take()) {
            hub.post(slot, Parcel::End);
        }
    }
}

/// Stream and number of the event called `id`.
fn place(id: &str) -> Option<(&str, u64)> {
    let (stream, number) = id.rsplit_once('-')?;
    Some((stream, number.parse().ok()?))
}
