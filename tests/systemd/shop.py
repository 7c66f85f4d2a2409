"""A service on a test machine, its vendor, and the people who use it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from machine import Entry, Machine

KEY = "the-key-of-the-shop"
UNIT = "rodin-watchd.service"
SHARE = "/srv/rodin-watchd"
CONFIG = """\
[folders]
root = "{share}"
{state}
reserve_megabytes = 0
[api]
base_url = "http://127.0.0.1:8765"
[intake]
sidecar_wait_seconds = 0
quiet_seconds = 0.2
unproven_quiet_seconds = 0.2
[polling]
min_seconds = 0.1
max_seconds = 0.2
"""


@dataclass(frozen=True)
class Shop:
    """One service of a machine."""

    machine: Machine
    share: str = SHARE
    config: str = "/etc/rodin-watchd/config.toml"
    unit: str = UNIT
    state: str = "/var/lib/rodin-watchd"  # "" where the unit has none

    def furnished(self) -> Shop:
        """Write its config and its key."""
        self.machine.write(self.config, self.settings)
        self.machine.write("/etc/rodin-watchd/api-key", f"{KEY}\n", "600")
        return self

    @property
    def settings(self) -> str:
        """The config that it begins with."""
        return CONFIG.format(share=self.share, state=f'state = "{self.state}"' if self.state else "")

    def drop_in(self, text: str) -> None:
        """Change the unit as an administrator does."""
        self.machine.write(f"/run/systemd/system/{self.unit}.d/test.conf", text)
        self.machine.run("systemctl daemon-reload")

    def open_vendor(self, *options: str, generating: float = 0.0) -> None:
        """Start the emulated vendor and wait until it listens."""
        times = f"--waiting 0 --generating {generating}"
        command = f"/opt/rodin/bin/rodin-watchd emulator --port 8765 --key {KEY} {times} {' '.join(options)}"
        self.machine.run(f"systemd-run --quiet --unit=vendor --setenv=PYTHONUNBUFFERED=1 {command}")
        self.machine.diary.until(
            lambda line: line.get("_SYSTEMD_UNIT") == "vendor.service" and "8765" in line["MESSAGE"]
        )

    def start(self) -> int:
        """Start the service; return its process id."""
        self.machine.run(f"systemctl start {self.unit}")
        return self.pid

    @property
    def pid(self) -> int:
        """The process of now."""
        return int(self.machine.property(self.unit, "MainPID"))

    def drop(self, name: str) -> None:
        """Drop a set into the inbox, as a member of the group does."""
        inbox = f"{self.share}/inbox"
        copies = f"cp /opt/samples/matcap-a.png {inbox}/{name}.png && cp /opt/samples/pmndrs.glb {inbox}/{name}.glb"
        self.machine.run(f"runuser -u ann -- sh -c '{copies}'")

    def hire(self, name: str = "ann") -> None:
        """Make a person a member of the group."""
        self.machine.run(f"useradd --create-home --groups rodin-watchd --shell /bin/sh {name}")

    def heard(self, action: str, mark: int = 0) -> Entry:
        """Wait until the service logs an action."""
        return self.machine.diary.until(
            lambda line: line.get("ACTION") == action and line.get("_SYSTEMD_UNIT") == self.unit, mark
        )

    def manager_said(self, words: str, mark: int = 0) -> Entry:
        """Wait until systemd logs something about the service."""
        return self.machine.diary.until(lambda line: line.get("UNIT") == self.unit and words in line["MESSAGE"], mark)

    def charges(self) -> int:
        """Return how many tasks the vendor has charged."""
        command = f"RODIN_API_KEY={KEY} rodin-watchd balance --json --config {self.config}"
        balance = json.loads(self.machine.run(command))
        return round((100 - float(balance["credits"])) / 0.5)

    def receipt(self, name: str) -> str:
        """Return the receipt of a delivered set."""
        return self.machine.run(f"cat {self.share}/outbox/{name}/job.toml")
