//! A flood from within: pairs of actors that keep a shard busy for ever.

use ninefold_runtime::task::SpawnError;
use ninefold_runtime::{Actor, Address, Context, Handler, Message, SpawnOptions, spawn_actor};

use crate::measure::clock;

/// Pairs of actors.
const PAIRS: usize = 500;
/// Messages that each pair throws back and forth.
const TOKENS_A_PAIR: usize = 8;
/// Length of a handler, in ns.
const WORK_NS: u64 = 1_000;

/// What the flood is made of, for a reader.
pub const DESCRIPTION: &str = "500 pairs of actors, 4,000 messages, handlers of 1 us";

struct Partner {
    other: Option<Address<Partner>>,
}

struct Meet(Address<Partner>);
struct Token;

impl Actor for Partner {}
impl Message for Meet {
    type Reply = ();
}
impl Message for Token {
    type Reply = ();
}

impl Handler<Meet> for Partner {
    fn handle(&mut self, meet: Meet, _: &mut Context<'_, Self>) {
        self.other = Some(meet.0);
    }
}

impl Handler<Token> for Partner {
    #[inline]
    fn handle(&mut self, token: Token, _: &mut Context<'_, Self>) {
        clock::spin_for(WORK_NS);
        if let Some(other) = self.other {
            // Eight tokens for a mailbox of a thousand: never full.
            let _ = other.cast(token);
        }
    }
}

/// Starts the flood on the current shard; it ends with the runtime.
///
/// # Errors
/// When the shard takes no more actors.
pub fn start() -> Result<(), SpawnError> {
    for _ in 0..PAIRS {
        let first = spawn_actor(SpawnOptions::default(), Partner { other: None })?;
        let second = spawn_actor(SpawnOptions::default(), Partner { other: Some(first) })?;
        // Fresh mailboxes have room for an introduction and eight tokens.
        let _ = first.cast(Meet(second));
        for _ in 0..TOKENS_A_PAIR {
            let _ = second.cast(Token);
        }
    }
    Ok(())
}
