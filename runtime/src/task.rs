//! Tasks: futures that run on a shard, in the same run queues as actors.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::actor::ExitReason;
use crate::runtime::Shared;
use crate::sched::{BodyVtable, Class, Slot, SlotKey};
use crate::shard::Shard;

/// Who is to be woken by an event of this shard.
///
/// A future that is polled directly by its task is woken by slot, without touching a reference
/// count; a future inside a combinator that brings its own waker keeps that waker.
#[derive(Default)]
pub(crate) enum Wakee {
    #[default]
    None,
    Task(SlotKey),
    Waker(Waker),
}

impl Wakee {
    /// Remembers the task that polls with `cx`.
    #[inline]
    pub(crate) fn note(&mut self, cx: &mut Context<'_>) {
        let direct = Shard::with(|shard| {
            let (data, key) = shard.polling.get();
            (data == cx.waker().data()).then_some(key)
        });
        match (direct.flatten(), &*self) {
            (Some(key), _) => *self = Wakee::Task(key),
            (None, Wakee::Waker(known)) if known.will_wake(cx.waker()) => {}
            (None, _) => *self = Wakee::Waker(cx.waker().clone()),
        }
    }

    #[inline]
    pub(crate) fn wake(self) {
        match self {
            Wakee::None => {}
            Wakee::Task(key) => {
                Shard::with(|shard| shard.wake(key));
            }
            Wakee::Waker(waker) => waker.wake(),
        }
    }
}

/// The waker of a task: shard, slot, and the way there from any thread.
pub(crate) struct TaskWaker {
    shared: Arc<Shared>,
    shard: u16,
    key: SlotKey,
    /// A wake-up from another thread is under way; bounds that queue by the number of tasks.
    queued: AtomicBool,
}

impl TaskWaker {
    /// The wake-up has arrived at its shard.
    pub(crate) fn arrive(&self, shard: &Shard) {
        self.queued.store(false, Ordering::Release);
        shard.wake(self.key);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let local = Shard::with(|shard| {
            let here = shard.id() == self.shard && shard.is_of(&self.shared);
            if here {
                shard.wake(self.key);
            }
            here
        });
        if local != Some(true) && !self.queued.swap(true, Ordering::AcqRel) {
            self.shared.inject_wake(self.shard, self.clone());
        }
    }
}

/// The waker comes first, so that it can be found without knowing `F`.
#[repr(C)]
struct TaskBody<F> {
    waker: Waker,
    future: F,
}

struct Glue<F>(std::marker::PhantomData<F>);

impl<F: Future<Output = ()> + 'static> Glue<F> {
    const VTABLE: &'static BodyVtable = &BodyVtable {
        name: std::any::type_name::<F>,
        type_id: std::any::TypeId::of::<F>,
        poll: Some(poll::<F>),
        started: |_, _, _| {},
        signal: |_, _, _, _| {},
        stopped: |_, _| {},
        hibernate: |_| {},
        destroy: destroy::<F>,
        traps_exits: false,
    };
}

/// # Safety
/// `body` is the live `TaskBody<F>` of the running slot.
unsafe fn poll<F: Future<Output = ()>>(body: *mut ()) -> bool {
    // SAFETY: the shard polls a task only in its own turn, so this is the only reference; the body
    // is boxed and never moves until it is destroyed, which is what pinning asks for.
    unsafe {
        let body = &mut *body.cast::<TaskBody<F>>();
        let future = Pin::new_unchecked(&mut body.future);
        matches!(
            future.poll(&mut Context::from_waker(&body.waker)),
            Poll::Ready(())
        )
    }
}

/// # Safety
/// `body` was installed in [`spawn`] and is used no more.
unsafe fn destroy<F>(body: *mut ()) {
    // SAFETY: the caller's promise.
    unsafe { Slot::destroy::<TaskBody<F>>(body) };
}

/// Why nothing more can be spawned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// The shard holds [`crate::limits::ACTORS_MAX`] actors and tasks.
    #[error("wanted room for one more actor or task, but the shard holds its limit of {limit}")]
    Full {
        /// The limit.
        limit: u32,
    },
    /// The calling thread is not a shard.
    #[error(
        "wanted to spawn on the current shard, but this thread is not a shard; use Handle::spawn_on"
    )]
    OffShard,
    /// The shard is shutting down.
    #[error("the shard is shutting down and takes nothing new")]
    ShuttingDown,
    /// The options name a scheduling group that the configuration does not.
    #[error(
        "wanted scheduling group {wanted}, but there are {groups} (0 is the default); name more in \
         Config::groups"
    )]
    NoGroup {
        /// The group wanted.
        wanted: u8,
        /// Groups that there are.
        groups: usize,
    },
    /// Actors of the shard use [`crate::limits::OPTIONS_MAX`] different options already.
    #[error("wanted one more set of spawn options, but the shard holds its limit of {limit}")]
    TooManyOptions {
        /// The limit.
        limit: u16,
    },
    /// The supervisor has as many children as it may have.
    #[error("wanted one more child of supervisor {name}, but it has its limit of {limit}")]
    TooManyChildren {
        /// The supervisor's name.
        name: &'static str,
        /// The limit.
        limit: u32,
    },
    /// The supervisor has stopped, has given up, or waits for its parent to start it again.
    #[error("supervisor {name} is down and starts nothing; see Supervisor::gave_up")]
    SupervisorDown {
        /// The supervisor's name.
        name: &'static str,
    },
    /// There is no such shard.
    #[error("wanted shard {wanted}, but there are {shards}, counted from 0")]
    NoShard {
        /// The shard wanted.
        wanted: usize,
        /// Shards that there are.
        shards: usize,
    },
    /// The way to the shard is full, or it sheds load.
    #[error("shard {shard} takes no more work now; retry later, or elsewhere")]
    Busy {
        /// The shard.
        shard: usize,
    },
    /// The shard stopped before it answered.
    #[error("shard {shard} stopped before it answered")]
    Lost {
        /// The shard.
        shard: usize,
    },
    /// The actor ended while it started.
    #[error("the actor did not start: {0}")]
    Died(ExitReason),
}

/// Starts `future` as a task of the current shard, in class `class`.
///
/// A panic inside it ends this task alone and is logged and counted.
///
/// # Errors
/// [`SpawnError`] when this thread is no shard or the shard is full or shutting down.
pub fn spawn_local_in(
    class: Class,
    future: impl Future<Output = ()> + 'static,
) -> Result<(), SpawnError> {
    Shard::with(|shard| spawn(shard, class, future).map(|_| ()))
        .unwrap_or(Err(SpawnError::OffShard))
}

/// Starts `future` as a task of the current shard, in the normal class.
///
/// # Errors
/// As [`spawn_local_in`].
pub fn spawn_local(future: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
    spawn_local_in(Class::Normal, future)
}

/// As [`spawn_local_in`], on `shard` and in the default scheduling group.
pub(crate) fn spawn<F: Future<Output = ()> + 'static>(
    shard: &Shard,
    class: Class,
    future: F,
) -> Result<SlotKey, SpawnError> {
    spawn_in_group(shard, class, 0, future)
}

/// As [`spawn`], in the scheduling group of an actor that the task works for.
pub(crate) fn spawn_in_group<F: Future<Output = ()> + 'static>(
    shard: &Shard,
    class: Class,
    group: u8,
    future: F,
) -> Result<SlotKey, SpawnError> {
    let slot = shard.take_slot()?;
    let key = slot.key();
    let waker = Arc::new(TaskWaker {
        shared: shard.shared().clone(),
        shard: shard.id(),
        key,
        queued: AtomicBool::new(false),
    });
    slot.install(TaskBody {
        waker: waker.into(),
        future,
    });
    slot.vtable.set(Some(Glue::<F>::VTABLE));
    slot.class.set(class.max(Class::High));
    slot.group.set(group);
    let name = std::any::type_name::<F>;
    let kind = shard.kinds.of_type(std::any::TypeId::of::<F>(), name);
    shard.kinds.open_poll(kind, class);
    slot.kind.set(kind);
    shard.stats().tasks_spawned.add(1);
    shard.wake(key);
    Ok(key)
}

/// Lets everything else that is ready run before the task goes on.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The data pointer of a waker and the slot it belongs to, while that slot is being polled.
pub(crate) type Polling = (*const (), SlotKey);

/// What to remember while `slot` is polled with its own waker.
///
/// # Safety
/// `slot` holds a live task.
pub(crate) unsafe fn polling(slot: &Slot) -> Polling {
    // SAFETY: a task body is a `repr(C)` TaskBody<F>, whose first field is its waker.
    let waker = unsafe { &*slot.body.get().cast_const().cast::<Waker>() };
    (waker.data(), slot.key())
}
