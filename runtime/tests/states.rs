//! State machines on a real shard: postponed messages, transitions, time-outs of states.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests wait and measure from outside the runtime"
)]

#[macro_use]
mod support;

use std::time::Duration;

use ninefold_runtime::{
    Actor, Address, AsyncHandler, CallError, Context, Handler, Overflow, SendError, SpawnOptions,
    sleep, spawn_actor,
};
use support::{SECOND, on_shards, stat};

/// A door: who comes while it is closed waits in front of it.
#[derive(Default)]
struct Door {
    open: bool,
    inside: Vec<u32>,
    timeouts: Vec<u32>,
}

#[derive(PartialEq)]
struct Enter(u32);
#[derive(PartialEq)]
struct Vip(u32);
struct Open;
struct Close;
struct Inside;
struct Timeouts;
struct Leave;
/// Sets a time-out of the state, in milliseconds, with a name.
struct Arm(u64, u32);
struct TimedOut(u32);
/// Nothing else is handled for so many milliseconds.
struct Hold(u64);

messages! {
    Enter => u32;
    Vip => u32, High;
    Open => (), High;
    Close => ();
    Inside => Vec<u32>, High;
    Timeouts => Vec<u32>;
    Leave => (), High;
    Arm => ();
    TimedOut => ();
    Hold => ();
}
impl Actor for Door {}
impl Handler<Enter> for Door {
    fn accepts(&self, _: &Enter) -> bool {
        self.open
    }
    fn handle(&mut self, who: Enter, _: &mut Context<'_, Self>) -> u32 {
        self.inside.push(who.0);
        who.0
    }
}
impl Handler<Vip> for Door {
    fn accepts(&self, _: &Vip) -> bool {
        self.open
    }
    fn handle(&mut self, who: Vip, _: &mut Context<'_, Self>) -> u32 {
        self.inside.push(who.0);
        who.0
    }
}
impl Handler<Open> for Door {
    fn handle(&mut self, _: Open, context: &mut Context<'_, Self>) {
        self.open = true;
        context.transition();
    }
}
impl Handler<Close> for Door {
    fn handle(&mut self, _: Close, context: &mut Context<'_, Self>) {
        self.open = false;
        context.transition();
    }
}
impl Handler<Inside> for Door {
    fn handle(&mut self, _: Inside, _: &mut Context<'_, Self>) -> Vec<u32> {
        self.inside.clone()
    }
}
impl Handler<Timeouts> for Door {
    fn handle(&mut self, _: Timeouts, _: &mut Context<'_, Self>) -> Vec<u32> {
        self.timeouts.clone()
    }
}
impl Handler<Leave> for Door {
    fn handle(&mut self, _: Leave, context: &mut Context<'_, Self>) {
        context.stop();
    }
}
impl Handler<Arm> for Door {
    fn handle(&mut self, arm: Arm, context: &mut Context<'_, Self>) {
        context.state_timeout(Duration::from_millis(arm.0), TimedOut(arm.1));
    }
}
impl Handler<TimedOut> for Door {
    fn handle(&mut self, timeout: TimedOut, _: &mut Context<'_, Self>) {
        self.timeouts.push(timeout.0);
    }
}
impl AsyncHandler<Hold> for Door {
    const EXCLUSIVE: bool = true;
    fn handle(
        &mut self,
        hold: Hold,
        _: &mut Context<'_, Self>,
    ) -> impl Future<Output = ()> + 'static {
        sleep(Duration::from_millis(hold.0))
    }
}

fn door(capacity: u32, overflow: Overflow) -> Address<Door> {
    let options = SpawnOptions {
        capacity,
        overflow,
        ..SpawnOptions::default()
    };
    spawn_actor(options, Door::default()).unwrap()
}

async fn inside(door: Address<Door>) -> Vec<u32> {
    door.call(Inside, SECOND).await.unwrap()
}

#[test]
fn postponed_messages_come_first_and_in_their_order() {
    on_shards(1, || async {
        let door = door(100, Overflow::Refuse);
        let waiting = door.call(Enter(1), SECOND);
        door.cast(Enter(2)).unwrap();
        door.cast(Vip(10)).unwrap();
        door.cast(Vip(11)).unwrap();
        assert_eq!(inside(door).await, [0; 0]);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(stat(0, |s| s.messages_postponed.get()), 4);
        door.cast(Enter(3)).unwrap();
        door.cast(Open).unwrap();
        assert_eq!(waiting.await, Ok(1), "a postponed call is answered later");
        sleep(Duration::from_millis(1)).await;
        assert_eq!(inside(door).await, [10, 11, 1, 2, 3]);
        // Five entered, one opened, two looked; nothing counts for having been postponed.
        assert_eq!(stat(0, |s| s.messages.get()), 8);
    });
}

#[test]
fn a_second_state_postpones_again_without_changing_the_order() {
    on_shards(1, || async {
        let door = door(100, Overflow::Refuse);
        for n in 0..3 {
            door.cast(Enter(n)).unwrap();
        }
        door.call(Close, SECOND).await.unwrap();
        door.call(Close, SECOND).await.unwrap();
        assert_eq!(inside(door).await, [0; 0]);
        door.cast(Enter(3)).unwrap();
        door.call(Open, SECOND).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(inside(door).await, [0, 1, 2, 3]);
    });
}

#[test]
fn postponed_messages_fill_the_mailbox() {
    on_shards(1, || async {
        let refusing = door(4, Overflow::Refuse);
        for n in 0..3 {
            refusing.cast(Enter(n)).unwrap();
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(inside(refusing).await, [0; 0]);
        refusing.cast(Enter(3)).unwrap();
        assert!(matches!(refusing.cast(Enter(4)), Err(SendError::Full(_))));
        refusing.cast(Open).unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(inside(refusing).await, [0, 1, 2, 3]);

        let dropping = door(4, Overflow::DropOldest);
        let calls: Vec<_> = (0..4).map(|n| dropping.call(Enter(n), SECOND)).collect();
        sleep(Duration::from_millis(1)).await;
        dropping.cast(Enter(4)).unwrap();
        dropping.cast(Open).unwrap();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await);
        }
        assert_eq!(answers, [Err(CallError::Dropped), Ok(1), Ok(2), Ok(3)]);
        assert_eq!(inside(dropping).await, [1, 2, 3, 4]);
        assert_eq!(stat(0, |s| s.messages_dropped.get()), 1);
    });
}

#[test]
fn an_actor_that_stops_tells_those_it_has_put_off() {
    on_shards(1, || async {
        let door = door(100, Overflow::Refuse);
        let calls: Vec<_> = (0..3).map(|n| door.call(Enter(n), SECOND)).collect();
        let high = door.call(Vip(9), SECOND);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(stat(0, |s| s.messages_postponed.get()), 4);
        door.cast(Leave).unwrap();
        for call in calls.into_iter() {
            assert_eq!(call.await, Err(CallError::Stopped));
        }
        assert_eq!(high.await, Err(CallError::Stopped));
        assert_eq!(stat(0, |s| s.messages_dropped.get()), 4);
    });
}

#[test]
fn a_state_times_out_once_unless_it_ends_before_or_is_armed_anew() {
    on_shards(1, || async {
        let door = door(100, Overflow::Refuse);
        door.call(Arm(1, 1), SECOND).await.unwrap();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(door.call(Timeouts, SECOND).await.unwrap(), [1]);
        door.call(Arm(3, 2), SECOND).await.unwrap();
        door.call(Arm(5, 3), SECOND).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        assert_eq!(door.call(Timeouts, SECOND).await.unwrap(), [1, 3]);
        door.call(Arm(3, 4), SECOND).await.unwrap();
        door.call(Open, SECOND).await.unwrap();
        sleep(Duration::from_millis(20)).await;
        assert_eq!(door.call(Timeouts, SECOND).await.unwrap(), [1, 3]);
        assert_eq!(
            stat(0, |s| s.state_timeouts_void.get()),
            0,
            "they never fired"
        );
    });
}

#[test]
fn a_time_out_that_waits_in_the_mailbox_ends_with_its_state() {
    on_shards(1, || async {
        let door = door(100, Overflow::Refuse);
        // While the actor is held, the time-out fires and waits behind the change of state.
        door.cast(Arm(2, 1)).unwrap();
        door.cast(Hold(20)).unwrap();
        door.cast(Close).unwrap();
        sleep(Duration::from_millis(40)).await;
        assert_eq!(door.call(Timeouts, SECOND).await.unwrap(), [0; 0]);
        assert_eq!(stat(0, |s| s.state_timeouts_void.get()), 1);
        // Likewise when it is set anew, and the new one is kept.
        door.cast(Arm(2, 2)).unwrap();
        door.cast(Hold(20)).unwrap();
        door.cast(Arm(2, 3)).unwrap();
        sleep(Duration::from_millis(40)).await;
        assert_eq!(door.call(Timeouts, SECOND).await.unwrap(), [3]);
        // The state stays: it is handled, late as it is.
        door.cast(Arm(2, 4)).unwrap();
        door.cast(Hold(20)).unwrap();
        sleep(Duration::from_millis(40)).await;
        assert_eq!(door.call(Timeouts, SECOND).await.unwrap(), [3, 4]);
        assert_eq!(stat(0, |s| s.state_timeouts_void.get()), 2);
    });
}
