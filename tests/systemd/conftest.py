"""The machines of these tests: one root with the package installed, booted anew for each test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import build_deb
import pytest
import systemd_root
from machine import Machine, booted, why_not
from shop import Shop

PROJECT = Path(__file__).parents[2]
VERSIONS = ("1.0-1", "1.0-2")


@pytest.fixture(scope="session")
def bare_root() -> Path:
    """Give a Debian root without the service."""
    if reason := why_not():
        pytest.skip(reason)
    try:
        return systemd_root.root()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"there is no Debian to boot: debootstrap failed ({error.returncode})")


@pytest.fixture(scope="session")
def things(bare_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: ARG001 - may skip
    """Give what the machines are shown: packages, an environment made from the wheel with the emulator, samples."""
    folder = tmp_path_factory.mktemp("things")
    for version in VERSIONS:
        build_deb.build(folder / "packages", version, compression="none")
    wheel = build_deb.built_wheel(folder)
    build_deb.fill_home(folder / "wheel", Path("/opt/rodin"), wheel, "emulator")
    samples = PROJECT / "tests" / "samples"
    return {"/opt/packages": folder / "packages", "/opt/rodin": folder / "wheel", "/opt/samples": samples}


@pytest.fixture(scope="session")
def root(bare_root: Path, things: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a root in which the first package is installed."""
    folder = tmp_path_factory.mktemp("root") / "root"
    subprocess.run(["cp", "--archive", "--reflink=auto", bare_root, folder], check=True)
    (package,) = things["/opt/packages"].glob(f"*_{VERSIONS[0]}_*.deb")
    shutil.copy(package, folder / "opt")
    subprocess.run(["chroot", folder, "dpkg", "-i", f"/opt/{package.name}"], check=True, stdout=subprocess.DEVNULL)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def machine(root: Path, things: dict[str, Path], tmp_path: Path) -> Iterator[Machine]:
    """Give a machine with the package installed, and nothing started."""
    with booted(root, tmp_path, things) as machine:
        yield machine


@pytest.fixture
def bare_machine(bare_root: Path, things: dict[str, Path], tmp_path: Path) -> Iterator[Machine]:
    """Give a machine without the service."""
    with booted(bare_root, tmp_path, things) as machine:
        yield machine


@pytest.fixture
def shop(machine: Machine) -> Shop:
    """Give a machine whose service can be started: it has a key and a vendor's address."""
    return Shop(machine).furnished()
