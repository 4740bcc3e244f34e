//! Who is let in, what they may do, and whose sessions they reach. Without an authorization each of
//! these is one branch.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ninefold_runtime::clock;

use super::{Answered, Exchange, Refused, Service, is_shown, of};
use crate::auth::{Gate, Identity, Judged, Refusal, joined};
use crate::counters::{Kind, bump};
use crate::http::response::{self, Body};
use crate::http::{Head, Method};
use crate::rate::{Bucket, Client};
use crate::rpc::{Code, Message, Params, RpcError, Value};
use crate::server::Server;
use crate::session::{SessionError, SessionView, Sessions};

/// How often a request that waits for keys looks whether they have come.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is held to the rate of calls: the methods that run functions of the server.
const RATED: [&str; 4] = [
    "tools/call",
    "completion/complete",
    "prompts/get",
    "resources/read",
];

/// The gate of a shard that serves `server`.
pub(super) fn gate(server: &Server) -> Option<Box<Gate>> {
    let access = server.access()?;
    Some(Box::new(Gate::new(access.clone(), server.limits())))
}

impl Service {
    /// Whether metadata is published at this path; it needs no token.
    pub(super) fn publishes(&self, head: &Head<'_>) -> bool {
        let gate = self.gate.as_ref();
        gate.is_some_and(|gate| gate.access().document(head.path).is_some())
    }

    /// Writes the metadata of the protected resource (RFC 9728, 3.2).
    pub(super) fn publish<'a, S>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        out: &mut Vec<u8>,
    ) -> Answered<'a> {
        let head = exchange.head;
        let gate = self.gate.as_ref();
        let document = gate.and_then(|gate| gate.access().document(head.path));
        let (Some(document), Method::Get | Method::Head) = (document, head.method) else {
            self.count_route(405);
            response::method_not_allowed(out, exchange.connection, "GET, HEAD");
            return Ok(405);
        };
        self.guard(head)?;
        exchange.kind.set(Kind::Other);
        let body = Body::open(out, 200, exchange.connection);
        out.extend_from_slice(document.as_bytes());
        body.finish(out);
        Ok(200)
    }

    /// Lets a request in by its own token, or refuses it.
    pub(super) async fn admit<S>(
        &self,
        exchange: &Exchange<'_, '_, S>,
    ) -> Result<(), Refused<'static>> {
        let Some(gate) = &self.gate else {
            return Ok(());
        };
        let judged = match gate.judge(exchange.head) {
            // Rare, so its state is not part of every request's.
            Judged::Waits(number, refusal) => {
                Box::pin(self.wait_for_keys(gate, (number, refusal), exchange)).await
            }
            judged => judged,
        };
        match judged {
            Judged::Admitted(identity, known) => {
                if !known {
                    admitted(&identity);
                }
                // Set once: a request is let in once.
                let _ = exchange.identity.set(identity);
                Ok(())
            }
            Judged::Refused(refusal) | Judged::Waits(_, refusal) => {
                bump(refusal.counter(&self.counters));
                let code = match refusal {
                    Refusal::Unavailable => Code::Transport,
                    _ => Code::InvalidRequest,
                };
                let message = format!("Unauthorized: {}", refusal.says());
                Err(Refused {
                    id: None,
                    error: RpcError::new(refusal.status(), code, message),
                    challenge: gate.access().challenge(refusal),
                })
            }
        }
    }

    /// Waits until the look for keys with this number has been done, within bounds, and judges
    /// again. Where too many wait already, it is refused as it was judged.
    async fn wait_for_keys<S>(
        &self,
        gate: &Gate,
        (number, refusal): (u64, Refusal),
        exchange: &Exchange<'_, '_, S>,
    ) -> Judged {
        let Some(_waiter) = gate.begin_wait() else {
            return Judged::Refused(refusal);
        };
        let began_ns = clock::monotonic_ns();
        let bound_ns = self.server.limits().jwks_wait_ms.saturating_mul(1_000_000);
        while !gate.has_looked(number) && clock::monotonic_ns() - began_ns < bound_ns {
            (self.sleep)(LOOK_EVERY).await;
        }
        gate.judge(exchange.head)
    }

    /// Checks that who asks has the scopes that all of `messages` need together.
    // [mcp:auth-statuses] [mcp:tools-access] [mcp:completions-access]
    pub(super) fn permit<'a, S>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        messages: &[Message<'a>],
    ) -> Result<(), Refused<'a>> {
        let (Some(gate), Some(identity)) = (&self.gate, exchange.identity.get()) else {
            return Ok(());
        };
        let policy = gate.access().policy();
        let every = |need: &mut dyn FnMut(&'_ str)| {
            let params = |message: &Message<'a>| match *message {
                Message::Request(_, params) | Message::Notification(params) => params,
                Message::Response(_) => Params {
                    method: "",
                    params: Value::Null,
                    meta: None,
                },
            };
            policy.every().for_each(&mut *need);
            let messages = messages.iter().map(params);
            messages.for_each(|it| policy.needs(it, &mut *need));
        };
        let mut lacks = false;
        every(&mut |scope| lacks |= !identity.has(scope));
        if !lacks {
            return Ok(());
        }
        let mut needed = Vec::new();
        every(&mut |scope| needed.push(scope.to_owned()));
        let needed = joined(needed.iter().map(String::as_str));
        bump(&self.counters.refused_scope);
        self.record(exchange, &format!("lacks one of the scopes {needed}"));
        let message = format!("Forbidden: this request needs the scopes {needed}");
        let error = RpcError::new(403, Code::InvalidRequest, message);
        let refused = match messages {
            [Message::Request(id, _)] => of(*id)(error),
            _ => error.into(),
        };
        let challenge = Some(gate.access().step_up(&needed));
        Err(Refused {
            challenge,
            ..refused
        })
    }

    /// What is left of the calls of a connection from `peer`, which all connections of a peer
    /// share; of this connection alone, where the peer has no address. `None` without a rate.
    pub(crate) fn bucket(&self, peer: Option<IpAddr>) -> Option<Rc<Bucket>> {
        let rates = self.rates.as_ref()?;
        let shared = peer.map(|peer| rates.bucket(Client::Peer(peer), clock::cycles()));
        Some(shared.unwrap_or_default())
    }

    /// Counts a call against the rate of who makes it, or refuses it; what only reads or changes
    /// the state of a session or a task is not counted.
    // [mcp:tools-access] [mcp:completions-access]
    pub(crate) fn ration(
        &self,
        identity: Option<&Rc<Identity>>,
        bucket: Option<&Bucket>,
        method: &str,
    ) -> Result<(), RpcError> {
        let Some(rates) = &self.rates else {
            return Ok(());
        };
        if !RATED.contains(&method) {
            return Ok(());
        }
        let now = clock::cycles();
        let has = match (identity, bucket) {
            (Some(identity), _) => {
                let bucket = rates.bucket(Client::Subject(identity.owner()), now);
                rates.take(&bucket, now)
            }
            (None, Some(bucket)) => rates.take(bucket, now),
            (None, None) => true,
        };
        if has {
            return Ok(());
        }
        bump(&self.counters.refused_rate);
        let wanted = "Too many calls: they came faster than this client may call; wait a second";
        Err(RpcError::new(429, Code::Transport, wanted))
    }

    /// As [`Service::ration`], for the message of an exchange.
    pub(super) fn ration_request<'a, S>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        message: Message<'a>,
    ) -> Result<(), Refused<'a>> {
        let Message::Request(id, Params { method, .. }) = message else {
            return Ok(());
        };
        let rationed = self.ration(exchange.identity.get(), exchange.bucket, method);
        rationed.map_err(of(id))
    }

    /// Who was refused what, for the record; as rarely as refusals are logged.
    fn record<S>(&self, exchange: &Exchange<'_, '_, S>, why: &str) {
        if !is_shown(self.refusals.get() + 1) {
            return;
        }
        let subject = exchange.identity.get().map(|it| it.subject());
        tracing::warn!(target: "ninefold::audit", subject, why, "refused");
    }

    /// As [`Service::permit`], for the messages of a batch.
    pub(super) fn permit_all<'a, S>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        messages: &[Value<'a>],
    ) -> Result<(), Refused<'a>> {
        if self.gate.is_none() {
            return Ok(());
        }
        // What is malformed does nothing, and needs nothing.
        let read = messages.iter().filter_map(|it| Message::read(*it).ok());
        let refused = self.permit(exchange, &read.collect::<Vec<_>>());
        // It is the batch that is refused, whatever it holds.
        refused.map_err(|refused| Refused {
            id: None,
            ..refused
        })
    }

    /// Refuses a session of somebody else as one that is not there: an id proves nothing.
    pub(super) fn owns<S>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        session: &SessionView,
    ) -> Result<(), RpcError> {
        if session.owner == exchange.owner() {
            return Ok(());
        }
        bump(&self.counters.refused_owner);
        self.record(exchange, "a session of somebody else");
        Err(self.session_error(SessionError::Unknown))
    }

    /// As [`Service::owns`], for a session that is only named yet.
    pub(super) async fn owns_session<S: Sessions>(
        &self,
        exchange: &Exchange<'_, '_, S>,
        session: &str,
    ) -> Result<(), RpcError> {
        if exchange.owner().is_none() {
            return Ok(());
        }
        let view = exchange.sessions.check(session).await;
        let view = view.map_err(|error| self.session_error(error))?;
        self.owns(exchange, &view)
    }
}

/// Who came in, for the record; the token itself is never written down.
fn admitted(identity: &Rc<Identity>) {
    let scopes: Vec<_> = identity.scopes().collect();
    tracing::info!(
        target: "ninefold::audit",
        subject = identity.subject(),
        issuer = identity.issuer(),
        client = identity.client(),
        scopes = scopes.join(" "),
        "admitted"
    );
}
