"""What most of these tests have in common: a daemon, and an emulated vendor without faults, which they share."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from clusters import Cluster, database
from workshop import Vendor, Workshop, emulated, workshop

from rodin_watchd.emulator.server import Emulator


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """Give an emulator without faults."""
    with emulated(balance=Decimal(10_000)) as vendor:  # one run of all tests buys more than 200 textures
        yield vendor.emulator


@pytest.fixture
def vendor(emulator: Emulator) -> Vendor:
    """Give the vendor's ledger as of now."""
    return Vendor(emulator)


@pytest.fixture
def shop(tmp_path: Path, vendor: Vendor) -> Iterator[Workshop]:
    """Give a daemon that runs."""
    with workshop(tmp_path, vendor.emulator.base_url) as shop:
        yield shop


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    """Give the address of a database with nothing in it."""
    with database(cluster, empty=True) as name:
        yield cluster.url(name)
