//! Legacy sessions: one actor each, on the shard where it was opened, found from every shard.
//!
//! A request crosses the mesh once to ask whether its session lives; its body stays where it is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ninefold_runtime::{
    Actor, ActorId, Address, CallError, Class, Context, Handler, Message, SpawnOptions, clock,
    spawn_actor,
};
use serde_json::json;

use super::hub::{Hub, Parcel, Posted, Slot, SlotRef};
use super::id::{IdCodec, Route, Secret};
use super::link::{Link, SessionFeed};
use super::streams::Streams;
use super::tell::tell;
use crate::auth::Owner;
use crate::changes::{List, News};
use crate::limits::{HANDLE_ANSWER_MS, Limits, SESSION_MESSAGE_BYTES, SESSION_MESSAGES};
use crate::mcp::Version;
use crate::session::{
    Change, Event, Feed, Reply, SessionError, SessionFacts, SessionId, SessionLink, SessionView,
    Sessions,
};

const ANSWER_WITHIN: Duration = Duration::from_millis(HANDLE_ANSWER_MS);

/// What a request wants of its session.
enum Want {
    Check,
    Change(Change),
    Close,
}

struct Ask {
    secret: Secret,
    want: Want,
}

impl Message for Ask {
    /// Who does not know the secret is told that there is no such session.
    type Reply = Result<SessionView, SessionError>;

    fn bytes(&self) -> usize {
        let owned = match &self.want {
            Want::Change(
                Change::Subscribe(text) | Change::Unsubscribe(text) | Change::Cancel(text),
            ) => text.len(),
            Want::Change(Change::Initialized | Change::LogLevel(_)) | Want::Check | Want::Close => {
                0
            }
        };
        size_of::<Self>() + owned
    }
}

/// The idle clock of a session.
struct Reap;

/// High: it comes once, and must not be refused because the shard sheds load.
impl Message for Reap {
    type Reply = ();
    const CLASS: Class = Class::High;
}

/// A request of the session is under way, and can be cancelled through `slot`.
pub(super) struct Begin {
    pub(super) secret: Secret,
    /// Its id, as JSON.
    pub(super) request: Box<str>,
    pub(super) slot: SlotRef,
}

impl Message for Begin {
    type Reply = ();

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.request.len()
    }
}

/// It is not any more.
pub(super) struct End(pub(super) SlotRef);

impl Message for End {
    type Reply = ();
}

/// An event of a request's stream, to be kept.
pub(super) struct Record {
    pub(super) secret: Secret,
    pub(super) stream: Box<str>,
    pub(super) event: Event,
    pub(super) last: bool,
}

impl Message for Record {
    type Reply = ();

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.stream.len() + self.event.id.len() + self.event.data.len()
    }
}

/// A request's stream has ended, although no event was its last.
pub(super) struct StreamEnd {
    pub(super) secret: Secret,
    pub(super) stream: Box<str>,
}

impl Message for StreamEnd {
    type Reply = ();

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.stream.len()
    }
}

/// A GET wants to read a stream.
struct Attach {
    secret: Secret,
    after: Option<Box<str>>,
    slot: SlotRef,
}

impl Message for Attach {
    type Reply = Result<(), SessionError>;

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.after.as_ref().map_or(0, |it| it.len())
    }
}

/// It does not any more.
pub(super) struct Detach(pub(super) SlotRef);

impl Message for Detach {
    type Reply = ();
}

/// What the server offers has changed.
struct Heard(Arc<News>);

impl Message for Heard {
    type Reply = ();
}

pub(super) struct Session {
    secret: Secret,
    view: SessionView,
    used_ns: u64,
    idle_ns: u64,
    hub: Rc<Hub>,
    streams: Streams,
    under_way: Vec<(Box<str>, SlotRef)>,
    subscribed: BTreeSet<Box<str>>,
    subscribed_max: usize,
    subscribed_bytes_max: usize,
    seat: Seat,
}

/// The sessions of a shard that are to be told of changes: those that have had a stream.
type Ears = Rc<RefCell<BTreeSet<(u32, u32)>>>;

/// Counts a session as open while it exists, however it ends.
struct Seat {
    open: Rc<Cell<usize>>,
    ears: Ears,
    ear: Option<(u32, u32)>,
}

impl Seat {
    fn take(open: &Rc<Cell<usize>>, limit: usize, ears: &Ears) -> Option<Self> {
        (open.get() < limit).then(|| {
            open.set(open.get() + 1);
            Seat {
                open: open.clone(),
                ears: ears.clone(),
                ear: None,
            }
        })
    }

    /// From now on the session hears of changes.
    fn listen(&mut self, at: ActorId) {
        let (_, index, generation) = at.to_parts();
        self.ear = Some((index, generation));
        self.ears.borrow_mut().insert((index, generation));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
        if let Some(ear) = self.ear {
            self.ears.borrow_mut().remove(&ear);
        }
    }
}

impl Session {
    // [mcp:cancel-races]
    fn change(&mut self, change: Change) -> Result<(), SessionError> {
        match change {
            Change::Initialized => self.view.initialized = true,
            Change::LogLevel(level) => self.view.log_level = level,
            Change::Subscribe(uri) => {
                let bytes: usize = self.subscribed.iter().map(|it| it.len()).sum();
                let room = self.subscribed.len() < self.subscribed_max
                    && bytes + uri.len() <= self.subscribed_bytes_max;
                if !room && !self.subscribed.contains(&uri) {
                    return Err(SessionError::Subscriptions);
                }
                self.subscribed.insert(uri);
            }
            Change::Unsubscribe(uri) => {
                self.subscribed.remove(&uri);
            }
            Change::Cancel(request) => {
                // Taken out, so that a call is told once, however often it is cancelled.
                let named = |it: &mut (Box<str>, SlotRef)| it.0 == request;
                for (_, slot) in self.under_way.extract_if(.., named) {
                    self.hub.tell(slot, Parcel::Cancel);
                }
            }
        }
        Ok(())
    }

    /// Ends what depends on the session.
    fn end(&mut self) {
        self.streams.end(&self.hub);
        for (_, slot) in self.under_way.drain(..) {
            self.hub.tell(slot, Parcel::Cancel);
        }
    }
}

impl Actor for Session {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        context.send_after(Duration::from_nanos(self.idle_ns), Reap);
    }
}

impl Handler<Ask> for Session {
    fn handle(
        &mut self,
        ask: Ask,
        context: &mut Context<'_, Self>,
    ) -> Result<SessionView, SessionError> {
        if !self.secret.matches(ask.secret) {
            return Err(SessionError::Unknown);
        }
        self.used_ns = clock::monotonic_ns();
        match ask.want {
            Want::Check => {}
            Want::Change(change) => self.change(change)?,
            Want::Close => {
                self.end();
                context.stop();
            }
        }
        Ok(self.view)
    }
}

impl Handler<Reap> for Session {
    fn handle(&mut self, _: Reap, context: &mut Context<'_, Self>) {
        let now_ns = clock::monotonic_ns();
        if self.streams.are_read() || !self.under_way.is_empty() {
            self.used_ns = now_ns;
        }
        let unused_ns = now_ns.saturating_sub(self.used_ns);
        if unused_ns >= self.idle_ns {
            tracing::debug!(
                unused_s = unused_ns / 1_000_000_000,
                "a session ended unused"
            );
            context.stop();
        } else {
            context.send_after(Duration::from_nanos(self.idle_ns - unused_ns), Reap);
        }
    }
}

impl Handler<Begin> for Session {
    fn handle(&mut self, begin: Begin, _: &mut Context<'_, Self>) {
        if self.secret.matches(begin.secret) {
            self.under_way.push((begin.request, begin.slot));
        }
    }
}

impl Handler<End> for Session {
    fn handle(&mut self, End(slot): End, _: &mut Context<'_, Self>) {
        self.under_way.retain(|(_, it)| !it.is(&slot));
        self.used_ns = clock::monotonic_ns();
    }
}

impl Handler<Record> for Session {
    fn handle(&mut self, record: Record, _: &mut Context<'_, Self>) {
        if self.secret.matches(record.secret) {
            let Record {
                stream,
                event,
                last,
                ..
            } = record;
            self.streams.record(&self.hub, &stream, event, last);
        }
    }
}

impl Handler<StreamEnd> for Session {
    fn handle(&mut self, StreamEnd { secret, stream }: StreamEnd, _: &mut Context<'_, Self>) {
        if self.secret.matches(secret) {
            self.streams.ended(&self.hub, &stream);
        }
    }
}

impl Handler<Attach> for Session {
    fn handle(
        &mut self,
        attach: Attach,
        context: &mut Context<'_, Self>,
    ) -> Result<(), SessionError> {
        let Attach {
            secret,
            after,
            slot,
        } = attach;
        if !self.secret.matches(secret) {
            return Err(SessionError::Unknown);
        }
        self.used_ns = clock::monotonic_ns();
        self.seat.listen(context.id());
        let primes = self.view.version >= Version::V2025_11_25;
        self.streams
            .attach(&self.hub, after.as_deref(), slot, primes)
    }
}

impl Handler<Detach> for Session {
    fn handle(&mut self, Detach(slot): Detach, _: &mut Context<'_, Self>) {
        self.used_ns = clock::monotonic_ns();
        self.streams.detach(&slot);
    }
}

impl Handler<Heard> for Session {
    fn handle(&mut self, Heard(news): Heard, _: &mut Context<'_, Self>) {
        for list in List::ALL.into_iter().filter(|&list| news.has(list)) {
            self.streams.notify(&self.hub, list.method(), None);
        }
        for uri in &news.updated {
            if self.subscribed.contains(&**uri) {
                let params = json!({"uri": &**uri});
                let method = "notifications/resources/updated";
                self.streams.notify(&self.hub, method, Some(params));
            }
        }
    }
}

/// The sessions as one shard sees them: opens its own, finds everybody's.
pub(crate) struct ShardSessions {
    codec: Arc<IdCodec>,
    hub: Rc<Hub>,
    open: Rc<Cell<usize>>,
    ears: Ears,
    limits: Limits,
}

impl ShardSessions {
    pub(crate) fn new(codec: Arc<IdCodec>, hub: Rc<Hub>, limits: &Limits) -> Self {
        Self {
            codec,
            hub,
            open: Rc::default(),
            ears: Rc::default(),
            limits: limits.clone(),
        }
    }

    /// Sessions open on this shard.
    pub(crate) fn open_count(&self) -> usize {
        self.open.get()
    }

    /// Tells the sessions of this shard what has changed.
    pub(crate) fn hear(&self, news: News) {
        let news = Arc::new(news);
        let (shard, ears) = (self.hub.shard(), self.ears.borrow().clone());
        for (index, generation) in ears {
            let session = Address::<Session>::from_parts(shard, index, generation);
            // A session without room for it is so busy that its client will look anyway.
            let _ = session.map(|session| session.cast(Heard(news.clone())));
        }
    }

    /// Ends the session `id`, without waiting for it.
    pub(crate) fn forget(&self, id: &str) {
        if let Ok((session, secret)) = self.find(id) {
            let want = Want::Close;
            tell(session, Ask { secret, want });
        }
    }

    /// Opens a place where the messages of one client are taken, and the id that leads there;
    /// `None` when the shard has no room for it.
    pub(crate) fn open_mailbox(&self) -> Option<(String, Slot)> {
        let slot = self.hub.slot()?;
        let SlotRef { route, secret } = slot.at();
        Some((self.codec.encode(route, secret), slot))
    }

    /// Passes `message` on to the place that `id` leads to. Nobody is told when it is found out on
    /// another shard that there is none: its stream has ended then.
    ///
    /// # Errors
    /// [`SessionError::Unknown`] when there is none, [`SessionError::Unavailable`] when there was no
    /// room on the way.
    pub(crate) fn deliver(&self, id: &str, message: Vec<u8>) -> Result<(), SessionError> {
        let (route, secret) = self.codec.decode(id).ok_or(SessionError::Unknown)?;
        let to = SlotRef { route, secret };
        match self.hub.post(to, Parcel::Message(message)) {
            Posted::Sent => Ok(()),
            Posted::Nowhere => Err(SessionError::Unknown),
            Posted::NoRoom => Err(SessionError::Unavailable),
        }
    }

    /// Nobody will answer the request `request` of this node.
    pub(crate) fn give_up(&self, request: &str) {
        if let Some((route, secret)) = self.codec.decode(request) {
            self.hub.tell(SlotRef { route, secret }, Parcel::End);
        }
    }

    fn find(&self, id: &str) -> Result<(Address<Session>, Secret), SessionError> {
        let (route, secret) = self.codec.decode(id).ok_or(SessionError::Unknown)?;
        let Route {
            shard,
            index,
            generation,
        } = route;
        let session = Address::<Session>::from_parts(shard, index, generation)
            .ok_or(SessionError::Unavailable)?;
        Ok((session, secret))
    }

    async fn ask(&self, id: &str, want: Want) -> Result<SessionView, SessionError> {
        let (session, secret) = self.find(id)?;
        answered(session.call(Ask { secret, want }, ANSWER_WITHIN).await)
    }
}

/// What an answer, or that there is none, says of a session.
fn answered<T, M>(
    answer: Result<Result<T, SessionError>, CallError<M>>,
) -> Result<T, SessionError> {
    match answer {
        Ok(answer) => answer,
        Err(CallError::Closed(_) | CallError::Stopped) => Err(SessionError::Unknown),
        Err(_) => Err(SessionError::Unavailable),
    }
}

impl Sessions for ShardSessions {
    async fn open(&self, facts: SessionFacts) -> Result<SessionId, SessionError> {
        let limits = &self.limits;
        let seat = Seat::take(&self.open, limits.sessions_per_shard, &self.ears);
        let seat = seat.ok_or(SessionError::Full)?;
        let secret = Secret::fresh().map_err(|_| SessionError::Unavailable)?;
        let session = Session {
            secret,
            view: SessionView::opened(&facts),
            used_ns: clock::monotonic_ns(),
            idle_ns: limits.session_idle_ms.saturating_mul(1_000_000),
            hub: self.hub.clone(),
            streams: Streams::new(limits),
            under_way: Vec::new(),
            subscribed: BTreeSet::new(),
            subscribed_max: limits.subscription_count,
            subscribed_bytes_max: limits.subscription_bytes,
            seat,
        };
        let options = SpawnOptions {
            capacity: SESSION_MESSAGES,
            bytes: SESSION_MESSAGE_BYTES,
            ..SpawnOptions::default()
        };
        let address = spawn_actor(options, session).map_err(|_| SessionError::Full)?;
        let (shard, index, generation) = address.id().to_parts();
        tracing::debug!(client = %facts.client, version = facts.version.as_str(), "session opened");
        let id = self.codec.encode(
            Route {
                shard,
                index,
                generation,
            },
            secret,
        );
        SessionId::new(id).ok_or(SessionError::Unavailable)
    }

    async fn check(&self, id: &str) -> Result<SessionView, SessionError> {
        self.ask(id, Want::Check).await
    }

    async fn change(&self, id: &str, change: Change) -> Result<SessionView, SessionError> {
        self.ask(id, Want::Change(change)).await
    }

    async fn close(&self, id: &str) -> Result<(), SessionError> {
        self.ask(id, Want::Close).await.map(drop)
    }

    fn link(&self, id: &str, owner: Option<Owner>) -> Option<Rc<dyn SessionLink>> {
        let (session, secret) = self.find(id).ok()?;
        Some(Rc::new(Link {
            hub: self.hub.clone(),
            codec: self.codec.clone(),
            session,
            secret,
            owner,
            answer_within: Duration::from_millis(self.limits.client_answer_ms),
        }))
    }

    async fn reply(
        &self,
        _session: &str,
        owner: Option<Owner>,
        request: &str,
        reply: Reply,
    ) -> Result<bool, SessionError> {
        let Some((route, secret)) = self.codec.decode(request) else {
            return Ok(false);
        };
        let to = SlotRef { route, secret };
        match self.hub.post(to, Parcel::Reply(owner, reply)) {
            Posted::Sent => Ok(true),
            Posted::Nowhere => Ok(false),
            Posted::NoRoom => Err(SessionError::Unavailable),
        }
    }

    async fn attach(&self, id: &str, after: Option<&str>) -> Result<Box<dyn Feed>, SessionError> {
        let (session, secret) = self.find(id)?;
        let slot = self.hub.slot().ok_or(SessionError::Full)?;
        let attach = Attach {
            secret,
            after: after.map(Into::into),
            slot: slot.at(),
        };
        // Made before the answer: one that comes too late is detached as well.
        let feed = SessionFeed { session, slot };
        answered(session.call(attach, ANSWER_WITHIN).await)?;
        Ok(Box::new(feed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_owns_counts_in_the_mailbox() {
        let secret = Secret::fresh().unwrap();
        let text = || -> Box<str> { "x".repeat(5_000).into() };
        let ask = |want| Ask { secret, want }.bytes();
        for change in [Change::Subscribe, Change::Unsubscribe, Change::Cancel] {
            assert!(ask(Want::Change(change(text()))) > 5_000);
        }
        assert!(ask(Want::Check) < 1_000);
        let (id, data) = (text().into(), text().into());
        let (stream, event, last) = (text(), Event { id, data }, false);
        let record = Record {
            secret,
            stream,
            event,
            last,
        };
        assert!(record.bytes() > 15_000);
        let stream = text();
        assert!(StreamEnd { secret, stream }.bytes() > 5_000);
        let route = Route {
            shard: 0,
            index: 0,
            generation: 0,
        };
        let (slot, request, after) = (SlotRef { route, secret }, text(), Some(text()));
        let begin = Begin {
            secret,
            request,
            slot,
        };
        assert!(begin.bytes() > 5_000);
        let attach = Attach {
            secret,
            after,
            slot,
        };
        assert!(attach.bytes() > 5_000);
    }
}
