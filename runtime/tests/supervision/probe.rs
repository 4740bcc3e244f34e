//! An actor that notes what happens to it, and fails when told to.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ninefold_runtime::{
    Actor, ActorId, Address, AsyncHandler, Context, Down, ExitReason, Handler, Intensity, Message,
    SpawnOptions, Supervisor, sleep, spawn_actor, timeout,
};

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Notes its starts (`+name`), goodbyes (`-name`) and drops (`~name`, if wanted).
pub(crate) struct Probe {
    pub(crate) name: u32,
    pub(crate) log: Log,
    pub(crate) total: u64,
}

impl Probe {
    pub(crate) fn new(name: u32, log: &Log) -> Self {
        Probe {
            name,
            log: log.clone(),
            total: 0,
        }
    }
}

impl Actor for Probe {
    fn started(&mut self, _: &mut Context<'_, Self>) {
        self.log.note(format!("+{}", self.name));
    }

    fn stopped(&mut self, _: &ExitReason) {
        self.log.note(format!("-{}", self.name));
    }
}

#[derive(Debug, PartialEq)]
pub(crate) struct Add(pub(crate) u64);
/// Answered with incarnation and total.
#[derive(Debug, PartialEq)]
pub(crate) struct Look;
#[derive(Debug, PartialEq)]
pub(crate) struct Boom;
#[derive(Debug, PartialEq)]
pub(crate) struct Stop;
#[derive(Debug, PartialEq)]
pub(crate) struct Fail;
/// Answered after that time.
#[derive(Debug, PartialEq)]
pub(crate) struct Later(pub(crate) Duration);
/// The same, and nothing else is handled meanwhile.
#[derive(Debug, PartialEq)]
pub(crate) struct Alone(pub(crate) Duration);

impl Message for Add {
    type Reply = ();
}
impl Message for Look {
    type Reply = (u32, u64);
}
impl Message for Boom {
    type Reply = ();
}
impl Message for Stop {
    type Reply = ();
}
impl Message for Fail {
    type Reply = ();
}
impl Message for Later {
    type Reply = ();
}
impl Message for Alone {
    type Reply = ();
}

impl Handler<Add> for Probe {
    fn handle(&mut self, add: Add, _: &mut Context<'_, Self>) {
        self.total += add.0;
    }
}
impl Handler<Look> for Probe {
    fn handle(&mut self, _: Look, context: &mut Context<'_, Self>) -> (u32, u64) {
        (context.incarnation(), self.total)
    }
}
impl Handler<Boom> for Probe {
    fn handle(&mut self, _: Boom, _: &mut Context<'_, Self>) {
        panic!("boom");
    }
}
impl Handler<Stop> for Probe {
    fn handle(&mut self, _: Stop, context: &mut Context<'_, Self>) {
        context.stop();
    }
}
impl Handler<Fail> for Probe {
    fn handle(&mut self, _: Fail, context: &mut Context<'_, Self>) {
        context.fail("as told");
    }
}
impl AsyncHandler<Later> for Probe {
    fn handle(
        &mut self,
        later: Later,
        context: &mut Context<'_, Self>,
    ) -> impl Future<Output = ()> + 'static {
        let me = context.address();
        async move {
            sleep(later.0).await;
            me.cast(Add(1_000)).unwrap();
        }
    }
}
impl AsyncHandler<Alone> for Probe {
    const EXCLUSIVE: bool = true;

    fn handle(
        &mut self,
        alone: Alone,
        _: &mut Context<'_, Self>,
    ) -> impl Future<Output = ()> + 'static {
        sleep(alone.0)
    }
}

/// Notes the ends of those it is told to watch.
struct Watcher(Log);

struct Watch(ActorId);

impl Actor for Watcher {
    fn down(&mut self, down: Down, _: &mut Context<'_, Self>) {
        self.0.note(format!("{:?}: {}", down.actor, down.why));
    }
}
impl Message for Watch {
    type Reply = ();
}
impl Handler<Watch> for Watcher {
    fn handle(&mut self, watch: Watch, context: &mut Context<'_, Self>) {
        context.monitor(watch.0);
    }
}

/// Notes the ends of `actors` in the log it returns.
pub(crate) async fn watch(actors: &[Address<Probe>]) -> Log {
    let log = Log::default();
    let watcher = spawn_actor(SpawnOptions::default(), Watcher(log.clone())).unwrap();
    for actor in actors {
        let watched = watcher.call(Watch(actor.id()), SECONDS).await;
        watched.unwrap();
        // The watch is a signal: it is there once a later message is.
        actor.call(Look, SECONDS).await.unwrap();
    }
    log
}

/// A deadline that only a hanging test reaches.
pub(crate) const SECONDS: Duration = Duration::from_secs(10);

/// More restarts than any test makes.
pub(crate) const MANY: Intensity = Intensity {
    restarts: u32::MAX,
    within: Duration::from_secs(60),
};

pub(crate) fn at_most(restarts: u32) -> Intensity {
    Intensity {
        restarts,
        within: Duration::from_secs(600),
    }
}

/// Starts probes `names` under `supervisor`.
pub(crate) fn probes<const N: usize>(
    supervisor: &Supervisor,
    log: &Log,
    names: [u32; N],
) -> [Address<Probe>; N] {
    names.map(|name| {
        let log = log.clone();
        supervisor
            .spawn(SpawnOptions::default(), move || Probe::new(name, &log))
            .unwrap()
    })
}

/// Waits until `done`.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = timeout(SECONDS, async {
        while !done() {
            sleep(Duration::from_micros(100)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("waited for: {what}"));
}

/// A count that a `make` shares with its test.
pub(crate) fn shared(n: u32) -> Rc<Cell<u32>> {
    Rc::new(Cell::new(n))
}
