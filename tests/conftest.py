"""Collects fast, and runs one part of the costly tests where the Makefile asks for one (`effort.py`)."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from clusters import address, cluster  # noqa: F401 - fixtures
from effort import PART, in_part


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without looking for garbage: there is none, and thousands of tests would be looked at many times."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # the cases of a test still stand together
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cases of other parts."""
    if PART:
        kept = set(in_part([item.nodeid for item in items], int(PART)))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in kept])
        items[:] = [item for item in items if item.nodeid in kept]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which part it was, and how it is repeated."""
    if PART:
        terminalreporter.write_line(
            f"Of costly tests a third of the cases was run: `make test PART={PART}` runs the same ones again, "
            f"`make test PART={int(PART) + 1}` others, `make test PART=` all."
        )
