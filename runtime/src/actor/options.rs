//! What an actor is spawned with: its mailbox's bounds, its class, its group.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use crate::limits::{MAILBOX_BYTES, MAILBOX_MESSAGES, OPTIONS_MAX};
use crate::region::Region;
use crate::sched::Class;

/// What a mailbox does with a message of the high or normal lane that finds no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Hands it back to its sender: `SendError::Full`.
    #[default]
    Refuse,
    /// Gives up the oldest messages of the lane, postponed ones first, until there is room; who
    /// called with them is told.
    DropOldest,
    /// Gives up the new one; a `cast` succeeds, a caller is told.
    DropNewest,
}

/// Mailbox and class of a new actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpawnOptions {
    /// Messages that the high and the normal lane of the mailbox hold, each.
    pub capacity: u32,
    /// Bytes that both hold together, by [`crate::Message::bytes`] rounded up to 64. High messages
    /// may fill as much again, so that large normal ones do not keep them out.
    pub bytes: u32,
    /// What happens beyond.
    pub overflow: Overflow,
    /// The class of its normal messages: [`Class::Normal`] or [`Class::Low`].
    pub class: Class,
    /// The scheduling group: 0 is the default one, others are those of `Config::groups` in order,
    /// from 1.
    pub group: u8,
    /// Idle time after which [`crate::Actor::hibernate`] is called, at the shard's leisure.
    pub hibernate: Option<Duration>,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        SpawnOptions {
            capacity: MAILBOX_MESSAGES,
            bytes: MAILBOX_BYTES,
            overflow: Overflow::Refuse,
            class: Class::Normal,
            group: 0,
            hibernate: None,
        }
    }
}

/// The options in use on a shard, each once: a slot holds a two-byte index.
pub(crate) struct OptionsTable {
    all: Region<SpawnOptions>,
    index: RefCell<HashMap<SpawnOptions, u16, FxBuildHasher>>,
    last: Cell<u16>,
    any_hibernate: Cell<bool>,
}

impl OptionsTable {
    /// A table that holds the default options only.
    ///
    /// # Errors
    /// The system's, when the address space is limited.
    pub(crate) fn new() -> io::Result<Self> {
        let table = OptionsTable {
            all: Region::reserve(u32::from(OPTIONS_MAX))?,
            index: RefCell::default(),
            last: Cell::new(0),
            any_hibernate: Cell::new(false),
        };
        table
            .add(SpawnOptions::default())
            .ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(table)
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u16) -> &SpawnOptions {
        // SAFETY: slots hold indices that `intern` returned.
        unsafe { self.all.at(u32::from(index)) }
    }

    /// Whether any actor wants to be told when it is idle.
    pub(crate) fn any_hibernate(&self) -> bool {
        self.any_hibernate.get()
    }

    /// The index of `options`, added when new; `None` at [`OPTIONS_MAX`] different ones.
    pub(crate) fn intern(&self, options: SpawnOptions) -> Option<u16> {
        let last = self.last.get();
        if *self.get(last) == options {
            return Some(last);
        }
        let known = self.index.borrow().get(&options).copied();
        let index = match known {
            Some(index) => index,
            None => self.add(options)?,
        };
        self.last.set(index);
        Some(index)
    }

    fn add(&self, options: SpawnOptions) -> Option<u16> {
        self.all.push(|_| options)?;
        if options.hibernate.is_some() {
            self.any_hibernate.set(true);
        }
        let index = u16::try_from(self.all.len() - 1).ok()?;
        self.index.borrow_mut().insert(options, index);
        Some(index)
    }
}
