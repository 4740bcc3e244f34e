//! The transport of 2024-11-05: one GET whose stream carries all that the server says, and POSTs
//! to an address of that stream, which may come in on any shard.
//!
//! The address is the route of the stream's mailbox, hidden and unguessable as every id is.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ninefold_runtime::draining;

use super::ShardSeat;
use crate::counters::{Kind, bump};
use crate::duplex::{Duplex, OUT_BYTES};
use crate::handle::{Parcel, Slot};
use crate::http::response::{self, Connection};
use crate::http::sse::Sse;
use crate::http::{Head, Method};
use crate::rate::Bucket;
use crate::rest::Rest;
use crate::rpc::{Code, RpcError};
use crate::service::Outcome;
use crate::session::SessionError;

/// Where a stream begins; what is behind it and a slash is the address of one.
const PATH: &[u8] = b"/sse";

/// Answers a request of this transport; `None` when it is none.
pub(super) fn respond(
    seat: &Rc<ShardSeat>,
    bucket: Option<&Rc<Bucket>>,
    head: &Head<'_>,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Option<Outcome> {
    let address = match head.path.strip_prefix(PATH)? {
        b"" => None,
        rest => Some(rest.strip_prefix(b"/")?),
    };
    let (start, connection) = (out.len(), Connection::asked(head));
    let mut outcome = Outcome {
        close: connection == Connection::Close,
        status: 202,
        kind: Kind::Other,
        rest: None,
    };
    let answered = match (head.method, address) {
        (Method::Get, None) => open(seat, bucket, head).map(|rest| {
            outcome.status = 200;
            outcome.rest = Some(Box::new(rest));
        }),
        (Method::Post, Some(address)) => deliver(seat, head, address, body).map(|()| {
            response::empty(out, 202, connection, b"");
        }),
        (_, address) => {
            bump(&seat.service.counters().refused_verb);
            let allow = if address.is_some() { "POST" } else { "GET" };
            response::method_not_allowed(out, connection, allow);
            response::strip_body_for_head(out, start, head.method);
            outcome.status = 405;
            return Some(outcome);
        }
    };
    if let Err(error) = answered {
        outcome.status = seat.service.refuse_with(connection, error, out);
    }
    Some(outcome)
}

/// Begins a stream; the calls of its client take from `bucket`, where there is a rate.
fn open(
    seat: &Rc<ShardSeat>,
    bucket: Option<&Rc<Bucket>>,
    head: &Head<'_>,
) -> Result<Rest, RpcError> {
    let service = &seat.service;
    service.guard(head)?;
    if !head.accept.event_stream {
        bump(&service.counters().refused_accept);
        let wanted = "Not acceptable: Accept must list text/event-stream";
        return Err(RpcError::new(406, Code::InvalidRequest, wanted));
    }
    let stream = service.open_stream()?;
    let mailbox = seat.sessions.open_mailbox();
    let (id, slot) = mailbox.ok_or_else(|| service.session_error(SessionError::Full))?;
    let pair = Pair::new(seat.clone(), bucket.cloned(), &id, slot);
    let chunked = head.minor_version > 0;
    Ok(Rest::pair(pair, stream, Connection::asked(head), chunked))
}

/// Passes a message on to the stream at `address`.
fn deliver(seat: &ShardSeat, head: &Head<'_>, address: &[u8], body: &[u8]) -> Result<(), RpcError> {
    let service = &seat.service;
    service.guard(head)?;
    service.check_content_type(head)?;
    let address = std::str::from_utf8(address).unwrap_or_default();
    let delivered = seat.sessions.deliver(address, body.to_vec());
    delivered.map_err(|error| service.session_error(error))
}

/// The server's half of a pair, as its stream polls it.
pub(crate) struct Pair {
    /// Where the client is to send its messages; told once.
    endpoint: Option<String>,
    talk: crate::tool::LocalBoxFuture<'static, ()>,
    /// What was said and is not in the stream yet, each message a line.
    said: Rc<RefCell<Vec<u8>>>,
}

impl Pair {
    fn new(seat: Rc<ShardSeat>, bucket: Option<Rc<Bucket>>, id: &str, slot: Slot) -> Self {
        let said = Rc::<RefCell<Vec<u8>>>::default();
        Self {
            endpoint: Some(format!("/sse/{id}")),
            talk: Box::pin(talk(
                seat.clone(),
                Duplex::new(seat, bucket),
                slot,
                said.clone(),
            )),
            said,
        }
    }

    /// Appends to `out` what is to be sent; ready when all has been said.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &Sse,
        out: &mut Vec<u8>,
    ) -> Poll<()> {
        if let Some(endpoint) = self.endpoint.take() {
            stream.named_event(out, "endpoint", endpoint.as_bytes());
        }
        let talked = self.talk.as_mut().poll(cx);
        let mut said = self.said.borrow_mut();
        for line in said
            .split(|&byte| byte == b'\n')
            .filter(|it| !it.is_empty())
        {
            stream.event(out, None, line);
        }
        said.clear();
        talked
    }
}

/// What is next in a pair.
enum Step {
    Message(Vec<u8>),
    /// Something was said, or the node drains.
    Said,
    Ended,
}

/// Takes the client's messages and says what is to be said, until the mailbox has been given more
/// than it holds, or the node drains.
async fn talk(seat: Rc<ShardSeat>, mut duplex: Duplex, slot: Slot, said: Rc<RefCell<Vec<u8>>>) {
    let mut drains = false;
    loop {
        let mut drain = pin!(draining());
        let step = poll_fn(|cx| {
            let mut said = said.borrow_mut();
            if said.len() >= OUT_BYTES {
                // It is emptied before this is polled again.
                return Poll::Pending;
            }
            if duplex.poll(cx, &mut said).is_ready() {
                return Poll::Ready(Step::Said);
            }
            if drains && duplex.calls() == 0 {
                return Poll::Ready(Step::Ended);
            }
            if !drains && drain.as_mut().poll(cx).is_ready() {
                drains = true;
                duplex.drain();
                // Its messages are not taken from now on.
                duplex.input_ended();
                return Poll::Ready(Step::Said);
            }
            if drains || !duplex.takes_more() {
                return Poll::Pending;
            }
            slot.poll(cx).map(|parcel| match parcel {
                Parcel::Message(message) => Step::Message(message),
                Parcel::End => Step::Ended,
                Parcel::Reply(..) | Parcel::Event(_) | Parcel::Task(_) | Parcel::Cancel => {
                    Step::Said
                }
            })
        });
        match step.await {
            Step::Message(mut message) => {
                let arena = seat.arenas.take();
                let mut answer = Vec::new();
                duplex.take(&mut message, &arena, &mut answer).await;
                said.borrow_mut().append(&mut answer);
            }
            Step::Said => {}
            Step::Ended => return,
        }
    }
}
