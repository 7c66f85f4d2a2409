"""What `make test` leaves out today it runs on one of the two days after."""

from __future__ import annotations

import pytest
from effort import PARTS, in_part

CASES = {f"tests/service/test_a.py::test_{count}": count for count in range(1, 12)}
IDS = [f"{test}[{case}]" for test, count in CASES.items() for case in range(count)]


@pytest.mark.parametrize("part", [1, 2, 365])
def test_every_test_is_in_every_part(part: int) -> None:
    """No test waits for its day: at least one of its cases runs, and of many cases a third."""
    chosen = [node_id.partition("[")[0] for node_id in in_part(IDS, part)]
    assert set(chosen) == set(CASES)
    assert all(chosen.count(test) <= max(1, -(-count // PARTS)) for test, count in CASES.items())


def test_parts_in_a_row_have_every_case() -> None:
    """Three days, also over a new year: each case at least once, in the order of the files."""
    days = [list(in_part(IDS, day)) for day in (364, 365, 366)]
    assert {node_id for day in days for node_id in day} == set(IDS)
    assert all(day == sorted(day, key=IDS.index) for day in days)


def test_cheap_tests_run_in_full() -> None:
    """What is pure costs next to nothing."""
    ids = [f"tests/core/test_wire.py::test_all[{case}]" for case in range(9)]
    assert list(in_part(ids, 1)) == ids
