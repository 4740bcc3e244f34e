"""Gates what any host can judge of a bench document: what was measured, how often, in what order.

Usage: bench_gate.py FILE    (the document that `ninefold-bench quick --json FILE` writes)

No absolute time is judged here: on a shared machine it says more of the neighbours than of us.
"""

import json
import math
import sys

MEASURED = """
mailbox.tell.ns mailbox.ask.p50_ns mailbox.pingpong.ns mailbox.ring.ns mailbox.fanin.ns
mailbox.fanout.ns mesh.tell.ns mesh.rtt.p50_ns
savina.pingpong.ns savina.threadring.ns savina.counting.ns savina.forkjoin.ns savina.big.ns
savina.chameneos.ns savina.bank.ns
isolation.high_inside.p99_us isolation.busy.p99_us isolation.busy_inside.p99_us
actor.spawn.per_s actor.idle.bytes actor.restart.p50_us registry.lookup.ns
isolation.control.p50_us isolation.control.p99_us isolation.control.p999_us isolation.high.p99_us
sustained.inproc.p50_us sustained.inproc.p95_us sustained.inproc.p99_us sustained.inproc.p999_us
sustained.http.p50_us sustained.http.p95_us sustained.http.p99_us sustained.http.p999_us
sustained.http.offered_per_s sustained.http.achieved_per_s http.calls_per_s http.cpu_us_per_call
http.floor.cpu_us_per_call http.over_floor http.c1024.over_raw_ring conn.stream.user_bytes
conn.idle.user_bytes conn.count
""".split()

# Each chain holds from left to right, whatever the host: (why, ids).
ORDERED = [
    ("a tell is half of an ask", ["mailbox.tell.ns", "mailbox.ask.p50_ns"]),
    ("one way is part of the round trip", ["mesh.tell.ns", "mesh.rtt.p50_ns"]),
    ("a mailbox is nearer than another shard", ["mailbox.ask.p50_ns", "mesh.rtt.p50_ns"]),
    ("percentiles rise", [f"isolation.control.{p}_us" for p in ("p50", "p99", "p999")]),
    ("percentiles rise", [f"sustained.inproc.{p}_us" for p in ("p50", "p95", "p99", "p999")]),
    ("percentiles rise", [f"sustained.http.{p}_us" for p in ("p50", "p95", "p99", "p999")]),
]

# Bytes do not depend on the host's speed: (id, at most).
AT_MOST = [("actor.idle.bytes", 128), ("conn.idle.user_bytes", 4096), ("conn.idle.arena_bytes", 0)]


def faults(metrics):
    """Every reason not to believe the document."""
    for name in MEASURED:
        if name not in metrics:
            yield f"{name} was not measured"
    for name, metric in metrics.items():
        if not math.isfinite(metric["value"]) or metric["value"] < 0:
            yield f"{name} is {metric['value']}, wanted a finite number >= 0"
        if metric["n"] < 1:
            yield f"{name} rests on {metric['n']} measurements"
    value = {name: metric["value"] for name, metric in metrics.items()}
    for why, chain in ORDERED:
        found = [value[name] for name in chain if name in value]
        if found != sorted(found):
            yield f"{why}, but {' <= '.join(chain)} reads {found}"
    for name, most in AT_MOST:
        if value.get(name, 0) > most:
            yield f"{name} is {value[name]}, at most {most}"


def main(path):
    with open(path, encoding="utf-8") as file:
        metrics = json.load(file)["metrics"]
    found = list(faults(metrics))
    for fault in found:
        print(f"FAIL {fault}")
    if not found:
        print(f"ok   {len(metrics)} metrics measured, in order and within their counts")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
