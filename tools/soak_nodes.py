"""Disturb several daemons on one store in every way we know, for ten minutes, and count what broke; see docs/reliability.md.

Three daemons serve two roots on one PostgreSQL with a replica. Their processes and the server's are killed and stopped, their
lines cut, the server restarted and failed over, while sets are dropped. At the end all comes to rest, and folders, store and the
vendor's ledger are compared. Prints tables in Markdown, and writes the same as JSON. Exits 1 when anything was lost, paid twice,
delivered twice or is otherwise wrong, and when no root changed its daemon.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "reliability"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "adapters"))

from crash_truth import Kind
from node_audit import Verdict, audit
from node_chaos import Chaos, Failover, Watch, failovers, play, taken_early
from nodes import Site

MOST_FAILURES = 40


def main() -> int:
    """Disturb, audit, print, and return the exit code."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="soak-nodes-", dir=options.folder))
    print(f"Seed {options.seed}, {options.replication} replication, in {folder}", flush=True)
    result = soak(
        folder,
        options.seed,
        options.seconds,
        options.failovers,
        synchronous=options.replication == "synchronous",
        workers=options.workers,
    )
    print(tables(result))
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"The same as JSON: {options.json}")
    if result["wrong"]:
        print(f"Folders and logs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(result["wrong"]) or not result["failovers"])


def soak(folder: Path, seed: int, seconds: float, measured: int, *, synchronous: bool, workers: int) -> dict[str, Any]:
    """Make one run in an empty folder, after so many measured failovers of each kind; return what came of it, as JSON."""
    chance, started = random.Random(seed), time.monotonic()  # noqa: S311 - what is done is no secret
    with Site(folder, chance, synchronous=synchronous, workers=workers) as site:
        watch = Watch(site)
        site.begin()
        with closing(watch):
            watch.start()
            chaos = play(
                site, watch, chance, seconds, measured, lambda words: print(words, file=sys.stderr, flush=True)
            )
            codes = site.stop()
        verdict = audit(site, chaos.sets)
        return {
            "seed": seed,
            "replication": "synchronous" if synchronous else "asynchronous",
            "seconds": round(time.monotonic() - started),
            "clocks": site.clocks,
            "faults": dict(site.vendor.ledger()["faults"]),
            **_as_data(chaos, verdict, codes),
        }


def _as_data(chaos: Chaos, verdict: Verdict, codes: Mapping[str, int]) -> dict[str, Any]:
    ends = [end for unit in chaos.site.units for end in unit.ends]
    broken = [f"{kind.kind}: {kind.text}" for kind in verdict.violations]
    broken += [f"wrong: {words}" for words in chaos.broken]
    broken += [f"wrong: {words}" for words in taken_early(chaos.deeds, chaos.watch.seen)]
    broken += [f"wrong: {name} ended with {code} when it was stopped" for name, code in codes.items() if code]
    broken += [
        f"wrong: a traceback in {unit.log.name}"
        for unit in chaos.site.units
        if "Traceback" in unit.log.read_text(errors="replace")
    ]
    kinds = Counter(violation.kind for violation in verdict.violations)
    return {
        "deeds": dict(Counter(deed.name for deed in chaos.deeds).most_common()),
        "sets": {"dropped": len(chaos.sets), **dict(verdict.ends.most_common())},
        "sorts": dict(Counter(str(one.sort) for one in chaos.sets)),
        "charges": verdict.charges,
        "held": dict(verdict.held.most_common()),
        "lost": kinds[Kind.LOST],
        "paid or delivered twice": kinds[Kind.DUPLICATE],
        "other": len(broken) - kinds[Kind.LOST] - kinds[Kind.DUPLICATE],
        "ended by themselves": [{"unit": end.name, "code": end.code, "log": end.told} for end in ends],
        "failovers": [vars(one) for one in failovers(chaos.deeds, chaos.watch.seen)],
        "wrong": broken,
    }


# ---- printing -------------------------------------------------------------------------------------------------------


def tables(result: Mapping[str, Any]) -> str:
    """Return it for people."""
    sets = result["sets"]
    lines = [f"- {words}" for words in result["wrong"][:MOST_FAILURES]]
    counts = [(f"sets {name}", count) for name, count in sets.items()]
    counts += [(name, result[name]) for name in ("charges", "lost", "paid or delivered twice", "other")]
    lines += _table("what | number", counts)
    lines += _table("why a job was held | jobs", result["held"].items())
    lines += _table("what was done | times", result["deeds"].items())
    codes = Counter(f"{end['unit']}: {end['code']}" for end in result["ended by themselves"])
    lines += _table("daemon: exit code, where nobody had struck it | times", codes.most_common())
    found = [Failover(**one) for one in result["failovers"]]
    lines += _table(
        "how the daemon of a root ended | times | min s | median s | p95 s | max s | until a job moved, median s | max s",
        _spans(found),
    )
    return "\n".join(lines)


def _spans(found: Sequence[Failover]) -> Iterable[Sequence[object]]:
    """Give a row for each way to end and to go on, and one for those of them where nothing else was struck meanwhile."""
    for how, by_standby in sorted({(one.how, one.by_standby) for one in found}):
        chosen = [one for one in found if (one.how, one.by_standby) == (how, by_standby)]
        for words, some in (("", chosen), (", else undisturbed", [one for one in chosen if not one.disturbed])):
            taken = sorted(one.taken_seconds for one in some)
            moved = [one.moved_seconds for one in some if one.moved_seconds is not None]
            if taken:
                spans = (taken[0], statistics.median(taken), quantile(taken, 0.95), taken[-1])
                after = (statistics.median(moved), max(moved)) if moved else ()
                name = f"{how}, then {'a standby' if by_standby else 'the same daemon'}{words}"
                yield (name, len(taken), *(f"{span:.1f}" for span in (*spans, *after)))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that so many of some ordered values do not exceed."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _table(head: str, rows: Iterable[Sequence[object]]) -> list[str]:
    columns = head.count(" | ") + 1
    filled = [[*map(str, row), *[""] * (columns - len(row))] for row in rows]
    return ["", f"| {head} |", "|" + "---|" * columns, *(f"| {' | '.join(row)} |" for row in filled)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="how long it is disturbed (600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="of all chance")
    parser.add_argument(
        "--replication",
        choices=("synchronous", "asynchronous"),
        default="synchronous",
        help="of the server (synchronous)",
    )
    parser.add_argument("--failovers", type=int, default=3, help="how many of each kind are measured alone before (3)")
    parser.add_argument("--workers", type=int, default=4, help="processes that run plugins (4)")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where everything is made (the place for temporary files)"
    )
    parser.add_argument(
        "--json", type=Path, default=Path("soak-nodes.json"), help="the file for the result (soak-nodes.json)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
