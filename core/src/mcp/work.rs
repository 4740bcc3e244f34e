//! A call under way: a future of the shard, its conversation, its deadline, its end.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ninefold_runtime::clock;
use ninefold_runtime::panics::{Caught, catch};

use super::Era;
use super::call::{fail, limit_output};
use super::dispatch::Opener;
use super::rounds::Digest;
use crate::counters::bump;
use crate::rpc::{Id, RpcError, write};
use crate::service::Service;
use crate::talk::{Standing, Talk};
use crate::task::Job;
use crate::tool::LocalBoxFuture;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tool,
    Prompt,
    Resource,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }
}

/// What a handler has made.
pub(crate) enum Made {
    /// The members of its result, the object left open.
    Members(Vec<u8>),
    /// An error.
    Refused(RpcError),
    /// Nothing, on the blocking pool.
    Panicked(Caught),
}

/// The end of a call.
pub(crate) struct Finished {
    /// HTTP status, if it is the first that is said.
    pub(crate) status: u16,
    /// The whole message; `None` when the client took its request back.
    pub(crate) message: Option<Vec<u8>>,
}

/// One call under way. Dropping it ends it.
pub(crate) struct Work {
    /// The id of the request, as JSON.
    id: String,
    kind: Kind,
    name: Box<str>,
    digest: Digest,
    future: Option<LocalBoxFuture<'static, Made>>,
    talk: Rc<Talk>,
    deadline: Option<LocalBoxFuture<'static, ()>>,
    cancelled: Option<LocalBoxFuture<'static, ()>>,
}

impl Work {
    pub(crate) fn new(
        id: Id<'_>,
        kind: Kind,
        name: &str,
        opener: &Opener<'_, '_>,
        future: LocalBoxFuture<'static, Made>,
    ) -> Self {
        let talk = opener.talk().clone();
        let id = json(id);
        let digest = match opener.era() {
            Era::Modern => opener.digest(),
            Era::Legacy => Digest::default(),
        };
        Self {
            cancelled: talk.link().map(|link| link.begin(&id)),
            id,
            kind,
            name: name.into(),
            digest,
            future: Some(future),
            talk,
            deadline: None,
        }
    }

    pub(crate) fn talk(&self) -> &Rc<Talk> {
        &self.talk
    }

    /// The id of the request, as JSON.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Ends the call when `cancelled` resolves; for calls without a session, which knows by itself.
    pub(crate) fn end_when(&mut self, cancelled: LocalBoxFuture<'static, ()>) {
        self.cancelled = Some(cancelled);
    }

    /// Goes on until it waits or is done.
    pub(crate) fn poll(&mut self, service: &Service, cx: &mut Context<'_>) -> Poll<Finished> {
        self.talk.note_sender(cx.waker());
        if let Some(cancelled) = &mut self.cancelled
            && cancelled.as_mut().poll(cx).is_ready()
        {
            tracing::debug!(kind = self.kind.as_str(), name = %self.name, "cancelled");
            self.stop();
            return Poll::Ready(Finished {
                status: 200,
                message: None,
            });
        }
        let Some(future) = &mut self.future else {
            return Poll::Pending;
        };
        let mut polled = catch(|| future.as_mut().poll(cx));
        if matches!(polled, Ok(Poll::Pending)) && self.talk.wishes_task() {
            match self.begin_task(service) {
                Some(message) => {
                    let (status, message) = (200, Some(message));
                    return Poll::Ready(Finished { status, message });
                }
                None => polled = self.go_on(cx),
            }
        }
        let outcome = match polled {
            Err(caught) => Err(panicked(service, self.kind, &self.name, &caught)),
            Ok(Poll::Ready(made)) => self.made(service, made),
            Ok(Poll::Pending) => match self.talk.standing() {
                Standing::Failed(error) => Err(error),
                Standing::Asks => Ok(self.input_required(service)),
                Standing::Waits => match self.late(service, cx) {
                    true => self.too_late(service),
                    false => return Poll::Pending,
                },
            },
        };
        // What the handler holds may panic when it is dropped, too.
        let outcome = match self.stop() {
            Some(caught) => Err(panicked(service, self.kind, &self.name, &caught)),
            None => outcome,
        };
        Poll::Ready(match outcome {
            Ok(message) => Finished {
                status: 200,
                message: Some(message),
            },
            Err(error) => self.refused(service, &error),
        })
    }

    /// Makes this a task; the answer that says so, or nothing when there are no tasks or no room.
    fn begin_task(&mut self, service: &Service) -> Option<Vec<u8>> {
        // The future leaves only when there is somewhere to go. Only calls of tools become tasks.
        let tasks = service.tasks().filter(|_| matches!(self.kind, Kind::Tool));
        let granted = tasks.and_then(|tasks| Some((tasks, self.future.take()?)));
        let Some((tasks, future)) = granted else {
            self.talk.grant_task(false);
            return None;
        };
        self.talk.grant_task(true);
        let (name, talk) = (self.name.clone(), self.talk.clone());
        match tasks.begin(Job { name, future, talk }) {
            Ok(members) => {
                let mut out = self.open();
                out.extend_from_slice(members.as_bytes());
                service.server().stamp().close_task(&mut out);
                out.push(b'}');
                Some(out)
            }
            Err(job) => {
                tracing::warn!(name = %job.name, "no room for one more task");
                self.talk.grant_task(false);
                self.future = Some(job.future);
                None
            }
        }
    }

    fn go_on(&mut self, cx: &mut Context<'_>) -> Result<Poll<Made>, Caught> {
        match &mut self.future {
            Some(future) => catch(|| future.as_mut().poll(cx)),
            None => Ok(Poll::Pending),
        }
    }

    /// Ends the handler; what it was told to say later is dropped.
    fn stop(&mut self) -> Option<Caught> {
        self.talk.end();
        let future = self.future.take();
        catch(move || drop(future)).err()
    }

    /// Whether the deadline has passed. It stands still while the client is asked: a person takes
    /// the time that a person takes, and questions have a deadline of their own.
    fn late(&mut self, service: &Service, cx: &mut Context<'_>) -> bool {
        let allowed = deadline(service);
        loop {
            let timer = self
                .deadline
                .get_or_insert_with(|| service.sleep()(allowed));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            if !self.talk.waits_for_client() {
                return true;
            }
            self.deadline = None;
        }
    }

    fn made(&self, service: &Service, made: Made) -> Result<Vec<u8>, RpcError> {
        match made {
            Made::Members(members) => Ok(self.message(service, |out| {
                let start = out.len();
                out.extend_from_slice(&members);
                if self.kind == Kind::Tool {
                    limit_output(service, &self.name, start, out);
                }
            })),
            Made::Refused(error) => Err(error),
            Made::Panicked(caught) => Err(panicked(service, self.kind, &self.name, &caught)),
        }
    }

    fn too_late(&self, service: &Service) -> Result<Vec<u8>, RpcError> {
        let allowed = deadline(service);
        bump(&service.counters().tool_late);
        let (kind, name) = (self.kind.as_str(), &self.name);
        tracing::warn!(%name, deadline = ?allowed, "{kind} stopped at its deadline");
        let why = format!("the {kind} did not finish within {allowed:?}");
        match self.kind {
            Kind::Tool => Ok(self.message(service, |out| fail(out, &why))),
            Kind::Prompt | Kind::Resource => Err(RpcError::failed(why)),
        }
    }

    /// The answer that asks the client to call again.
    // [mcp:mrtr-shape] [mcp:cache-rounds]
    fn input_required(&self, service: &Service) -> Vec<u8> {
        let server = service.server();
        let limits = server.limits();
        let answers = self.talk.used_answers();
        let lasts_ns = limits.request_state_ms.saturating_mul(1_000_000);
        let expires_ns = clock::monotonic_ns().saturating_add(lasts_ns);
        let state = server.secrets().seal(&self.digest, expires_ns, &answers);
        let wanted = serde_json::Value::from(self.talk.take_wanted());
        let mut out = self.open();
        out.extend_from_slice(br#"{"inputRequests":"#);
        out.extend_from_slice(wanted.to_string().as_bytes());
        out.extend_from_slice(br#","requestState":"#);
        write::string(&mut out, &state);
        server.stamp().close_input_required(&mut out);
        out.push(b'}');
        out
    }

    /// A whole answer around the members that `write` appends.
    fn message(&self, service: &Service, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = self.open();
        write(&mut out);
        let (stamp, era) = (service.server().stamp(), self.talk.era);
        match self.kind {
            Kind::Resource => stamp.close_fresh(era, &mut out),
            Kind::Tool | Kind::Prompt => stamp.close(era, &mut out),
        }
        out.push(b'}');
        out
    }

    fn open(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(br#","result":"#);
        out
    }

    fn refused(&self, service: &Service, error: &RpcError) -> Finished {
        service.counters().error(error.code);
        service.log_refusal(error.status, &error.message);
        let mut message = Vec::with_capacity(128);
        write::refusal_to(&mut message, Some(&self.id), error);
        Finished {
            status: error.status,
            message: Some(message),
        }
    }
}

/// An id as JSON.
pub(crate) fn json(id: Id<'_>) -> String {
    let mut text = Vec::new();
    write::id(&mut text, id);
    String::from_utf8(text).unwrap_or_default()
}

fn deadline(service: &Service) -> Duration {
    Duration::from_millis(service.server().limits().tool_deadline_ms)
}

/// The cause stays in the log: to a client it would be a look inside.
pub(crate) fn panicked(service: &Service, kind: Kind, name: &str, caught: &Caught) -> RpcError {
    bump(&service.counters().tool_panic);
    let (kind, Caught { message, place, .. }) = (kind.as_str(), caught);
    tracing::error!(name, %message, %place, "{kind} panicked");
    RpcError::internal()
}
