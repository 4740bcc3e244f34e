"""Checks of docs/deploy that need a running node, or know no tool: called by .ci/deploy.

- The node starts under seccomp.json, and under the filter of ninefold.service; it answers a call and
  stops. Without io_uring it does not start.
- The programs take the command lines of the units; what writes to the host is rehearsed only.
- Each metric that alerts.yml or grafana.json names is one that the node exports.
- The dashboard holds together, and Prometheus can parse each of its expressions.
- The Containerfile copies what the workspace builds, and starts what it copied.
"""

import argparse
import errno
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pyseccomp
import yaml

DEPLOY = Path("docs/deploy")
METRIC = re.compile(r"\bninefold_[a-z0-9_]+")
PATIENCE_S = 60


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--promtool", required=True)
    parser.add_argument("--work", required=True, type=Path)
    options = parser.parse_args()
    rules = rules_of_profile(json.loads((DEPLOY / "seccomp.json").read_text()))
    exported = names_of_a_node_under(rules, options)
    print(f"seccomp.json: the node serves under it; {len(exported)} metrics")
    no_node_without_io_uring(rules, options)
    names_of_a_node_under(rules_of_unit(DEPLOY / "ninefold.service"), options)
    print("ninefold.service: the node serves under its filter of system calls")
    command_lines_are_taken(options)
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    alerts = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
    metrics_exist(expressions_of_alerts(alerts), exported, "alerts.yml")
    metrics_exist(expressions_of(dashboard), exported, "grafana.json")
    dashboard_holds_together(dashboard, options)
    containerfile_copies_what_is_built()


def rules_of_profile(profile):
    """What a profile of the Open Container Initiative says: action and arguments by system call."""
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO" and profile["defaultErrnoRet"] == 1
    rules = {}
    for group in profile["syscalls"]:
        refused = group["action"] == "SCMP_ACT_ERRNO"
        assert refused or group["action"] == "SCMP_ACT_ALLOW", group["action"]
        action = pyseccomp.ERRNO(group["errnoRet"]) if refused else pyseccomp.ALLOW
        arguments = [argument(it) for it in group.get("args", [])]
        twice = rules.keys() & set(group["names"])
        assert not twice, f"named twice: {twice}"
        rules |= {name: (action, arguments) for name in group["names"]}
    return rules


def argument(it):
    assert it["op"] == "SCMP_CMP_MASKED_EQ", it["op"]
    return pyseccomp.Arg(it["index"], pyseccomp.MASKED_EQ, it["value"], it["valueTwo"])


def rules_of_unit(path):
    """What a unit allows: groups and names, and those after ~ taken away again."""
    allowed = members("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", path.read_text(), re.M):
        names = {name for word in line.removeprefix("~").split() for name in members(word)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return {name: (pyseccomp.ALLOW, []) for name in allowed}


def members(word):
    if not word.startswith("@"):
        return {word}
    command = ["systemd-analyze", "--no-pager", "syscall-filter", word]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in listed.splitlines()[1:]]
    return {name for it in words if it and it[0] != "#" for name in members(it)}


def confine(rules):
    """Puts this process under `rules`, as a container's runtime would; EPERM for all else."""
    system_calls = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name, (action, arguments) in rules.items():
        try:
            system_calls.add_rule(action, name, *arguments)
        except (OSError, ValueError):
            # Of another architecture, or newer than the library: whoever filters skips it too.
            pass
    system_calls.load()


def start(rules, options):
    free = "127.0.0.1:0"
    return subprocess.Popen(
        [options.binary, "serve", "--listen", free, "--admin", free, "--lock-memory"],
        stdout=subprocess.PIPE,
        stderr=(options.work / "node.log").open("w"),
        text=True,
        preexec_fn=lambda: confine(rules),
    )


def names_of_a_node_under(rules, options):
    """The names of all samples of a node that has answered a call."""
    node = start(rules, options)
    try:
        addresses = [node.stdout.readline() for _ in range(2)]
        if not addresses[1]:
            sys.exit("no node under its filter of system calls:\n" + (options.work / "node.log").read_text())
        mcp, admin = (re.search(r"http://[0-9.:]+", line).group() for line in addresses)
        call = [options.binary, "call", f"{mcp}/mcp", "add", '{"a": 1, "b": 2}']
        answer = subprocess.run(call, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        assert "3" in answer.stdout, answer.stdout
        page = urllib.request.urlopen(f"{admin}/metrics", timeout=PATIENCE_S).read().decode()
        placement = json.load(urllib.request.urlopen(f"{admin}/placement", timeout=PATIENCE_S))
        assert placement["memory"]["locked"], placement
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE_S) == 0, node.returncode
    finally:
        node.kill()
    return {re.match(METRIC, line).group() for line in page.splitlines() if line[0] != "#"}


def no_node_without_io_uring(rules, options):
    """Else the filter would not have been in force."""
    without = {name: it for name, it in rules.items() if not name.startswith("io_uring")}
    node = start(without, options)
    assert node.wait(PATIENCE_S) == 1, "it serves without io_uring"
    log = (options.work / "node.log").read_text()
    assert "io_uring" in log and "seccomp" in log, log


def command_lines_are_taken(options):
    """The CPUs of the units are for eight; here CPU 0 stands for all of them."""
    for line in commands_of("ninefold.service"):
        # Refused behind the parsing of all flags, where wrong usage would exit with 2.
        words = [options.binary, *line[1:], "--check-root", "/nowhere"]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        assert ended.returncode == 1 and "/nowhere" in ended.stderr, (words, ended)
    lines = commands_of("ninefold-tune.service")
    assert len(lines) == 3, lines
    for line in lines:
        words = [f"{options.binary}-tune", *(word for word in line[1:] if word != "--yes")]
        words = ["0" if word == "2-7" else word for word in words]
        words += ["--state-dir", str(options.work / "state")]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
        assert ended.returncode in (0, 3, 4, 5), (words, ended)
    print("units: the programs take their command lines")


def commands_of(unit):
    text = (DEPLOY / unit).read_text()
    return [line.split() for line in re.findall(r"^Exec\w+=-?(.*)$", text, re.M)]


def expressions_of_alerts(alerts):
    return [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def expressions_of(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def metrics_exist(expressions, exported, where):
    assert expressions, f"{where}: no expressions"
    named = {name for expression in expressions for name in METRIC.findall(expression)}
    missing = sorted(named - exported)
    if missing:
        sys.exit(f"{where} names what the node does not export: {', '.join(missing)}")
    print(f"{where}: {len(named)} metrics, all exported")


def dashboard_holds_together(dashboard, options):
    """Grafana publishes no schema that is kept; these are the ways in which an edit goes wrong."""
    panels = dashboard["panels"]
    assert dashboard["uid"] and dashboard["title"] and dashboard["schemaVersion"] >= 36
    assert len({panel["id"] for panel in panels}) == len(panels), "two panels with one id"
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        letters = [target["refId"] for target in panel["targets"]]
        assert panel["title"] and letters and len(set(letters)) == len(letters), panel["title"]
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels)))
    assert used - {"__rate_interval"} == variables, f"variables: {used} used, {variables} defined"
    expressions = [it.replace("$__rate_interval", "5m") for it in expressions_of(dashboard)]
    rules = [{"record": f"r{n}", "expr": it} for n, it in enumerate(expressions)]
    file = options.work / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    subprocess.run([options.promtool, "check", "rules", "--lint=none", str(file)], check=True)


def containerfile_copies_what_is_built():
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    built = re.findall(r"--package (\S+)", text)
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    programs = {
        target["name"]
        for package in metadata["packages"]
        if package["name"] in built
        for target in package["targets"]
        if "bin" in target["kind"]
    }
    copied = dict(re.findall(r"^COPY --from=build \S+/release/(\S+) (\S+)$", text, re.M))
    assert set(copied) == programs, f"built {programs}, copied {set(copied)}"
    started = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", text, re.M).group(1))
    assert started == [copied["ninefold"]], started
    print("Containerfile: copies and starts what is built")


main()
