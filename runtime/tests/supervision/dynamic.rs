//! Many children of one kind.

use ninefold_runtime::{
    CallError, Restart, SendError, SpawnError, SpawnOptions, Supervisor, yield_now,
};

use crate::probe::{Add, Boom, Log, Look, MANY, Probe, SECONDS};
use crate::support::on_shards;

#[test]
fn ten_thousand_children_come_and_go() {
    const CHILDREN: u32 = 10_000;
    on_shards(1, || async {
        let log = Log::default();
        let noted = log.clone();
        let dynamic = Supervisor::builder("crowd")
            .intensity(MANY)
            .max_children(CHILDREN)
            .build_dynamic(SpawnOptions::default(), move |name| {
                Probe::new(*name, &noted)
            })
            .unwrap();
        let all: Vec<_> = (0..CHILDREN).map(|n| dynamic.start(n).unwrap()).collect();
        assert_eq!(
            dynamic.start(0).unwrap_err(),
            SpawnError::TooManyChildren {
                name: "crowd",
                limit: CHILDREN
            }
        );
        log.take();
        assert_eq!(all[77].call(Boom, SECONDS).await, Err(CallError::Panicked));
        assert_eq!(
            log.take(),
            ["+77"],
            "built from its own argument, and it alone"
        );
        // Every third one is removed, in no particular order.
        for child in all.iter().rev().step_by(3) {
            dynamic.remove(child.id()).unwrap();
            yield_now().await;
        }
        let left = dynamic.supervisor().count();
        assert_eq!(left, 6_666);
        let gone = &all[all.len() - 1];
        assert!(matches!(gone.cast(Add(1)), Err(SendError::Closed(_))));
        assert!(dynamic.remove(gone.id()).is_err());
        // There is room again, and old ids do not mean the new ones.
        let new = dynamic.start(CHILDREN).unwrap();
        assert_eq!(new.call(Look, SECONDS).await, Ok((0, 0)));
        assert!(dynamic.remove(gone.id()).is_err());
        log.take();
        dynamic.supervisor().stop();
        assert_eq!((log.len(), dynamic.supervisor().count()), (left + 1, 0));
        assert_eq!(log.take()[0], format!("-{CHILDREN}"));
    });
}

#[test]
fn temporary_children_make_room_by_themselves() {
    on_shards(1, || async {
        let dynamic = Supervisor::builder("brief")
            .max_children(1)
            .build_dynamic(Restart::Temporary, |(): &()| Probe::new(1, &Log::default()))
            .unwrap();
        for _ in 0..100 {
            let probe = dynamic.start(()).unwrap();
            assert_eq!(probe.call(Boom, SECONDS).await, Err(CallError::Panicked));
            assert_eq!(dynamic.supervisor().count(), 0);
        }
        assert!(!dynamic.supervisor().gave_up());
    });
}
