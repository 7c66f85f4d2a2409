"""Write what the code itself knows best into the documents, between markers; `--check` only compares.

The state machine's table becomes a picture (Mermaid, which code hosts and editors render) and a table in
docs/states.md; the emulator's faults become a table in docs/emulator.md, the log's actions one in docs/service.md, the keys
of a sidecar one in docs/intake.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from rodin_watchd.core.actions import JOB_ACTIONS, SERVICE_ACTIONS
from rodin_watchd.core.machine import ENDED, POLICIES, TABLE, Signal
from rodin_watchd.core.model_words import Node, allowed_words, plain_schema
from rodin_watchd.core.sidecar import Sidecar
from rodin_watchd.emulator.faults import FAULTS
from rodin_watchd.model import State

DOCS = Path(__file__).parent.parent / "docs"
SITES = ("submit", "status", "download", "balance", "file")


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
    days = f"{policy.deadline_seconds / 86_400:g}" if policy and policy.deadline_seconds else ""
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
    rows = (f"| `{key}` | {node['description']} | {_allowed(node)} |\n" for key, node in nodes.items())
    return "\n| key | what it says | allowed |\n|---|---|---|\n" + "".join(rows) + "\n"


def _allowed(node: Node) -> str:
    return "tables" if node.get("type") == "object" else allowed_words(node)


# ---- pages ----------------------------------------------------------------------------------------------------------

PAGES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "states.md": ("states", states),
    "emulator.md": ("faults", faults),
    "service.md": ("actions", actions),
    "intake.md": ("options", options),
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
    for file, (name, content) in PAGES.items():
        page = (DOCS / file).read_text()
        wanted = renewed(page, name, content())
        stale += wanted != page
        if wanted != page and not only_check:
            (DOCS / file).write_text(wanted)
    if stale and only_check:
        print("docs/ is not what the code says: run `make reference`.", file=sys.stderr)
    return int(bool(stale) and only_check)


if __name__ == "__main__":
    sys.exit(main())
