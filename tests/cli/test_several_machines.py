"""docs/several-machines.md, from its first command to its last one, on two machines that share a folder and a real PostgreSQL."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest
from cli_stage import CONFIG, KEY, PROGRAM, SAMPLES, TIMEOUT_SECONDS, Running, environment
from clusters import Cluster, database

from rodin_watchd.emulator.server import Emulator

PAGE = Path(__file__).parents[2] / "docs" / "several-machines.md"
ADDRESS = "postgresql://rodin@db.example/rodin"
STEPS = PAGE.read_text().partition("## The steps\n")[2].partition("\n## ")[0].split("\n### ")[1:]
PART = re.compile(r"^```toml\n(.*?)^```|^    (\S[^\n]*)$", re.MULTILINE | re.DOTALL)
"""What is to be written into a file, or a command."""

BEGUN = {"rodin-watchd": "drop sets into|standby: ", "rodin-watchd-worker": "worker: takes calls"}


@dataclass
class Machine:
    """A machine: where its files are, and what systemd has running on it."""

    folder: Path
    share: Path
    url: str
    base_url: str
    stack: ExitStack
    services: dict[str, Running] = field(default_factory=dict)

    def path(self, text: str) -> str:
        """Return a text of the page with the places of this machine."""
        places = {
            ADDRESS: self.url,
            "/etc/rodin-watchd": str(self.folder),
            "/var/lib": str(self.folder / "lib"),
            "/srv/rodin-watchd-second": str(self.share.with_name("second")),
            "/srv/rodin-watchd": str(self.share),
        }
        for named, here in places.items():
            text = text.replace(named, here)
        return text

    def write(self, name: str, *told: str) -> None:
        """Write a config file, for a vendor on this machine."""
        (self.folder / name).write_text(self.path("\n".join(told)) + CONFIG.format(base_url=self.base_url))

    def run(self, line: str) -> str:
        """Run a command of the page; return what it printed."""
        words = self.path(line).split()
        if words[0] == "systemctl":
            return self._systemctl(words[1], words[2])
        command = [*PROGRAM, *words[1:]] if words[0] == "rodin-watchd" else words
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return environment(RODIN_API_KEY=KEY, RODIN_WATCHD_CONFIG=str(self.folder / "config.toml"))

    def _systemctl(self, verb: str, unit: str) -> str:
        """Do what systemd does with the unit of that name, by the line in it."""
        if verb in ("stop", "restart") and unit in self.services:
            assert self.services.pop(unit).stop() == 0
        if verb in ("start", "restart"):
            name, _, instance = unit.partition("@")
            file = PAGE.parents[1] / "systemd" / f"{name}{'@' if instance else ''}.service"
            (start,) = re.findall(r"^ExecStart=/usr/bin/rodin-watchd (.*)$", file.read_text(), re.MULTILINE)
            words = self.path(start.replace("%i", instance)).split()
            process = self.stack.enter_context(
                subprocess.Popen([*PROGRAM, *words], env=self._environment(), stderr=subprocess.PIPE, text=True)
            )
            self.stack.callback(process.kill)
            self.services[unit] = Running(process)
            self.services[unit].until(BEGUN[name])
        return ""


FOLDERS = '[folders]\nroot = "/srv/rodin-watchd"\nstate = "/var/lib/rodin-watchd"\n'
Machines: TypeAlias = tuple[Machine, Machine]


def write_more(machines: Machines, settings: str) -> None:
    """Add to the config of each machine."""
    for machine in machines:
        with (machine.folder / "config.toml").open("a") as config:
            config.write(settings)


WRITTEN: Mapping[str, Sequence[Callable[[Machines, str], None]]] = {
    "2": (lambda machines, settings: machines[0].write("config.toml", FOLDERS, settings),),
    "3": (lambda machines, settings: machines[1].write("config.toml", settings),),
    "5": (lambda machines, settings: machines[1].write("second.toml", settings),),
    "6": (write_more, lambda machines, settings: machines[1].write("worker.toml", settings)),
}
"""Into which file the settings of a step go."""


@pytest.fixture
def machines(tmp_path: Path, cluster: Cluster, vendor: Emulator) -> Iterator[Machines]:
    """Give two machines with one share; the first one has a service with a journal, and a set that it has delivered."""
    with database(cluster, empty=True) as name, ExitStack() as stack:
        share = tmp_path / "share"
        (share / "inbox").mkdir(parents=True)
        (tmp_path / "mounted").symlink_to(share)
        found = []
        for machine, root in (("atlas", share), ("borea", tmp_path / "mounted")):
            (tmp_path / machine).mkdir()
            (tmp_path / machine / "store-password").write_text("a-password\n")
            (tmp_path / machine / "store-password").chmod(0o600)
            found.append(Machine(tmp_path / machine, root, cluster.url(name), vendor.base_url, stack))
        first, second = found
        first.write("config.toml", FOLDERS)
        yield first, second


def drop(root: Path, word: str, model: str, image: str) -> None:
    """Drop a set."""
    shutil.copyfile(SAMPLES / model, root / "inbox" / f"{word}{Path(model).suffix}")
    shutil.copyfile(SAMPLES / image, root / "inbox" / f"{word}{Path(image).suffix}")


def test_every_step_works(machines: Machines, vendor: Emulator) -> None:
    """Each command is run where the page says, and prints what the page says; sets are delivered all along, each paid once."""
    first, second = machines
    first.run("systemctl start rodin-watchd")
    drop(first.share, "chair", "bunny.glb", "matcap-a.png")
    first.services["rodin-watchd"].until(" archived chair ")
    printed = {}
    for step in STEPS:
        title = step.partition("\n")[0]
        here = first if "on the first machine" in title else second
        files = iter(WRITTEN.get(title[0], ()))
        for settings, line in PART.findall(step):
            if settings:
                next(files)(machines, settings)
                continue
            if line == "systemctl restart rodin-watchd":
                first.run(line)  # which stands by
            printed[title[0], line] = here.run(line)
            if line == "systemctl stop rodin-watchd" and second.services:
                second.services["rodin-watchd"].until("drop sets into")
                assert second.run("rodin-watchd health").startswith("ok: last tick")
    assert re.match(r"ok: stands by: Process \d+ on .* serves the root\.", printed["3", "rodin-watchd health"])
    assert printed["4", "rodin-watchd health"].startswith("ok: stands by: ")
    assert "convert_mesh" in printed["6", "rodin-watchd workers"]
    drop(first.share, "stool", "suzi.glb", "matcap-b.jpg")
    drop(first.share.with_name("second"), "table", "suzi.glb", "matcap-c.webp")
    owner = next(one for one in machines if not one.run("rodin-watchd health").startswith("ok: stands by"))
    owner.services["rodin-watchd"].until(" archived stool ")
    second.services["rodin-watchd@second"].until(" archived table ")
    assert list((first.share / "outbox" / "stool").glob("*.obj"))
    assert len(vendor.charges) == 3
    for machine in machines:
        for name in list(machine.services):
            machine.run(f"systemctl stop {name}")
