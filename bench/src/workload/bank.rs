//! Savina's bank (`banking`): a teller has money moved between accounts; an account that waits for
//! the other side sets everything else aside.
//!
//! Savina's teller orders all transfers at once; mailboxes that are bounded do not hold them, so
//! here at most [`UNDER_WAY`] are under way, on every runtime alike.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Backend, Failed, Latch, Role, exactly, tell_for_sure};
use crate::measure::clock;

/// Savina's number of accounts.
const ACCOUNTS: usize = 1_000;
/// Transfers under way: fewer than a mailbox holds.
const UNDER_WAY: u64 = 500;
/// What each account starts with, in cents.
const BALANCE: i64 = 1 << 40;

struct Teller<B: Backend> {
    me: Option<B::Address<Self>>,
    accounts: Vec<B::Address<Account<B>>>,
    to_order: u64,
    to_complete: u64,
    rng: fastrand::Rng,
    done_ns: Latch<u64>,
}

struct Account<B: Backend> {
    me: Option<B::Address<Self>>,
    balance: i64,
    /// Who ordered the transfer that waits for the other side.
    waits_for: Option<B::Address<Teller<B>>>,
    set_aside: VecDeque<ToAccount<B>>,
    transfers: Arc<AtomicU64>,
}

enum ToTeller<B: Backend> {
    Open(Box<B::Address<Teller<B>>>),
    Done,
}

enum ToAccount<B: Backend> {
    Open(Box<B::Address<Account<B>>>),
    /// Move cents to another account.
    Credit {
        cents: i64,
        to: B::Address<Account<B>>,
        teller: Box<B::Address<Teller<B>>>,
    },
    Debit {
        cents: i64,
        from: B::Address<Account<B>>,
    },
    Reply,
}

// What is under way fits any mailbox, so none is ever full.
impl<B: Backend> Teller<B> {
    fn order(&mut self) {
        let Some(me) = self.me.as_ref().filter(|_| self.to_order > 0) else {
            return;
        };
        self.to_order -= 1;
        // The source is always the lower one, so that no two wait for each other.
        let source = self.rng.usize(..ACCOUNTS / 10 * 8);
        let target = source + self.rng.usize(..ACCOUNTS - source).max(1);
        let order = ToAccount::Credit {
            cents: self.rng.i64(0..100_000),
            to: self.accounts[target].clone(),
            teller: Box::new(me.clone()),
        };
        let _ = B::tell(&self.accounts[source], order);
    }
}

impl<B: Backend> Role for Teller<B> {
    type Message = ToTeller<B>;

    #[inline]
    fn on(&mut self, message: ToTeller<B>) -> ControlFlow<()> {
        match message {
            ToTeller::Open(me) => {
                self.me = Some(*me);
                (0..UNDER_WAY).for_each(|_| self.order());
            }
            ToTeller::Done => {
                self.to_complete -= 1;
                if self.to_complete == 0 {
                    self.done_ns.set(clock::now_ns());
                    return ControlFlow::Break(());
                }
                self.order();
            }
        }
        ControlFlow::Continue(())
    }
}

impl<B: Backend> Account<B> {
    #[inline]
    fn serve(&mut self, message: ToAccount<B>) {
        match message {
            ToAccount::Open(me) => self.me = Some(*me),
            ToAccount::Credit { cents, to, teller } => {
                if let Some(me) = &self.me {
                    self.balance -= cents;
                    self.waits_for = Some(*teller);
                    let from = me.clone();
                    let _ = B::tell(&to, ToAccount::Debit { cents, from });
                }
            }
            ToAccount::Debit { cents, from } => {
                self.balance += cents;
                self.transfers.fetch_add(1, Ordering::Relaxed);
                let _ = B::tell(&from, ToAccount::Reply);
            }
            // Taken care of before; a second one has nobody to go to.
            ToAccount::Reply => {}
        }
    }
}

impl<B: Backend> Role for Account<B> {
    type Message = ToAccount<B>;

    #[inline]
    fn on(&mut self, message: ToAccount<B>) -> ControlFlow<()> {
        match (&message, self.waits_for.take()) {
            (ToAccount::Reply, Some(teller)) => {
                let _ = B::tell(&teller, ToTeller::Done);
                while self.waits_for.is_none()
                    && let Some(next) = self.set_aside.pop_front()
                {
                    self.serve(next);
                }
            }
            (_, Some(teller)) => {
                self.waits_for = Some(teller);
                self.set_aside.push_back(message);
            }
            (_, None) => self.serve(message),
        }
        ControlFlow::Continue(())
    }

    fn answer(&mut self, _: u64) -> u64 {
        // Accounts know themselves: one that has been audited lets go.
        self.me = None;
        self.balance.unsigned_abs()
    }
}

/// 1,000 accounts, `transfers` transfers; ns a message, of which each transfer makes four.
pub(super) async fn bank<B: Backend>(transfers: u64) -> Result<f64, Failed> {
    let moved = Arc::new(AtomicU64::new(0));
    let mut accounts = Vec::with_capacity(ACCOUNTS);
    for _ in 0..ACCOUNTS {
        let account = Account::<B> {
            me: None,
            balance: BALANCE,
            waits_for: None,
            set_aside: VecDeque::new(),
            transfers: moved.clone(),
        };
        let account = B::spawn(account).await?;
        tell_for_sure::<B, _>(&account, ToAccount::Open(Box::new(account.clone()))).await;
        accounts.push(account);
    }
    let done_ns = Latch::default();
    let teller = Teller::<B> {
        me: None,
        accounts: accounts.clone(),
        to_order: transfers,
        to_complete: transfers,
        rng: fastrand::Rng::with_seed(123_456),
        done_ns: done_ns.clone(),
    };
    let teller = B::spawn(teller).await?;
    let start = clock::now_ns();
    tell_for_sure::<B, _>(&teller, ToTeller::Open(Box::new(teller.clone()))).await;
    let end = done_ns.wait().await;
    let mut total = 0;
    for account in &accounts {
        total += B::ask(account, 0).await.unwrap_or(0);
    }
    let wanted = ACCOUNTS as u64 * BALANCE.unsigned_abs();
    exactly("bank: cents in all accounts", wanted, total)?;
    let moved = moved.load(Ordering::Relaxed);
    exactly("bank: transfers", transfers, moved)?;
    Ok((end - start) as f64 / (4 * transfers) as f64)
}
