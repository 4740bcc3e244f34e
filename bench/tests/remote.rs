//! The coordinator and its processes: pinned, bounded, gone when dropped.

use ninefold_bench::load::idle::Greeting;
use ninefold_bench::load::remote::{self, Crowd};
use ninefold_bench::load::schedule::Arrival;
use ninefold_bench::load::spec::{Answers, LoadSpec, Pace};
use ninefold_bench::load::wire::Wire;
use ninefold_bench::plan::{CpuPlan, Phase, Plan};
use ninefold_tuning::Facts;
use ninefold_tuning::facts::process;

fn plan() -> Plan {
    Plan {
        phase: Phase::Quick,
        seconds: None,
        rate: None,
        connections: None,
        seed: 1,
        cpus: CpuPlan::of_host(&Facts::capture()),
        exe: env!("CARGO_BIN_EXE_ninefold-bench").into(),
        out: "reports".into(),
        claims: Vec::new(),
    }
}

#[test]
fn a_load_process_answers_and_its_target_dies_with_its_handle() {
    let plan = plan();
    let target = remote::null_target(&plan).unwrap();
    let mut spec = LoadSpec {
        target: target.address,
        wire: Wire::Legacy,
        path: "/mcp".into(),
        message_bytes: 1024,
        answers: Answers::Own,
        connections: 8,
        pipeline: 2,
        pace: Pace::Open {
            rate: 1000.0,
            arrival: Arrival::Burst(5),
            seed: 1,
        },
        warmup_seconds: 0.1,
        seconds: 0.4,
        drain_seconds: 1.0,
        deadline_ns: 1_000_000_000,
        cpu: plan.cpus.client.last().copied(),
        spin: false,
        server_pid: Some(target.pid()),
    };
    let result = remote::run(&plan, &spec).unwrap();
    assert_eq!((result.offered, result.correct), (400, 400), "{result:?}");

    spec.path = "/mcp\r\n".into();
    spec.target = "127.0.0.1:1".parse().unwrap();
    let error = remote::run(&plan, &spec).unwrap_err().to_string();
    assert!(
        error.contains("connect"),
        "the reason crosses the process border: {error}"
    );

    let pid = target.pid();
    assert!(process::cpu_time_us(pid).is_some());
    drop(target);
    assert!(process::cpu_time_us(pid).is_none());
}

#[test]
fn idle_connections_are_held_until_released() {
    let plan = plan();
    let target = remote::null_target(&plan).unwrap();
    let crowd = Crowd {
        connections: 500,
        greeting: Greeting::Call,
        addresses_used: 1,
    };
    let mut told = 0;
    let holders = remote::hold_many(&plan, target.address, crowd, |open| told = open).unwrap();
    assert_eq!(told, 500);
    assert_eq!(
        holders.iter().map(|holder| holder.ready.open).sum::<u64>(),
        500
    );
    for holder in holders {
        let last = holder.release().unwrap();
        assert_eq!((last.open, last.answered), (500, 500), "{last:?}");
    }
}
