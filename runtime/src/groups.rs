//! Process groups, after OTP's `pg`: actors under a common name, on any shard.
//!
//! Each shard keeps a view of all groups, so that members are found without asking anybody. The
//! shard that a member lives on decides about its membership: its group service watches the member,
//! whose end is its leaving, and tells the services of the other shards. Views agree once news has
//! arrived: joins and leaves of members of one shard are seen everywhere in the same order.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use crate::actor::{
    Actor, ActorId, Address, CallError, Context, Down, Handler, Message, Monitor, Receives,
    SendError, vtable_of,
};
use crate::limits::{
    GROUP_UPDATES_MAX, NAME_BYTES_MAX, NAMES_WITHIN, PROCESS_GROUP_MEMBERS_MAX, PROCESS_GROUPS_MAX,
};
use crate::registry::is_body_of;
use crate::sched::{BodyVtable, Class, SlotKey};
use crate::service::{self, Service};
use crate::shard::Shard;

/// Time until news that found the way to a shard full is sent again.
const RETRY: Duration = Duration::from_millis(1);

/// Why an actor could not join or leave a process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The calling thread is not a shard of the actor's runtime.
    #[error("process groups are joined on a shard of the actor's runtime, and this thread is none")]
    OffShard,
    /// The group's name has more than [`NAME_BYTES_MAX`] bytes.
    #[error("wanted a name of {bytes} bytes, but it can have {NAME_BYTES_MAX}; shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// There are [`PROCESS_GROUPS_MAX`] groups.
    #[error("wanted one more process group, but there can be {PROCESS_GROUPS_MAX}")]
    TooManyGroups,
    /// The group has [`PROCESS_GROUP_MEMBERS_MAX`] members.
    #[error("wanted one more member, but a process group can have {PROCESS_GROUP_MEMBERS_MAX}")]
    TooManyMembers,
    /// There is no such actor (any more).
    #[error("the actor has stopped")]
    NoActor,
    /// The actor's shard has more to do than it can, or has stopped: nothing was changed.
    #[error("shard {shard}, where the actor lives, takes no question now; retry later")]
    Busy {
        /// The shard.
        shard: u16,
    },
    /// The actor's shard did not answer: it may have done what was asked.
    #[error("shard {shard}, where the actor lives, did not answer")]
    Unanswered {
        /// The shard.
        shard: u16,
    },
}

#[derive(Clone, Copy)]
struct Member {
    id: ActorId,
    body: &'static BodyVtable,
}

/// A shard's view of all groups.
#[derive(Default)]
pub(crate) struct View {
    groups: HashMap<Box<str>, Vec<Member>, FxBuildHasher>,
}

impl View {
    /// Adds a member; false when it was one.
    ///
    /// # Errors
    /// The limits.
    fn add(&mut self, group: &str, member: Member) -> Result<bool, GroupError> {
        if let Some(members) = self.groups.get_mut(group) {
            if members.iter().any(|known| known.id == member.id) {
                return Ok(false);
            }
            if members.len() >= PROCESS_GROUP_MEMBERS_MAX {
                return Err(GroupError::TooManyMembers);
            }
            members.push(member);
        } else if self.groups.len() >= PROCESS_GROUPS_MAX {
            return Err(GroupError::TooManyGroups);
        } else {
            self.groups.insert(group.into(), vec![member]);
        }
        Ok(true)
    }

    fn remove(&mut self, group: &str, id: ActorId) -> bool {
        let Some(members) = self.groups.get_mut(group) else {
            return false;
        };
        let before = members.len();
        members.retain(|member| member.id != id);
        let removed = members.len() < before;
        if members.is_empty() {
            self.groups.remove(group);
        }
        removed
    }

    fn remove_shard(&mut self, shard: u16) {
        self.groups.retain(|_, members| {
            members.retain(|member| member.id.shard != shard);
            !members.is_empty()
        });
    }

    /// Every member of `shard`, with its group.
    fn of_shard(&self, shard: u16) -> Vec<(Box<str>, Member)> {
        let mut all = Vec::new();
        for (group, members) in &self.groups {
            let here = members.iter().filter(|member| member.id.shard == shard);
            all.extend(here.map(|member| (group.clone(), *member)));
        }
        all
    }
}

/// What a shard tells the others about its members.
#[derive(Clone)]
enum Update {
    Joined(Box<str>, Member),
    Left(Box<str>, ActorId),
    /// All there are; what was known of the shard is void.
    Everything(Vec<(Box<str>, Member)>),
}

/// Decides about the memberships of the actors of its shard.
#[derive(Default)]
pub(crate) struct GroupService {
    /// The watched members of this shard, each with its groups.
    members: HashMap<ActorId, (Monitor, Vec<Box<str>>), FxBuildHasher>,
    watched: HashMap<Monitor, ActorId, FxBuildHasher>,
    /// What could not be sent yet, by shard.
    unsent: HashMap<u16, VecDeque<Update>, FxBuildHasher>,
}

impl Service for GroupService {
    const SLOT: u32 = 1;
}

impl Actor for GroupService {
    fn down(&mut self, down: Down, context: &mut Context<'_, Self>) {
        let Some(id) = self.watched.remove(&down.monitor) else {
            return;
        };
        let (_, groups) = self
            .members
            .remove(&id)
            .unwrap_or((down.monitor, Vec::new()));
        for group in groups {
            with_view(|view| view.remove(&group, id));
            self.publish(&Update::Left(group, id), context);
        }
    }
}

struct Join {
    group: Box<str>,
    member: Member,
}

impl Message for Join {
    type Reply = Result<(), GroupError>;
    const CLASS: Class = Class::High;
}

impl Handler<Join> for GroupService {
    fn handle(&mut self, join: Join, context: &mut Context<'_, Self>) -> Result<(), GroupError> {
        let Join { group, member } = join;
        let id = member.id;
        if Shard::with(|shard| shard.slots.get(id.key()).is_some()) != Some(true) {
            return Err(GroupError::NoActor);
        }
        let added = with_view(|view| view.add(&group, member)).unwrap_or(Ok(false))?;
        if !added {
            return Ok(());
        }
        let watched = &mut self.watched;
        let (_, groups) = self.members.entry(id).or_insert_with(|| {
            let monitor = context.monitor(id);
            watched.insert(monitor, id);
            (monitor, Vec::new())
        });
        groups.push(group.clone());
        self.publish(&Update::Joined(group, member), context);
        Ok(())
    }
}

struct Leave {
    group: Box<str>,
    id: ActorId,
}

impl Message for Leave {
    type Reply = bool;
    const CLASS: Class = Class::High;
}

impl Handler<Leave> for GroupService {
    fn handle(&mut self, leave: Leave, context: &mut Context<'_, Self>) -> bool {
        let Leave { group, id } = leave;
        if with_view(|view| view.remove(&group, id)) != Some(true) {
            return false;
        }
        if let Some((monitor, groups)) = self.members.get_mut(&id) {
            groups.retain(|of| *of != group);
            if groups.is_empty() {
                context.demonitor(*monitor);
                self.watched.remove(monitor);
                self.members.remove(&id);
            }
        }
        self.publish(&Update::Left(group, id), context);
        true
    }
}

/// News from another shard.
struct News {
    from: u16,
    update: Update,
}

impl Message for News {
    type Reply = ();
    const CLASS: Class = Class::High;
}

impl Handler<News> for GroupService {
    fn handle(&mut self, news: News, _: &mut Context<'_, Self>) {
        with_view(|view| match news.update {
            Update::Joined(group, member) => note(view, &group, member),
            Update::Left(group, id) => {
                view.remove(&group, id);
            }
            Update::Everything(all) => {
                view.remove_shard(news.from);
                all.iter()
                    .for_each(|(group, member)| note(view, group, *member));
            }
        });
    }
}

/// Notes a member of another shard. Limits hold a shard's own joins; racing ones on two shards may
/// together go beyond, and then this view lacks a member.
fn note(view: &mut View, group: &str, member: Member) {
    if let Err(why) = view.add(group, member) {
        tracing::error!(group, member = ?member.id, %why, "not in this shard's view");
    }
}

/// Sends what could not be sent.
struct Retry;

impl Message for Retry {
    type Reply = ();
    const CLASS: Class = Class::High;
}

impl Handler<Retry> for GroupService {
    fn handle(&mut self, _: Retry, context: &mut Context<'_, Self>) {
        for (to, updates) in std::mem::take(&mut self.unsent) {
            for update in updates {
                self.tell(context.shard(), to, update);
            }
        }
        self.retry_later(context);
    }
}

impl GroupService {
    /// Tells the other shards.
    fn publish(&mut self, update: &Update, context: &mut Context<'_, Self>) {
        let idle = self.unsent.is_empty();
        let me = context.shard();
        let shards = Shard::with(|shard| shard.shared().ports.len()).unwrap_or(0);
        let others = (0..shards).filter_map(|to| u16::try_from(to).ok());
        for to in others.filter(|to| *to != me) {
            self.tell(me, to, update.clone());
        }
        if idle {
            self.retry_later(context);
        }
    }

    /// Tells one shard, after what it has still to be told; more than can wait becomes everything.
    fn tell(&mut self, me: u16, to: u16, update: Update) {
        let refused = match self.unsent.get(&to) {
            Some(_) => Some(update),
            None => match send(to, News { from: me, update }) {
                Err(SendError::Full(news)) => Some(news.update),
                // A shard that has stopped needs no news.
                _ => None,
            },
        };
        let Some(update) = refused else { return };
        let unsent = self.unsent.entry(to).or_default();
        unsent.push_back(update);
        if unsent.len() > GROUP_UPDATES_MAX {
            let all = with_view(|view| view.of_shard(me)).unwrap_or_default();
            *unsent = VecDeque::from([Update::Everything(all)]);
        }
    }

    fn retry_later(&self, context: &mut Context<'_, Self>) {
        if !self.unsent.is_empty() {
            service::remind::<Self, _, _>(context, RETRY, || Retry);
        }
    }
}

fn send(to: u16, news: News) -> Result<(), SendError<News>> {
    match Shard::with(|shard| service::address::<GroupService>(shard, to)) {
        Some(address) => address.cast(news),
        None => Err(SendError::OffShard(news)),
    }
}

fn with_view<R>(f: impl FnOnce(&mut View) -> R) -> Option<R> {
    Shard::with(|shard| f(&mut shard.view.borrow_mut()))
}

/// The service that decides about `id`, and the id without what tells how it was made.
fn service_of(id: ActorId) -> Result<(Address<GroupService>, ActorId), GroupError> {
    let plain = ActorId {
        index: id.index & !SlotKey::FROM_PARTS,
        ..id
    };
    Shard::with(|shard| {
        (shard.runtime_id() == id.runtime).then(|| (service::address(shard, id.shard), plain))
    })
    .flatten()
    .ok_or(GroupError::OffShard)
}

fn unanswered<M>(why: &CallError<M>, shard: u16) -> GroupError {
    match why {
        CallError::OffShard(_) => GroupError::OffShard,
        CallError::Full(_)
        | CallError::Closed(_)
        | CallError::Shed(_)
        | CallError::TooLarge(_)
        | CallError::Dropped => GroupError::Busy { shard },
        CallError::TimedOut | CallError::Panicked | CallError::Stopped => {
            GroupError::Unanswered { shard }
        }
    }
}

/// Makes an actor a member of `group`, which there is from its first member to its last. Joining
/// again changes nothing. The actor leaves when it ends.
///
/// When this resolves, the member is in the view of its own shard; others follow.
///
/// # Errors
/// [`GroupError`].
pub async fn join<A: Actor>(group: &str, address: Address<A>) -> Result<(), GroupError> {
    let bytes = group.len();
    if bytes > NAME_BYTES_MAX {
        return Err(GroupError::TooLong { bytes });
    }
    let (service, id) = service_of(address.id())?;
    let member = Member {
        id,
        body: vtable_of::<A>(),
    };
    let join = Join {
        group: group.into(),
        member,
    };
    let joined = service.call(join, NAMES_WITHIN).await;
    joined.map_err(|why| unanswered(&why, id.shard))?
}

/// Ends an actor's membership; true when it was a member.
///
/// # Errors
/// [`GroupError`].
pub async fn leave<A: Actor>(group: &str, address: Address<A>) -> Result<bool, GroupError> {
    let (service, id) = service_of(address.id())?;
    let leave = Leave {
        group: group.into(),
        id,
    };
    let left = service.call(leave, NAMES_WITHIN).await;
    left.map_err(|why| unanswered(&why, id.shard))
}

/// The members of `group` that are an `A`, in the view of this shard; none on other threads.
#[must_use]
pub fn members<A: Actor>(group: &str) -> Vec<Address<A>> {
    members_where(group, |_| true)
}

/// Those of them that live on this shard.
#[must_use]
pub fn local_members<A: Actor>(group: &str) -> Vec<Address<A>> {
    let here = Shard::with(Shard::id);
    members_where(group, |id| Some(id.shard) == here)
}

fn members_where<A: Actor>(group: &str, wanted: impl Fn(ActorId) -> bool) -> Vec<Address<A>> {
    with_view(|view| {
        let members = view.groups.get(group).map_or(&[][..], Vec::as_slice);
        (members.iter())
            .filter(|member| wanted(member.id) && is_body_of::<A>(member.body))
            .map(|member| Address::new(member.id))
            .collect()
    })
    .unwrap_or_default()
}

/// How a broadcast went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Members that were sent the message.
    pub sent: usize,
    /// Members that refused it.
    pub refused: usize,
}

/// Casts a copy of `message` to every member of `group` that is an `A`, in the view of this shard.
pub fn broadcast<A, M, K>(group: &str, message: &M) -> Sent
where
    A: Receives<M, K>,
    M: Message + Clone,
{
    let mut report = Sent::default();
    for member in members::<A>(group) {
        match member.cast(message.clone()) {
            Ok(()) => report.sent += 1,
            Err(_) => report.refused += 1,
        }
    }
    report
}
