//! What travels between shards: a message, an answer, or the news that no answer will come.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use tracing::Span;

use crate::actor::{MessageVtable, NoAnswer, Payload, ReplyTo};
use crate::clock::Cycles;
use crate::limits::SHARDS_MAX;
use crate::panics;

use super::credit::Batch;

/// What goes with a message.
pub(crate) struct MessageHead {
    pub(crate) vtable: &'static MessageVtable,
    /// The actor.
    pub(crate) index: u32,
    pub(crate) generation: u32,
    pub(crate) reply: ReplyTo,
    pub(crate) posted_at: Cycles,
    /// Microseconds after `posted_at`; 0: none.
    pub(crate) deadline_us: u32,
    /// What the message takes with its heap, in units of 64 bytes, rounded up.
    pub(crate) size: u16,
    /// The span it was sent in.
    pub(crate) span: Option<Box<Span>>,
}

/// The head of a frame, as its receiver reads it.
pub(crate) enum Head {
    /// A message to the actor `(index, generation)`.
    Message(MessageHead),
    /// The answer to a call; `used` payload bytes, dropped by `drop` when nobody waits any more.
    Answer {
        to: ReplyTo,
        used: usize,
        drop: unsafe fn(*mut u8),
    },
    /// A call that will get no answer.
    Failed { to: ReplyTo, why: NoAnswer },
    /// Credits on their way home.
    Credits(Batch),
}

#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Message,
    /// A message whose span is written.
    TracedMessage,
    Answer,
    Failed,
    Credits,
}

/// The word whose meaning `Kind` tells.
#[derive(Clone, Copy)]
union Glue {
    message: &'static MessageVtable,
    answer: unsafe fn(*mut u8),
    failed: NoAnswer,
    credits: (),
}

/// What every frame has, in 40 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Fixed {
    kind: Kind,
    reply_shard: u8,
    size: u16,
    deadline_us: u32,
    glue: Glue,
    posted_at: Cycles,
    reply: (u32, u32),
    /// A message's actor; of an answer, the first word is its payload bytes in use.
    target: (u32, u32),
}

/// One slot of a mesh ring: two cache lines, of which messages up to 24 bytes touch the first.
#[repr(C, align(64))]
pub(crate) struct Frame {
    fixed: Fixed,
    payload: Payload,
    /// Written and read for a `TracedMessage` only.
    span: UnsafeCell<MaybeUninit<Option<Box<Span>>>>,
}

const _: () = {
    assert!(size_of::<Frame>() == 128 && align_of::<Frame>() == 64);
    assert!(std::mem::offset_of!(Frame, payload) == 40);
    assert!(SHARDS_MAX <= 1 << u8::BITS);
};

// SAFETY: a frame carries a `Message` or a `Reply`, both `Send` by their traits, in a payload that
// only the receiving shard touches after the ring's release/acquire hand-over.
unsafe impl Send for Frame {}

impl Fixed {
    fn new(kind: Kind, glue: Glue, reply: ReplyTo) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "at most SHARDS_MAX")]
        let reply_shard = reply.shard as u8;
        Fixed {
            kind,
            reply_shard,
            size: 0,
            deadline_us: 0,
            glue,
            posted_at: 0,
            reply: (reply.index, reply.generation),
            target: (0, 0),
        }
    }
}

impl Frame {
    /// Builds a message frame at `at`, writing no byte beyond the message and, if there is one,
    /// the span.
    ///
    /// # Safety
    /// `at` is valid for writing a frame, and `head.vtable` was made for `M`.
    #[inline(always)]
    pub(crate) unsafe fn message<M: Send>(at: *mut Frame, head: MessageHead, message: M) {
        let glue = Glue {
            message: head.vtable,
        };
        let kind = match head.span {
            Some(_) => Kind::TracedMessage,
            None => Kind::Message,
        };
        let fixed = Fixed {
            size: head.size,
            deadline_us: head.deadline_us,
            posted_at: head.posted_at,
            target: (head.index, head.generation),
            ..Fixed::new(kind, glue, head.reply)
        };
        // SAFETY: the caller owns the slot; a payload is valid without a value.
        unsafe {
            (&raw mut (*at).fixed).write(fixed);
            (*at).payload.write(message);
            if head.span.is_some() {
                (&raw mut (*at).span).write(UnsafeCell::new(MaybeUninit::new(head.span)));
            }
        }
    }

    /// Builds the frame of an answer at `at`.
    ///
    /// # Safety
    /// `at` is valid for writing a frame, and `to` was opened for an `R`.
    #[inline(always)]
    pub(crate) unsafe fn answer<R: Send>(at: *mut Frame, to: ReplyTo, answer: R) {
        let glue = Glue {
            answer: Payload::drop_in_place::<R>,
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most INLINE_BYTES")]
        let used = Payload::used::<R>() as u32;
        let fixed = Fixed {
            target: (used, 0),
            ..Fixed::new(Kind::Answer, glue, to)
        };
        // SAFETY: as in `message`.
        unsafe {
            (&raw mut (*at).fixed).write(fixed);
            (*at).payload.write(answer);
        }
    }

    /// The news that a call gets no answer.
    pub(crate) fn failed(to: ReplyTo, why: NoAnswer) -> Self {
        Frame {
            fixed: Fixed::new(Kind::Failed, Glue { failed: why }, to),
            payload: Payload::empty(),
            span: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Credits on their way home.
    pub(crate) fn credits(batch: Batch) -> Self {
        let frame = Frame {
            fixed: Fixed::new(Kind::Credits, Glue { credits: () }, ReplyTo::NONE),
            payload: Payload::empty(),
            span: UnsafeCell::new(MaybeUninit::uninit()),
        };
        // SAFETY: nobody else refers to the payload; its kind says what it holds.
        unsafe { frame.payload.write(batch) };
        frame
    }

    /// A frame of its own, for what is built in place otherwise.
    pub(crate) fn build(write: impl FnOnce(*mut Frame)) -> Frame {
        let mut frame = MaybeUninit::uninit();
        write(frame.as_mut_ptr());
        // SAFETY: `write` is one of the constructors.
        unsafe { frame.assume_init() }
    }

    /// Takes the span of a traced message out.
    ///
    /// # Safety
    /// Taken once: the frame is delivered, and not dropped, afterwards.
    pub(crate) unsafe fn take_span(&self) -> Option<Box<Span>> {
        match self.fixed.kind {
            // SAFETY: the span was written with this kind; the caller takes it once.
            Kind::TracedMessage => unsafe { (*self.span.get()).assume_init_mut().take() },
            _ => None,
        }
    }

    /// The head.
    #[inline(always)]
    pub(crate) fn head(&self) -> Head {
        let fixed = &self.fixed;
        let reply = ReplyTo {
            index: fixed.reply.0,
            generation: fixed.reply.1,
            shard: u16::from(fixed.reply_shard),
        };
        // SAFETY: each constructor writes the union's field that belongs to its kind, and the span
        // with `TracedMessage`.
        unsafe {
            match fixed.kind {
                Kind::Message | Kind::TracedMessage => self.message_head(reply),
                Kind::Answer => Head::Answer {
                    to: reply,
                    used: fixed.target.0 as usize,
                    drop: fixed.glue.answer,
                },
                Kind::Failed => Head::Failed {
                    to: reply,
                    why: fixed.glue.failed,
                },
                Kind::Credits => Head::Credits(self.payload.as_ptr().cast::<Batch>().read()),
            }
        }
    }

    /// # Safety
    /// The frame is a message.
    #[inline(always)]
    unsafe fn message_head(&self, reply: ReplyTo) -> Head {
        let fixed = &self.fixed;
        Head::Message(MessageHead {
            // SAFETY: the caller knows the kind, and with it the field.
            vtable: unsafe { fixed.glue.message },
            index: fixed.target.0,
            generation: fixed.target.1,
            reply,
            posted_at: fixed.posted_at,
            deadline_us: fixed.deadline_us,
            size: fixed.size,
            // Taken apart, by `take_span`.
            span: None,
        })
    }

    /// Where the message or answer is.
    #[inline(always)]
    pub(crate) fn payload(&self) -> *mut u8 {
        self.payload.as_ptr()
    }
}

impl Drop for Frame {
    /// Only frames that were never delivered are dropped (a runtime that shuts down). What panics
    /// in there must neither keep the other frames nor take the shard's thread along.
    fn drop(&mut self) {
        let dropped = panics::catch(|| {
            // SAFETY: an undelivered frame still owns its payload, whose type the head knows, and
            // its span, if any.
            unsafe {
                match self.head() {
                    Head::Message(head) => {
                        drop(self.take_span());
                        (head.vtable.drop)(self.payload());
                    }
                    Head::Answer { drop, .. } => drop(self.payload()),
                    Head::Failed { .. } | Head::Credits(_) => {}
                }
            }
        });
        if let Err(caught) = dropped {
            let (panic, place) = (caught.message, caught.place);
            tracing::error!(
                panic,
                place,
                "panic in drop of a message that was under way"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::actor::{Actor, Context, Handler, Message, Receives as _};

    struct Taker;
    struct Counted(#[expect(dead_code, reason = "held")] Arc<()>);
    impl Message for Counted {
        type Reply = ();
    }
    impl Actor for Taker {}
    impl Handler<Counted> for Taker {
        fn handle(&mut self, _: Counted, _: &mut Context<'_, Self>) {}
    }

    const TO: ReplyTo = ReplyTo {
        index: 5,
        generation: 6,
        shard: 63,
    };

    #[test]
    fn a_message_comes_out_as_it_went_in_and_is_dropped_with_its_frame() {
        let counted = Arc::new(());
        for span in [None, Some(Box::new(Span::none()))] {
            let traced = span.is_some();
            let sent = MessageHead {
                vtable: Taker::glue().0,
                index: 1,
                generation: 2,
                reply: TO,
                posted_at: 3,
                deadline_us: 4,
                size: 7,
                span,
            };
            // SAFETY: the pointer is a frame's, the vtable is that of `Counted`.
            let frame =
                Frame::build(|at| unsafe { Frame::message(at, sent, Counted(counted.clone())) });
            let Head::Message(head) = frame.head() else {
                panic!("another kind");
            };
            assert!(std::ptr::eq(head.vtable, Taker::glue().0));
            assert_eq!((head.index, head.generation, head.reply), (1, 2, TO));
            assert_eq!((head.posted_at, head.deadline_us, head.size), (3, 4, 7));
            assert_eq!(matches!(frame.fixed.kind, Kind::TracedMessage), traced);
            assert_eq!(Arc::strong_count(&counted), 2);
            drop(frame);
            assert_eq!(Arc::strong_count(&counted), 1);
        }
    }

    #[test]
    fn answers_and_failures_come_out_as_they_went_in() {
        let counted = Arc::new(());
        // SAFETY: the pointer is a frame's.
        let frame = Frame::build(|at| unsafe { Frame::answer(at, TO, (counted.clone(), 9_u64)) });
        let Head::Answer { to, used, .. } = frame.head() else {
            panic!("another kind");
        };
        assert_eq!((to, used), (TO, 16));
        drop(frame);
        assert_eq!(Arc::strong_count(&counted), 1);
        let frame = Frame::failed(ReplyTo { shard: 0, ..TO }, NoAnswer::Stopped);
        let Head::Failed { to, why } = frame.head() else {
            panic!("another kind");
        };
        assert_eq!((to.shard, why), (0, NoAnswer::Stopped));
    }
}
