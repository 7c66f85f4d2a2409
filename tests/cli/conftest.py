"""Fixtures for the command line's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_stage import Stage

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Give a service's folder, with nobody at the vendor's address."""
    return Stage(tmp_path / "root")


@pytest.fixture
def vendor() -> Iterator[Emulator]:
    """Give an emulated vendor that works fast."""
    with Emulator(EmulatorSettings(preview_pixels=64, waiting_seconds=0.1, generating_seconds=0.2)) as emulator:
        yield emulator


@pytest.fixture
def served(tmp_path: Path, vendor: Emulator) -> Stage:
    """Give a service's folder whose vendor is the emulated one."""
    return Stage(tmp_path / "root", vendor.base_url)
