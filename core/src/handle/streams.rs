//! The streams of one session: which are open, and which of their events can be replayed.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::hub::{Hub, Parcel, Posted, SlotRef};
use crate::limits::{Limits, STREAMS_FORGOTTEN, STREAMS_RESUMED};
use crate::session::{Event, SessionError};

/// Name of the stream that belongs to no request.
const STANDALONE: &str = "g";

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
        if let Some(&(_, slot)) = reader
            && (!pass_on(hub, slot, &event) || last)
        {
            hub.tell(slot, Parcel::End);
            self.resumed.retain(|(_, it)| !it.is(&slot));
        }
        self.keep(stream, event, last);
    }

    /// The stream `stream` has ended without a last event.
    pub(super) fn ended(&mut self, hub: &Hub, stream: &str) {
        if let Some(reader) = self.reader(stream) {
            hub.tell(reader, Parcel::End);
        }
        let mut latest_first = self.kept.iter_mut().rev();
        match latest_first.find(|it| *it.stream == *stream) {
            Some(latest) => latest.last = true,
            None => self.forget(stream.into()),
        }
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
        if let Some(slot) = self.standalone
            && !pass_on(hub, slot, &event)
        {
            hub.tell(slot, Parcel::End);
            self.standalone = None;
        }
        self.keep(STANDALONE, event, false);
    }

    /// Takes out who reads the stream `stream` of an earlier request.
    fn reader(&mut self, stream: &str) -> Option<SlotRef> {
        let at = self.resumed.iter().position(|it| *it.0 == *stream)?;
        Some(self.resumed.swap_remove(at).1)
    }

    /// Keeps of a stream that it has ended.
    fn forget(&mut self, stream: Box<str>) {
        self.forgotten.push_back(stream);
        if self.forgotten.len() > STREAMS_FORGOTTEN {
            self.forgotten.pop_front();
        }
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
                self.forget(oldest.stream);
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
                let (id, data) = (format!("{STANDALONE}-{}", self.latest), String::new());
                if !pass_on(hub, slot, &Event { id, data }) {
                    hub.tell(slot, Parcel::End);
                    self.standalone = None;
                }
            }
            return Ok(());
        };
        // A client that comes back has lost the connection of the time before.
        let earlier = match stream {
            STANDALONE => self.standalone.take(),
            _ => self.reader(stream),
        };
        if let Some(earlier) = earlier {
            hub.tell(earlier, Parcel::End);
        }
        let of_stream = |it: &&Kept| *it.stream == *stream;
        let mut missed = self.kept.iter().filter(of_stream);
        let mut ended =
            self.forgotten.iter().any(|name| **name == *stream) || missed.clone().any(|it| it.last);
        // What finds no room on its way is come back for.
        ended |= !missed.all(|it| it.number <= number || pass_on(hub, slot, &it.event));
        if ended {
            hub.tell(slot, Parcel::End);
        } else if stream == STANDALONE {
            self.standalone = Some(slot);
        } else if self.resumed.len() < STREAMS_RESUMED {
            self.resumed.push((stream.into(), slot));
        } else {
            return Err(SessionError::Conflict);
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
            hub.tell(slot, Parcel::End);
        }
    }
}

/// Passes an event on to a reader; false when it does not get there. Then nothing may come behind
/// it: the reader must end, and its client comes back for what is kept.
fn pass_on(hub: &Hub, reader: SlotRef, event: &Event) -> bool {
    hub.post(reader, Parcel::Event(event.clone())) == Posted::Sent
}

/// Stream and number of the event called `id`.
fn place(id: &str) -> Option<(&str, u64)> {
    let (stream, number) = id.rsplit_once('-')?;
    Some((stream, number.parse().ok()?))
}
