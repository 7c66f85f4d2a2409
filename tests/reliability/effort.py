"""How much the tests try: in `make test` little, and the same on each machine of a day; in `make thorough` more, and by chance.

`make test` runs a third of the cases of the costly tests, another third each day. A case is one set of arguments of a
parametrized test. Every test is in every part, with at least one case; three parts in a row have every case in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from zlib import crc32

from hypothesis import HealthCheck, settings

EFFORT_VARIABLE = "RODIN_WATCHD_EFFORT"
"""How many times as much is tried as in `make test`."""

EFFORT = int(os.environ.get(EFFORT_VARIABLE, "1"))


PART = os.environ.get("RODIN_WATCHD_PART", "")
"""The number of the part that is run, "" for all cases; the Makefile gives the day of the year."""

PARTS = 3
COSTLY = {
    *("tests/adapters", "tests/cli", "tests/plugins", "tests/reliability", "tests/service"),
    *("tests/test_config_text.py", "tests/test_docs.py", "tests/test_wheel.py"),
}
"""Their cases start daemons, processes or servers; all others are cheap, and run in full."""


def in_part(ids: Iterable[str], part: int) -> Iterator[str]:
    """Return those of the tests' node ids that a part has, in their order; the cases of a test stand together."""
    for test, group in groupby(ids, key=lambda node_id: node_id.partition("[")[0]):
        cases = list(group)
        parts = min(PARTS, len(cases)) if COSTLY & {test.partition("::")[0], *_folders(test)} else 1
        # Each test begins elsewhere: else the first case of every test would run on the same day.
        yield from cases[(part + crc32(test.encode())) % parts :: parts]


def _folders(test: str) -> Iterator[str]:
    words = test.partition("::")[0].split("/")[:-1]
    return ("/".join(words[:count]) for count in range(1, len(words) + 1))


def searching(examples: int, steps: int = 50) -> settings:
    """Return the settings of a search that tries so many examples, of so many steps; nothing is timed.

    `make test` tries the same half of them each time, `make thorough` several times as many.
    """
    return settings(
        max_examples=-(-examples // 2) if EFFORT == 1 else examples * EFFORT,
        derandomize=EFFORT == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        report_multiple_bugs=False,
        stateful_step_count=steps,
    )
