//! Supervisors that are used from within their children: handlers, `started`, `stopped`, drops.

use std::cell::RefCell;
use std::rc::Rc;

use ninefold_runtime::{
    Actor, Address, CallError, Context, ExitReason, Handler, Message, SpawnOptions, Strategy,
    Supervisor,
};

use crate::probe::{Boom, Log, Look, MANY, Probe, SECONDS, at_most, probes, shared, until};
use crate::support::on_shards;

/// What an actor does to its own supervisor.
type Deed = Box<dyn FnMut(&Supervisor, &mut Context<'_, Doer>)>;
type EndDeed = Box<dyn FnMut(&Supervisor)>;
type Told = Box<dyn FnOnce(&Supervisor, &mut Context<'_, Doer>) + Send>;
struct Do(Told);

/// Does things to its supervisor: in handlers as told, at each start, goodbye and drop always.
struct Doer {
    supervisor: Supervisor,
    at_start: Rc<RefCell<Option<Deed>>>,
    at_end: Rc<RefCell<Option<EndDeed>>>,
}

impl Actor for Doer {
    fn started(&mut self, context: &mut Context<'_, Self>) {
        if let Some(deed) = self.at_start.borrow_mut().as_mut() {
            deed(&self.supervisor, context);
        }
    }

    fn stopped(&mut self, _: &ExitReason) {
        self.end();
    }
}

impl Doer {
    fn end(&self) {
        if let Some(deed) = self.at_end.borrow_mut().as_mut() {
            deed(&self.supervisor);
        }
    }
}

impl Drop for Doer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Message for Do {
    type Reply = ();
}
impl Handler<Do> for Doer {
    fn handle(&mut self, deed: Do, context: &mut Context<'_, Self>) {
        (deed.0)(&self.supervisor, context);
    }
}
impl Handler<Boom> for Doer {
    fn handle(&mut self, _: Boom, _: &mut Context<'_, Self>) {
        panic!("boom");
    }
}
impl Handler<Look> for Doer {
    fn handle(&mut self, _: Look, context: &mut Context<'_, Self>) -> (u32, u64) {
        (context.incarnation(), 0)
    }
}

#[derive(Clone, Default)]
struct Deeds {
    at_start: Rc<RefCell<Option<Deed>>>,
    at_end: Rc<RefCell<Option<EndDeed>>>,
}

fn doer(supervisor: &Supervisor, deeds: &Deeds) -> Address<Doer> {
    let (own, deeds) = (supervisor.clone(), deeds.clone());
    let make = move || Doer {
        supervisor: own.clone(),
        at_start: deeds.at_start.clone(),
        at_end: deeds.at_end.clone(),
    };
    supervisor.spawn(SpawnOptions::default(), make).unwrap()
}

#[test]
fn a_child_stops_itself_its_sibling_and_all() {
    on_shards(1, || async {
        let log = Log::default();
        let supervisor = Supervisor::new("test", MANY);
        let [sibling] = probes(&supervisor, &log, [1]);
        let a = doer(&supervisor, &Deeds::default());
        let b = doer(&supervisor, &Deeds::default());
        let [last] = probes(&supervisor, &log, [2]);
        log.take();
        let own = Do(Box::new(|s, context| {
            s.stop_child(context.id()).unwrap();
            assert_eq!(s.count(), 4, "it ends after the message");
        }));
        a.call(own, SECONDS).await.unwrap();
        assert!(a.call(Look, SECONDS).await.is_err());
        assert_eq!(supervisor.count(), 3);
        let id = sibling.id();
        let other = Do(Box::new(move |s, _| s.stop_child(id).unwrap()));
        b.call(other, SECONDS).await.unwrap();
        assert_eq!((log.take(), supervisor.count()), (vec!["-1".to_owned()], 2));
        let all = Do(Box::new(|s, _| {
            s.stop();
            s.stop();
            assert_eq!(s.count(), 2, "all end when no child runs");
        }));
        b.call(all, SECONDS).await.unwrap();
        until("all ends", || supervisor.count() == 0).await;
        assert_eq!(log.take(), ["-2"]);
        assert!(last.call(Look, SECONDS).await.is_err());
        assert!(!supervisor.gave_up());
    });
}

#[test]
fn a_child_replaces_itself_and_starts_siblings() {
    on_shards(1, || async {
        let builder = Supervisor::builder("test").strategy(Strategy::OneForAll);
        let supervisor = builder.intensity(MANY).build().unwrap();
        let a = doer(&supervisor, &Deeds::default());
        let deed = Do(Box::new(|s, context| {
            doer(s, &Deeds::default());
            s.replace(context.id()).unwrap();
            assert_eq!(context.incarnation(), 0);
        }));
        a.call(deed, SECONDS).await.unwrap();
        let replaced = || {
            supervisor
                .children()
                .iter()
                .all(|child| child.restarts == 1)
        };
        until("the replacement", replaced).await;
        assert_eq!(a.call(Look, SECONDS).await, Ok((1, 0)));
        assert_eq!(supervisor.count(), 2);
    });
}

#[test]
fn every_hook_may_use_the_supervisor_while_it_works() {
    on_shards(1, || async {
        for strategy in [
            Strategy::OneForOne,
            Strategy::OneForAll,
            Strategy::RestForOne,
        ] {
            let builder = Supervisor::builder("test").strategy(strategy);
            let supervisor = builder.intensity(at_most(2)).build().unwrap();
            let log = Log::default();
            let deeds = Deeds::default();
            let noted = log.clone();
            *deeds.at_end.borrow_mut() = Some(Box::new(move |s| {
                for child in s.children() {
                    let _ = s.replace(child.id.unwrap());
                }
                let noted = noted.clone();
                let _ = s.spawn(SpawnOptions::default(), move || Probe::new(1, &noted));
            }));
            let noted = log.clone();
            *deeds.at_start.borrow_mut() = Some(Box::new(move |s, context| {
                assert!(s.count() > 0);
                let noted = noted.clone();
                s.spawn(SpawnOptions::default(), move || Probe::new(2, &noted))
                    .unwrap();
                let _ = s.replace(context.id());
            }));
            let a = doer(&supervisor, &deeds);
            assert_eq!(a.call(Boom, SECONDS).await, Err(CallError::Panicked));
            // Replacing itself at every start uses the intensity up.
            until("the end", || {
                supervisor.gave_up() && supervisor.count() == 0
            })
            .await;
            assert!(a.call(Look, SECONDS).await.is_err());
        }
    });
}

#[test]
fn a_supervisor_is_stopped_while_it_restarts() {
    on_shards(1, || async {
        let builder = Supervisor::builder("test").strategy(Strategy::OneForAll);
        let supervisor = builder.intensity(MANY).build().unwrap();
        let log = Log::default();
        let [first] = probes(&supervisor, &log, [1]);
        let deeds = Deeds::default();
        doer(&supervisor, &deeds);
        probes(&supervisor, &log, [2]);
        *deeds.at_start.borrow_mut() = Some(Box::new(|s, _| s.stop()));
        assert_eq!(first.call(Boom, SECONDS).await, Err(CallError::Panicked));
        until("the end", || supervisor.count() == 0).await;
        assert_eq!(log.take(), ["+1", "+2", "-2", "+1", "+2", "-2", "-1"]);
        assert!(!supervisor.gave_up());
    });
}

#[test]
fn a_child_whose_make_stops_the_supervisor_is_dropped_like_any_other() {
    on_shards(1, || async {
        let supervisor = Supervisor::new("test", MANY);
        // One of these for each incarnation alive.
        let (alive, log) = (Rc::new(()), Log::default());
        let (own, held, noted) = (supervisor.clone(), alive.clone(), log.clone());
        let made = shared(0);
        let child = supervisor
            .spawn(SpawnOptions::default(), move || {
                made.set(made.get() + 1);
                if made.get() == 2 {
                    own.stop();
                    // Stopped, but the child is still being built.
                    assert_eq!(own.count(), 1);
                }
                Held {
                    probe: Probe::new(made.get(), &noted),
                    _alive: held.clone(),
                }
            })
            .unwrap();
        assert_eq!(child.call(Boom, SECONDS).await, Err(CallError::Panicked));
        until("the end", || supervisor.count() == 0).await;
        assert_eq!(log.take(), ["-2"]);
        // The plan and with it its clone are gone, too.
        assert_eq!(Rc::strong_count(&alive), 1);
        assert!(!supervisor.gave_up());
    });
}

/// A probe whose life can be counted.
struct Held {
    probe: Probe,
    _alive: Rc<()>,
}

impl Actor for Held {
    fn stopped(&mut self, why: &ExitReason) {
        self.probe.stopped(why);
    }
}

impl Handler<Boom> for Held {
    fn handle(&mut self, _: Boom, _: &mut Context<'_, Self>) {
        panic!("boom");
    }
}
