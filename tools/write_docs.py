"""Write what the code itself knows best into the documents, between markers; `--check` only compares.

The state machine's table becomes a picture (Mermaid, which code hosts and editors render) and a table in
docs/states.md; the emulator's faults become a table in docs/emulator.md, the log's actions one in docs/service.md, the keys
of a sidecar one in docs/intake.md, those of the config docs/configuration.md, the help of the commands docs/commands.md,
the metrics a table in docs/health.md. The imports become the pictures of docs/architecture.md: the rooms, and the way of a set.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import click
from prometheus_client.core import Metric
from structure import PACKAGE, imports_of, modules_of

from rodin_watchd.adapters.metrics import Metrics
from rodin_watchd.cli.main import cli
from rodin_watchd.config import Config
from rodin_watchd.core.actions import JOB_ACTIONS, SERVICE_ACTIONS
from rodin_watchd.core.any_options import kinds_with
from rodin_watchd.core.farm import FarmState, QueueState
from rodin_watchd.core.health import INCOMPLETE, READY, SETTLING, UNMOVABLE, Health, MoneyTotals
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.machine import ENDED, POLICIES, TABLE, Signal
from rodin_watchd.core.options import Node, allowed_words, plain_schema
from rodin_watchd.core.sidecar import Sidecar
from rodin_watchd.core.stillness import STANDSTILLS
from rodin_watchd.core.waits import DAY_SECONDS
from rodin_watchd.emulator.faults import FAULTS
from rodin_watchd.model import State, Step
from rodin_watchd.service.steps import STEPS

DOCS = Path(__file__).parent.parent / "docs"
SITES = ("submit", "status", "download", "balance", "file")


# ---- rooms ----------------------------------------------------------------------------------------------------------

ROOMS: Mapping[str, str] = {
    "errors": "words",
    "model": "words",
    "v1": "hooks",
    "log_lines": "config",
    "own_file": "config",
    "settings": "config",
    "__main__": "cli",
}
"""Modules of the top folder, by the room that they belong to; `tests/test_layers.py` has the same rule."""

LEFT_OUT = ("", "testing")
"""What is no room: the package itself, and what plugin authors' tests import."""

MOST_IN_A_LINE = 5


def rooms() -> str:
    """Return the rooms with what is in them as a diagram; an arrow says "imports", and none is drawn that others imply."""
    imports = imports_of(modules_of(DOCS.parent))
    between: dict[str, set[str]] = defaultdict(set)
    inside: dict[str, set[str]] = defaultdict(set)
    for name, imported in imports.items():
        room = _room(name)
        inside[room].add(_in_room(name))
        between[room] |= {_room(other) for other in imported} - {room}
    drawn = {room: others - set(LEFT_OUT) for room, others in between.items() if room not in LEFT_OUT}
    nodes = [f'    {room}["{_label(room, inside[room])}"]' for room in drawn]
    return _mermaid("flowchart TB", [*nodes, *_arrows_between(drawn)])


def _room(name: str) -> str:
    """Return the room of a module: its folder below the package, "" for the package itself."""
    part = [*name.split("."), ""][1]
    return ROOMS.get(part, part)


def _in_room(name: str) -> str:
    """Return what a module is called in its room; "" for the room itself."""
    parts = name.split(".")[1:]
    return parts[0] if parts[:1] and parts[0] in ROOMS else ".".join(parts[1:2])


def _label(room: str, inside: set[str]) -> str:
    names = sorted(inside - {"", "__main__"})
    lines = [" · ".join(names[at : at + MOST_IN_A_LINE]) for at in range(0, len(names), MOST_IN_A_LINE)]
    return "<br/>".join([f"<b>{room}</b>", *lines])


def _arrows_between(graph: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield the arrows of a graph without those that others imply."""
    for start, ends in graph.items():
        implied = {far for near in ends for far in _reached(near, graph)}
        yield from (f"    {_id(start)} --> {_id(end)}" for end in sorted(ends - implied))


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """Return all that arrows lead to from here, over others as well; there are no cycles."""
    return graph[start] | {far for near in graph[start] for far in _reached(near, graph)}


def _mermaid(kind: str, lines: list[str]) -> str:
    return f"\n```mermaid\n{kind}\n" + "".join(f"{line}\n" for line in lines) + "```\n\n"


# ---- the way of a set -----------------------------------------------------------------------------------------------

WAY = (
    *("adapters.watcher", "adapters.spool.inbox", "core.sets", "core.pairing", "core.sidecar", "core.formats"),
    *("service.intake", "core.claims", "service.reception", "service.jobs", "core.store", "adapters.store"),
    *("service.dispatcher", "core.pauses", "core.machine", "service.pool", "service.steps", "service.daemon"),
)
"""The modules on the way of a set; which of them calls which, their imports say."""

_FORTH = (Signal.BEGIN, Signal.CLOSE, Signal.DONE)
"""What leads a job on, the two intents of a submit before what comes of it."""


def way() -> str:
    """Return who calls whom on the way of a set, and the states that it goes through, as two diagrams."""
    imports = imports_of(modules_of(DOCS.parent))
    graph = {station: _imported(station, imports) for station in WAY}
    nodes = [f'    {_id(station)}["{station}"]' for station in WAY]
    return _mermaid("flowchart LR", [*nodes, *_arrows_between(graph)]) + _mermaid("flowchart LR", list(_chain()))


def _imported(station: str, imports: Mapping[str, set[str]]) -> set[str]:
    """Return the stations that one imports; a package stands for all that is in it."""
    own = [name for name in imports if _is_in(name, station)]
    if not own:
        raise SystemExit(f"There is no module {station}: mend WAY in {__file__}.")
    found = {other for name in own for other in imports[name]}
    return {other for other in WAY if other != station and any(_is_in(name, other) for name in found)}


def _is_in(name: str, station: str) -> bool:
    return f"{name}.".startswith(f"{PACKAGE}.{station}.")


def _id(name: str) -> str:
    return name.replace(".", "_")


def _chain() -> Iterator[str]:
    """Yield the arrows from state to state, each with its step and the module that does it; and what ends or holds a job."""
    yield f"    inbox([inbox]) -->|claim| {State.CLAIMED}"
    yield f"    inbox -->|refuse| {State.FAILING}"
    state = State.CLAIMED
    while state not in ENDED:
        signal = next(signal for signal in _FORTH if TABLE.get((state, signal), state) is not state)
        after, policy = TABLE[state, signal], POLICIES[state]
        done_by = STEPS[policy.step].__module__.removeprefix(f"{PACKAGE}.")
        intent = "" if signal is Signal.DONE else f", {signal}"
        yield f"    {state} -->|{policy.step}{intent}<br/>{done_by}| {after}"
        state = after
    buried = STEPS[Step.BURY].__module__.removeprefix(f"{PACKAGE}.")
    yield f"    {State.FAILING} -->|{Step.BURY}<br/>{buried}| {TABLE[State.FAILING, Signal.DONE]}"
    for aside in (State.FAILING, State.HELD):
        sources = sorted({before for (before, _), after in TABLE.items() if after is aside and before is not aside})
        yield f"    {' & '.join(sources)} -.-> {aside}"


# ---- states ---------------------------------------------------------------------------------------------------------


def states() -> str:
    """Return the state machine as a diagram and a table."""
    return f"\n```mermaid\nstateDiagram-v2\n{_arrows()}```\n\n{_rows()}\n"


def _arrows() -> str:
    lines = [f"    [*] --> {State.CLAIMED}: settled", f"    [*] --> {State.FAILING}: refused"]
    moves = (move for move in TABLE.items() if move[0][0] != move[1])
    lines += [f"    {before} --> {after}: {signal.value.replace(':', ',')}" for (before, signal), after in moves]
    lines += [f"    {state} --> [*]" for state in State if state in ENDED]
    return "".join(f"{line}\n" for line in lines)


def _rows() -> str:
    head = "| state | next step | tries | days | what can happen → next state |\n|---|---|---|---|---|\n"
    return head + "".join(_row(state) for state in State)


def _row(state: State) -> str:
    policy = POLICIES.get(state)
    step = policy.step if policy else "a person decides" if state not in ENDED else "none"
    tries = (policy.max_attempts or "until it works") if policy else ""
    days = f"{policy.deadline_seconds / DAY_SECONDS:g}" if policy and policy.deadline_seconds else ""
    moves = "; ".join(f"{signal.value} → {TABLE[state, signal]}" for signal in Signal if (state, signal) in TABLE)
    return f"| `{state}` | {step} | {tries} | {days} | {moves} |\n"


# ---- faults ---------------------------------------------------------------------------------------------------------


def faults() -> str:
    """Return the emulator's faults as a table; those that every kind of call knows share a row."""
    families: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, meaning in FAULTS.items():
        site, _, rest = name.partition("-")
        told = meaning.partition(": ")[2]
        families[(rest, told) if site in SITES else (name, meaning)].append(site if site in SITES else "")
    rows = (f"| {_name(rest, sites)} | {told} |\n" for (rest, told), sites in families.items())
    return "\n| fault | what happens |\n|---|---|\n" + "".join(rows) + "\n"


def _name(rest: str, sites: list[str]) -> str:
    return ", ".join(f"`{site}-{rest}`" if site else f"`{rest}`" for site in sites)


# ---- actions --------------------------------------------------------------------------------------------------------


def actions() -> str:
    """Return the log's words as two tables."""
    return f"\n{_meanings('of a job', JOB_ACTIONS)}\n{_meanings('of the service', SERVICE_ACTIONS)}\n"


def _meanings(whose: str, words: Mapping[str, str]) -> str:
    rows = (f"| `{word}` | {meaning} |\n" for word, meaning in words.items())
    return f"| action {whose} | what happened |\n|---|---|\n" + "".join(rows)


# ---- options --------------------------------------------------------------------------------------------------------


def options() -> str:
    """Return what a sidecar may say as a table."""
    nodes = plain_schema(Sidecar)["properties"]
    rows = (f"| `{key}` | {node['description']} | {_allowed(node)} | {_kinds(key)} |\n" for key, node in nodes.items())
    return "\n| key | what it says | allowed | kinds |\n|---|---|---|---|\n" + "".join(rows) + "\n"


def _kinds(key: str) -> str:
    """Return which kinds of jobs have a key."""
    having = kinds_with(key)
    return "all" if len(having) in (0, len(KINDS)) else ", ".join(f"`{kind.name}`" for kind in having)


def _allowed(node: Node) -> str:
    return "tables" if node.get("type") == "object" else allowed_words(node)


# ---- configuration --------------------------------------------------------------------------------------------------


def configuration() -> str:
    """Return every key of the config file as tables, one for each section."""
    return "\n" + "\n".join(_section(name, node) for name, node in plain_schema(Config)["properties"].items()) + "\n"


def _section(name: str, node: Node) -> str:
    named = node.get("additionalProperties")
    tables = [_keys(node["properties"])] if node["properties"] else []
    tables += [f"{named['description']}\n\n### [{name}.NAME]\n\n{_keys(named['properties'])}"] if named else []
    return f"## [{name}]\n\n{node['description']}\n\n" + "\n".join(tables)


def _keys(nodes: Mapping[str, Node]) -> str:
    rows = (
        f"| `{key}` | {node['description']} | {_allowed(node)} | {_default(node)} |\n" for key, node in nodes.items()
    )
    return "| key | what it says | allowed | default |\n|---|---|---|---|\n" + "".join(rows)


def _default(node: Node) -> str:
    return f"`{json.dumps(node['default'])}`" if "default" in node else ""


# ---- commands -------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Return what `--help` says of each command, on a terminal of one width."""
    top = click.Context(cli, info_name="rodin-watchd", terminal_width=78, **cli.context_settings)
    return "\n" + "\n".join(_helps(cli, top, 2)) + "\n"


def _helps(group: click.Group, context: click.Context, level: int) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        own = click.Context(command, info_name=name, parent=context)
        yield f"{'#' * level} {own.command_path}\n\n```text\n{command.get_help(own)}\n```\n"
        if isinstance(command, click.Group):
            yield from _helps(command, own, level + 1)


# ---- metrics --------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Return every metric with its labels, and of a gauge the values of its label."""
    inbox = dict.fromkeys((SETTLING, INCOMPLETE, UNMOVABLE, READY), 1)
    totals = MoneyTotals(dict.fromkeys(State, 1), {}, Decimal(1), 1.0)
    farm = FarmState(queues=(QueueState("blender", 0, 0, 0, 0.0, 0),))
    meter = Metrics(lambda: totals, lambda: 1.0, "", lambda: farm)
    meter.tick(Health(1.0, 1.0, 0, 0, inbox, dict.fromkeys(inbox, 1.0), 0.0, "", STANDSTILLS))
    meter.step("poll", "done", "texture", 1.0)
    meter.api_call("status", "200")
    meter.hook_run("notify", "rodin_delivered", "done")
    families = sorted(meter.registry.collect(), key=lambda family: family.name)
    return (
        "\n| metric | labels besides `root` | what it says |\n|---|---|---|\n" + "".join(map(_metric, families)) + "\n"
    )


def _metric(family: Metric) -> str:
    name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
    labels = [label for label in family.samples[0].labels if label not in ("root", "le")]
    values = ", ".join(f"`{sample.labels[label]}`" for label in labels for sample in family.samples)
    what = f"{family.documentation} {values}" if family.type == "gauge" and values else family.documentation
    return f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {what.strip()} |\n"


# ---- pages ----------------------------------------------------------------------------------------------------------

PAGES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "states.md": {"states": states},
    "emulator.md": {"faults": faults},
    "service.md": {"actions": actions},
    "intake.md": {"options": options},
    "architecture.md": {"rooms": rooms, "way": way},
    "configuration.md": {"keys": configuration},
    "commands.md": {"commands": commands},
    "health.md": {"metrics": metrics},
}


def renewed(page: str, name: str, content: str) -> str:
    """Return a page with what stands between its markers replaced."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}{content}{end}{rest.partition(end)[2]}"


def main() -> int:
    """Write the pages, or compare them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is not up to date")
    only_check = parser.parse_args().check
    stale = 0
    for file, parts in PAGES.items():
        wanted = page = (DOCS / file).read_text()
        for name, content in parts.items():
            wanted = renewed(wanted, name, content())
        stale += wanted != page
        if wanted != page and not only_check:
            (DOCS / file).write_text(wanted)
    if stale and only_check:
        print("docs/ is not what the code says: run `make reference`.", file=sys.stderr)
    return int(bool(stale) and only_check)


if __name__ == "__main__":
    sys.exit(main())
