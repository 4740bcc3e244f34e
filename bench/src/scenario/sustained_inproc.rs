//! tools/call in process: the bytes of a request through an actor's mailbox to the service, the
//! bytes of its answer through another mailbox back, at the rated load.
//!
//! Generator and collector live on the client's CPU, the service on the server's, so that the
//! service has its core for itself and a message crosses the mesh both ways. Buffers travel with
//! the messages and come back: nothing is allocated.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use bumpalo::Bump;
use ninefold::Server;
use ninefold::guard::Guard;
use ninefold::http::{Parser, Progress as Framing};
use ninefold::limits::Limits;
use ninefold::service::Service;
use ninefold::session::{Change, SessionError, SessionFacts, SessionId, SessionView, Sessions};
use ninefold_runtime::clock::wall_clock;
use ninefold_runtime::{
    Actor, Address, Context, Handler, Message, SpawnOptions, sleep, spawn_actor, yield_now,
};

use super::{Scenario, ScenarioError};
use crate::inproc::{self, refused};
use crate::load::conn::{self, Expected, Flight, Outcome};
use crate::load::reply;
use crate::load::schedule::{Arrival, Schedule};
use crate::load::spec::Answers;
use crate::load::tally::Tally;
use crate::load::wire::{self, Endpoint, ID_BASE, Template, Wire};
use crate::measure::clock;
use crate::measure::hist::Dump;
use crate::plan::{Phase, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::model::Unit;
use crate::stats::bounds::Evidence;

/// Bytes of one JSON-RPC message.
const MESSAGE_BYTES: usize = 1024;
/// Requests under way at once, at most.
const EXCHANGES: usize = 1024;
/// Deadline of a call where no claim sets one, in ns.
const DEADLINE_NS: u64 = 5_000_000;
/// Time before measuring, in s.
const WARMUP_SECONDS: f64 = 0.5;
/// How long answers may be awaited after the last intended start, in ns.
const DRAIN_NS: u64 = 2_000_000_000;

pub(super) struct SustainedInproc;

impl Scenario for SustainedInproc {
    fn id(&self) -> &'static str {
        "sustained_inproc"
    }

    fn describe(&self) -> &'static str {
        "tools/call of 1 KiB from mailbox to reply in one process, open loop at the rated load"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::Quick, Phase::Baseline, Phase::Full]
    }

    fn run(
        &self,
        plan: &Plan,
        recorder: &mut Recorder,
        progress: &Progress,
    ) -> Result<(), ScenarioError> {
        progress.doing("sustained_inproc");
        let shards = if plan.cpus.shared { 1 } else { 2 };
        let runtime = inproc::start(plan, shards)?;
        let handle = runtime.handle();
        let server = Server::builder("ninefold-bench", env!("CARGO_PKG_VERSION"))
            .builtin_tools(wall_clock)
            .build()
            .map_err(refused("build the server"))?;
        let deadline_ns = plan.deadline_ns("sustained.inproc").unwrap_or(DEADLINE_NS);
        let order = Order {
            schedule: Schedule::new(Arrival::Constant, plan.rate(), plan.seed),
            rate: plan.rate(),
            seconds: plan.seconds_or(4.0, 30.0),
            deadline_ns,
        };
        let worker = inproc::run_on(&handle, 0, || async move {
            spawn_actor(SpawnOptions::default(), Worker::new(server))
                .map_err(refused("start the service actor"))
        })?;
        let seen = inproc::run_on(&handle, shards - 1, move || drive(worker, order))?;
        record(recorder, &seen, deadline_ns)
    }
}

/// One request and its answer, in buffers that are used again.
struct Exchange {
    input: Vec<u8>,
    output: Vec<u8>,
    flight: Flight,
}

struct Request(Box<Exchange>);
struct Answer(Box<Exchange>);
struct ReplyTo(Address<Collector>);

impl Message for Request {
    type Reply = ();
}
impl Message for Answer {
    type Reply = ();
}
impl Message for ReplyTo {
    type Reply = ();
}

/// The service behind a mailbox.
struct Worker {
    service: Service,
    limits: Limits,
    arena: Bump,
    collector: Option<Address<Collector>>,
}

impl Worker {
    fn new(server: Server) -> Self {
        Self {
            limits: server.limits().clone(),
            service: Service::new(server, Guard::new(true)),
            arena: Bump::new(),
            collector: None,
        }
    }

    fn answer(&mut self, exchange: &mut Exchange) {
        exchange.output.clear();
        let framed = Parser::new().advance(&mut exchange.input, &self.limits);
        if let Ok(Framing::Complete(frame)) = framed {
            let (head, body) = frame.split(&mut exchange.input);
            let (arena, output) = (&self.arena, &mut exchange.output);
            let answer = self
                .service
                .respond(&head, body, arena, &NoSessions, output);
            // A modern call of a synchronous tool is ready at once; anything else leaves no
            // answer, which the collector counts as wrong.
            let _: Poll<_> = pin!(answer).poll(&mut TaskContext::from_waker(Waker::noop()));
        }
        self.arena.reset();
    }
}

impl Actor for Worker {}
impl Handler<ReplyTo> for Worker {
    fn handle(&mut self, to: ReplyTo, _: &mut Context<'_, Self>) {
        self.collector = Some(to.0);
    }
}
impl Handler<Request> for Worker {
    fn handle(&mut self, mut request: Request, _: &mut Context<'_, Self>) {
        self.answer(&mut request.0);
        if let Some(collector) = self.collector {
            // A refused answer is lost, and its trial a miss.
            let _ = collector.cast(Answer(request.0));
        }
    }
}

/// The modern era has none.
struct NoSessions;

impl Sessions for NoSessions {
    async fn open(&self, _: SessionFacts) -> Result<SessionId, SessionError> {
        Err(SessionError::Full)
    }

    async fn check(&self, _: &str) -> Result<SessionView, SessionError> {
        Err(SessionError::Unknown)
    }

    async fn change(&self, _: &str, _: Change) -> Result<SessionView, SessionError> {
        Err(SessionError::Unknown)
    }

    async fn close(&self, _: &str) -> Result<(), SessionError> {
        Err(SessionError::Unknown)
    }
}

/// What generator and collector share: both are on one shard.
#[expect(
    clippy::vec_box,
    reason = "an exchange travels as its box: by value the runtime would box each message anew"
)]
struct Desk {
    free: Vec<Box<Exchange>>,
    tally: Tally,
    /// What a correct answer looks like, learnt from the first, which is checked in full.
    expected: Option<Expected>,
    text: String,
}

impl Desk {
    fn judge(&mut self, output: &[u8], id: u64) -> Outcome {
        let reply = match reply::frame(output) {
            Ok(Some(reply)) => reply,
            Ok(None) => return Outcome::Wrong("wanted an answer, found none".into()),
            Err(why) => return Outcome::Wrong(why),
        };
        let expected = match self.expected {
            Some(expected) => expected,
            None => match conn::learn(Wire::Modern, Answers::Own, output, reply, &self.text) {
                Ok(expected) => *self.expected.insert(expected),
                Err(why) => return Outcome::Wrong(why),
            },
        };
        expected.judge(reply.status, &output[reply.body_at..reply.end], id)
    }
}

/// Takes the answers.
struct Collector {
    desk: Rc<RefCell<Desk>>,
}

impl Actor for Collector {}
impl Handler<Answer> for Collector {
    fn handle(&mut self, answer: Answer, _: &mut Context<'_, Self>) {
        let now = clock::now_ns();
        let mut desk = self.desk.borrow_mut();
        let flight = answer.0.flight;
        let outcome = desk.judge(&answer.0.output, ID_BASE + flight.index);
        desk.tally.complete(flight, outcome, now);
        desk.free.push(answer.0);
    }
}

/// What is to be offered.
struct Order {
    schedule: Schedule,
    rate: f64,
    seconds: f64,
    deadline_ns: u64,
}

/// What a run showed.
struct Seen {
    latency: Dump,
    sent: Dump,
    lag: crate::measure::hist::Latency,
    evidence: Evidence,
    achieved_per_s: f64,
    errors: Vec<String>,
}

/// Generates the load on the current shard and waits for its end.
async fn drive(worker: Address<Worker>, order: Order) -> Result<Seen, ScenarioError> {
    let start = clock::now_ns() + 1_000_000;
    let from = start + clock::ns(WARMUP_SECONDS);
    let window = (from, from + clock::ns(order.seconds));
    let trials = clock::ns((WARMUP_SECONDS + order.seconds) * order.rate * 1.1 / 1e9);
    let text = wire::padding(Wire::Modern, MESSAGE_BYTES);
    let to = Endpoint {
        target: ([127, 0, 0, 1], 80).into(),
        path: "/mcp".into(),
    };
    let template = wire::call(Wire::Modern, &to, &text, None);
    let desk = Rc::new(RefCell::new(Desk {
        free: (0..EXCHANGES).map(|_| fresh(&template)).collect(),
        tally: Tally::new(window, order.deadline_ns, trials),
        expected: None,
        text,
    }));
    let options = SpawnOptions {
        capacity: u32::try_from(EXCHANGES).unwrap_or(u32::MAX),
        ..SpawnOptions::default()
    };
    let collector = spawn_actor(options, Collector { desk: desk.clone() })
        .map_err(refused("start the collector"))?;
    worker
        .call(ReplyTo(collector), inproc::CALL_WITHIN)
        .await
        .map_err(refused("introduce service and collector"))?;
    generate(worker, &desk, &template, &order.schedule, start, window.1).await;
    let give_up = window.1 + DRAIN_NS;
    while desk.borrow().free.len() < EXCHANGES && clock::now_ns() < give_up {
        sleep(Duration::from_millis(1)).await;
    }
    let desk = desk.borrow();
    let misses = desk.tally.misses(order.schedule, start);
    Ok(Seen {
        latency: desk.tally.latency.dump(),
        sent: desk.tally.service.dump(),
        lag: desk.tally.lag.clone(),
        evidence: Evidence {
            n: misses.trials,
            k: misses.misses,
            e: misses.episodes,
            seconds: order.seconds,
            stall_seconds: misses.longest_ns as f64 / 1e9,
        },
        achieved_per_s: desk.tally.correct_in_window as f64 / order.seconds,
        errors: desk.tally.errors.clone(),
    })
}

fn fresh(template: &Template) -> Box<Exchange> {
    Box::new(Exchange {
        input: Vec::with_capacity(template.len()),
        output: Vec::with_capacity(2 * template.len()),
        flight: Flight {
            index: 0,
            intended_ns: 0,
            sent_ns: 0,
        },
    })
}

/// Offers what the schedule says until `stop`; what finds no room waits from its intended start.
async fn generate(
    worker: Address<Worker>,
    desk: &RefCell<Desk>,
    template: &Template,
    schedule: &Schedule,
    start: u64,
    stop: u64,
) {
    let (mut due, mut send) = (schedule.clone(), schedule.clone());
    loop {
        let now = clock::now_ns();
        {
            let mut desk = desk.borrow_mut();
            let is_due = |cursor: &Schedule| {
                let at = start + cursor.peek().at_ns;
                at <= now && at < stop
            };
            while is_due(&due) {
                let slot = due.take_next();
                desk.tally.offer(start + slot.at_ns, now);
            }
            while is_due(&send) {
                let Some(mut exchange) = desk.free.pop() else {
                    break;
                };
                let slot = send.peek();
                exchange.input.clear();
                template.stamp(ID_BASE + slot.index, &mut exchange.input);
                exchange.flight = Flight {
                    index: slot.index,
                    intended_ns: start + slot.at_ns,
                    sent_ns: now,
                };
                if let Err(refused) = worker.cast(Request(exchange)) {
                    desk.free.push(refused.into_message().0);
                    break;
                }
                send.take_next();
            }
        }
        if now >= stop && start + send.peek().at_ns >= stop || now >= stop + DRAIN_NS {
            return;
        }
        yield_now().await;
    }
}

fn record(recorder: &mut Recorder, seen: &Seen, deadline_ns: u64) -> Result<(), ScenarioError> {
    const ID: &str = "sustained.inproc";
    let latency = crate::measure::hist::Latency::from_dump(&seen.latency)?;
    recorder.latency(ID, &latency, Unit::Us);
    recorder.histogram(&format!("{ID}.sent"), seen.sent.clone());
    let n = seen.evidence.n;
    let offered_per_s = n as f64 / seen.evidence.seconds;
    let rates = [
        ("offered_per_s", offered_per_s),
        ("achieved_per_s", seen.achieved_per_s),
    ];
    for (name, rate) in rates {
        recorder.metric(&format!("{ID}.{name}"), rate, Unit::PerSecond, n);
    }
    recorder.evidence(ID, seen.evidence);
    recorder.generator_lag(ID, &seen.lag, deadline_ns);
    if !seen.errors.is_empty() {
        recorder.note(format!("{ID}: {}", seen.errors.join("; ")));
    }
    Ok(())
}
