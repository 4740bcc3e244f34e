//! Tasks: futures that run on a shard, in the same run queues as actors.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

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
        restart: |_| false,
        stopped: |_| {},
        destroy: destroy::<F>,
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
/// `body` came from `Box::into_raw` in [`spawn`] and is used no more.
unsafe fn destroy<F>(body: *mut ()) {
    // SAFETY: the caller's promise.
    drop(unsafe { Box::from_raw(body.cast::<TaskBody<F>>()) });
}

/// Why nothing more can be spawned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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
    Shard::with(|shard| spawn(shard, class, future)).unwrap_or(Err(SpawnError::OffShard))
}

/// Starts `future` as a task of the current shard, in the normal class.
///
/// # Errors
/// As [`spawn_local_in`].
pub fn spawn_local(future: impl Future<Output = ()> + 'static) -> Result<(), SpawnError> {
    spawn_local_in(Class::Normal, future)
}

pub(crate) fn spawn<F: Future<Output = ()> + 'static>(
    shard: &Shard,
    class: Class,
    future: F,
) -> Result<(), SpawnError> {
    let slot = shard.take_slot()?;
    let key = slot.key();
    let waker = Arc::new(TaskWaker {
        shared: shard.shared().clone(),
        shard: shard.id(),
        key,
        queued: AtomicBool::new(false),
    });
    let body = Box::new(TaskBody {
        waker: waker.into(),
        future,
    });
    slot.body.set(Box::into_raw(body).cast());
    slot.vtable.set(Some(Glue::<F>::VTABLE));
    slot.class.set(class);
    slot.woken.set(false);
    shard.stats().tasks_spawned.add(1);
    shard.wake(key);
    Ok(())
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
