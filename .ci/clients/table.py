"""Turns what `run` prints into docs/reference/interop.md, or finds that it no longer is that.

Usage: table.py LOG TABLE [--write]
"""

import re
import sys
from pathlib import Path

from steps import STEPS

HEAD = """# Interoperability

Written by `.ci/clients/run --write`, which takes every step below against real peers at these
versions; `.ci/clients/run`, a part of what CI runs, fails when it finds something else. A number
stands for a step that one side has no means to take, and is explained below its table.
"""
KINDS = {
    "client": ("Their clients, our node", "`ninefold serve --fixtures conformance`, over HTTP."),
    "server": (
        "Our client, their servers",
        "`ninefold ping|list|call|read|prompt`, with `--era auto` for the first era of each.",
    ),
}
COMMANDS = {
    ("client", "PyPI mcp 1.30.0"): "python_v1_features.py",
    ("client", "PyPI mcp 2.3.0"): "python_v2_features.py",
    ("client", "PyPI fastmcp 4.1.2"): "fastmcp_v4.py",
    ("client", "npm @modelcontextprotocol/sdk 1.32.2"): "ts_v1_features.mjs",
    ("client", "npm @modelcontextprotocol/client 2.4.0"): "ts_v2.mjs",
    ("client", "npm @modelcontextprotocol/inspector 2.12.0 --cli"): "run",
    ("client", "crate rmcp 3.11.0"): "rmcp/src/main.rs",
    ("server", "npm @modelcontextprotocol/server-everything 2026.8.31"): "run",
    ("server", "npm @modelcontextprotocol/server 2.4.0"): "server_ts_v2.mjs",
    ("server", "PyPI mcp 2.3.0"): "server_v2.py",
    ("server", "PyPI mcp 1.30.0"): "server_v1.py",
}


def rows(log):
    """(kind, peer) -> era -> step -> None, or why the step cannot be taken."""
    found, eras = {}, None
    for line in log.splitlines():
        if line.startswith("-- "):
            eras = None
            if heading := re.fullmatch(r"-- (client|server) (.*)", line):
                eras = found[heading.groups()] = {}
        elif eras is not None and (
            step := re.fullmatch(r"(?:ok  |none) (modern|legacy): (.+?)(?: \((.*)\))?", line)
        ):
            era, name, why = step.groups()
            if name in STEPS:
                eras.setdefault(era, {})[name] = why
    for (kind, peer), eras in found.items():
        for era, steps in eras.items():
            if missing := [step for step in STEPS if step not in steps]:
                sys.exit(f"{kind} {peer}, {era}: neither taken nor named: {missing}")
    peers = {(kind, peer.split(",")[0]) for kind, peer in found}
    if peers != set(COMMANDS):
        sys.exit(f"peers without steps, or steps without a peer: {peers ^ set(COMMANDS)}")
    return found


def table(kind, found):
    title, command = KINDS[kind]
    notes = []
    lines = ["", f"## {title}", "", command, "", f"| peer | script | era | {' | '.join(STEPS)} |"]
    lines.append("|---" * (len(STEPS) + 3) + "|")
    for (of_kind, peer), eras in found.items():
        if of_kind != kind:
            continue
        script = COMMANDS[kind, peer.split(",")[0]]
        for era, steps in eras.items():
            cells = [peer, f"[{script}](../../.ci/clients/{script})", era]
            for why in (steps[step] for step in STEPS):
                if why is not None and why not in notes:
                    notes.append(why)
                cells.append("yes" if why is None else f"no ({notes.index(why) + 1})")
            lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    lines += [f"{number}. {why}" for number, why in enumerate(notes, 1)]
    return lines


def main(log, into, *flags):
    found = rows(Path(log).read_text())
    lines = [HEAD.rstrip(), *table("client", found), *table("server", found)]
    wanted = "\n".join(lines) + "\n"
    path = Path(into)
    if flags == ("--write",):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted)
    elif not path.exists() or path.read_text() != wanted:
        print(wanted)
        sys.exit(f"{into} is not what was found; `.ci/clients/run --write` writes it")
    taken = [why for eras in found.values() for steps in eras.values() for why in steps.values()]
    print(f"interoperability: {taken.count(None)} of {len(taken)} steps taken, the rest named")


main(*sys.argv[1:])
