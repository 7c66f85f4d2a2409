"""Draw the state machine's table into docs/states.md, between its two markers; `--check` only compares.

The picture is Mermaid, which code hosts and editors render; the table beneath says the same in plain text.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rodin_watchd.core.machine import ENDED, POLICIES, TABLE, Signal
from rodin_watchd.model import State

PAGE = Path(__file__).parent.parent / "docs" / "states.md"
BEGIN, END = "<!-- drawn from the table: begin -->\n", "<!-- drawn from the table: end -->\n"


def drawing() -> str:
    """Return the diagram and the table as Markdown."""
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


def main() -> int:
    """Write the drawing, or compare it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is not up to date")
    only_check = parser.parse_args().check
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    wanted = f"{before}{BEGIN}{drawing()}{END}{rest.partition(END)[2]}"
    if wanted == page:
        return 0
    if only_check:
        print(f"{PAGE} is not what the table says: run `make reference`.", file=sys.stderr)
        return 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
