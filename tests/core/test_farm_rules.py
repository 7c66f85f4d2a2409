"""The farm's rules: which line a call waits in, and what people read of calls that nobody takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rodin_watchd.core.farm import FarmState, Offer, WaitingCalls, WorkerState, line_of, reasons, why_waiting

CALLS = WaitingCalls("r1", "blender", "r1", "convert", "studio 1.0", 2, 1_700_000_000.0, 90.0)
FIT = WorkerState(1, "one", 7, ("blender",), ("r1",), {"convert": "studio 1.0"}, {}, 10.0, 1.0)


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        ([], "No worker is there. Start one: `rodin-watchd worker --queues blender`."),
        ([replace(FIT, queues=("gpu",))], "No worker serves the queue blender."),
        ([replace(FIT, places=("r2",))], "one:7 cannot reach the files"),
        ([replace(FIT, plugins={})], "The plugin convert is not in use on one:7"),
        (
            [replace(FIT, plugins={"convert": "studio 2.0"})],
            "one:7 has another version of the plugin convert (studio 2.0;",
        ),
        (
            [replace(FIT, plugins={}, unfit={"convert": "No Blender."})],
            "The plugin convert cannot be used on one:7: No Blender.",
        ),
    ],
)
def test_people_read_why_no_worker_takes_a_call(workers: list[WorkerState], says: str) -> None:
    """Each reason has what to do; the first thing that is missing is named."""
    assert says in why_waiting(CALLS, workers)
    assert why_waiting(CALLS, [*workers, FIT]) == ""
    assert [calls for calls, _ in reasons(FarmState(tuple(workers), (), (CALLS,)))] == [CALLS]


def test_a_call_waits_where_only_workers_are_that_can_make_it() -> None:
    """Another queue, other files or another version of the plugin is another line; its name fits a channel of PostgreSQL."""
    lines = {
        line_of("blender", "r1", "convert", "studio 1.0"),
        line_of("gpu", "r1", "convert", "studio 1.0"),
        line_of("blender", "r2", "convert", "studio 1.0"),
        line_of("blender", "r1", "convert", "studio 2.0"),
        line_of("blender", "r1", "other", "studio 1.0"),
    }
    assert len(lines) == 5
    assert max(len(f"procrastinate_queue_v1#{line_of('q' * 24, 'r', 'p', 'v')}"), *map(len, lines)) < 63
    offer = Offer(("blender", "gpu"), ("r1",), {"convert": "studio 1.0"}, {}, 1, 30.0, 20.0)
    assert set(offer.lines) == {line_of(queue, "r1", "convert", "studio 1.0") for queue in ("blender", "gpu")}
