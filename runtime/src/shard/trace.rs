//! Tracing: a message carries the span that it was sent in, and runs in a child of it.
//!
//! Off by default; see `Config::trace_messages`. The spans of messages in mailboxes are kept beside
//! them, so that a message which carries none costs nothing.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;
use tracing::Span;

use crate::actor::{Envelope, EnvelopeId, MessageVtable};
use crate::sched::Slot;

use super::Shard;

/// The spans of traced messages by their envelopes.
pub(super) type Spans = HashMap<EnvelopeId, Span, FxBuildHasher>;

impl Shard {
    /// The span that a message is sent in, if messages are traced and there is one.
    pub(super) fn sender_span(&self) -> Option<Span> {
        self.spans.as_ref()?;
        Some(Span::current()).filter(|span| !span.is_none())
    }

    /// Marks a message as sent in `span`.
    #[cold]
    pub(super) fn attach_span(&self, id: EnvelopeId, envelope: &Envelope, span: Span) {
        if let Some(spans) = &self.spans {
            let mut stamp = envelope.stamp.get();
            stamp.traced = true;
            envelope.stamp.set(stamp);
            spans.borrow_mut().insert(id, span);
        }
    }

    /// Takes the span of a message away.
    pub(super) fn detach_span(&self, id: EnvelopeId) -> Option<Span> {
        self.spans.as_ref()?.borrow_mut().remove(&id)
    }

    /// Runs a message in a child of the span that it was sent in.
    #[cold]
    pub(super) fn run_traced(&self, slot: &Slot, vtable: &'static MessageVtable, id: EnvelopeId) {
        let parent = self.detach_span(id).unwrap_or_else(Span::none);
        let actor = slot.vtable.get().map_or("-", |body| (body.name)());
        let span = tracing::info_span!(
            parent: &parent,
            "message",
            shard = self.id(),
            slot = slot.index,
            actor,
            message = (vtable.name)(),
        );
        let body = slot.body.get();
        // SAFETY: as in the turn, which calls this in place of running the message itself.
        span.in_scope(|| unsafe { (vtable.run)(body, id, slot, self) });
    }
}
