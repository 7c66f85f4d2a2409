"""How much the sampling and searching tests try: little and always the same in `make test`, more and by chance in `make thorough`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EFFORT_VARIABLE = "RODIN_WATCHD_EFFORT"
"""How many times as much is tried as in `make test`."""

EFFORT = int(os.environ.get(EFFORT_VARIABLE, "1"))


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
