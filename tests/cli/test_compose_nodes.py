"""compose.nodes.yaml: its services are started as processes, with the commands, the environment and the volumes of the file."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]
from cli_stage import CONFIG, KEY, PROGRAM, SAMPLES, Running, environment
from clusters import ROLE, Cluster, programs
from clusters import running as running_cluster

from rodin_watchd.emulator.server import Emulator

PROJECT = Path(__file__).parents[2]
FILE = yaml.safe_load((PROJECT / "compose.nodes.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = FILE["services"]
OURS: Final = {name: service for name, service in SERVICES.items() if service["image"] == "rodin-watchd"}
SECRETS: Final = {
    "rodin-api-key": KEY,
    "rodin-store-password": "a-password",
    "rodin-web-token": "a-token-of-enough-letters",
}
BEGUN: Final = {"run": r'"action": ?"(watching|standby)"', "worker": r'"action": ?"worker"'}


def containerfile(word: str) -> str:
    """Return what the Containerfile says at last for a word, on one line."""
    text = (PROJECT / "Containerfile").read_text().replace("\\\n", " ")
    return str(re.findall(rf"^{word} (.*)$", text, re.MULTILINE)[-1])


def of_image() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(word.split("=", 1) for word in containerfile("ENV").split() if not word.startswith("PATH="))


def settings() -> str:
    """Return the configuration that docs/several-machines.md has for the file."""
    text = (PROJECT / "docs" / "several-machines.md").read_text().partition("\n## Containers\n")[2]
    found = re.search(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@dataclass
class Containers:
    """What the file starts, in a folder in which each volume is a folder."""

    folder: Path
    database: dict[str, str]  # how libpq finds the server named `database`
    port: int

    def inside(self, service: str, text: str) -> str:
        """Return a text with the paths inside of a container as they are here."""
        places = {"/run/secrets": str(self.folder / "secrets" / service)}
        for volume in SERVICES[service]["volumes"]:
            source, target, *_ = volume.split(":")
            places[target] = str(self.folder / source.removeprefix("./"))
        config = places.pop("/etc/rodin-watchd/config.toml")
        for place, here in {"/etc/rodin-watchd/config.toml": f"{config}.{service}", **places}.items():
            text = text.replace(place, here)
        return text

    def prepare(self, service: str, base_url: str) -> None:
        """Give a container its configuration, its state and its secrets."""
        (self.folder / "secrets" / service).mkdir(parents=True)
        for name in SERVICES[service]["secrets"]:
            secret = self.folder / "secrets" / service / name
            secret.write_text(f"{SECRETS[name]}\n")
            secret.chmod(0o400)
        told = self.inside(service, settings()).replace("0.0.0.0:8770", f"127.0.0.1:{self.port}")
        config = Path(self.inside(service, of_image()["RODIN_WATCHD_CONFIG"]))
        config.write_text(told + CONFIG.format(base_url=base_url))

    def environment(self, service: str) -> dict[str, str]:
        """Return the environment of a container."""
        assert "environment" not in SERVICES[service]
        image = {name: self.inside(service, value) for name, value in of_image().items()}
        return environment(**image, **self.database)

    def command(self, service: str) -> list[str]:
        """Return what a container runs."""
        default = re.findall(r'"([^"]+)"', containerfile("CMD"))
        assert containerfile("ENTRYPOINT") == '["rodin-watchd"]'
        return [*PROGRAM, *SERVICES[service].get("command", default)]

    def told(self, service: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container."""
        return subprocess.run(
            [*PROGRAM, *words], env=self.environment(service), capture_output=True, text=True, check=False, timeout=60
        )

    def start(self, service: str, stack: contextlib.ExitStack) -> Running:
        """Start a container's command; return when it works."""
        process = stack.enter_context(
            subprocess.Popen(
                self.command(service),
                env=self.environment(service),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(process.kill)
        found = Running(process)
        if begun := BEGUN.get(self.command(service)[len(PROGRAM)]):
            found.until(begun)
        return found


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, int]]:
    """Give a server of one's own that listens on a port, as the one in the container, with the file's database."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    wanted = SERVICES["database"]["environment"]
    assert wanted["POSTGRES_USER"] == ROLE
    assert "--encoding=UTF8" in wanted["POSTGRES_INITDB_ARGS"]
    with running_cluster() as found:
        port = free_port()
        found.ask(f"CREATE DATABASE {wanted['POSTGRES_DB']} TEMPLATE template0")
        for setting in ("listen_addresses = '127.0.0.1'", f"port = {port}"):
            found.ask(f"ALTER SYSTEM SET {setting}")
        found.stop()
        found.start()
        yield found, port


def test_what_the_file_starts_works(tmp_path: Path, cluster: tuple[Cluster, int], vendor: Emulator) -> None:
    """One daemon serves, one stands by, a worker converts the result, the page shows it; and all that when the owner has stopped."""
    found, port = cluster
    test, *words = SERVICES["database"]["healthcheck"]["test"]
    reached = {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(port)}
    assert test == "CMD"
    probe = subprocess.run([found.programs / words[0], *words[1:]], env={**os.environ, **reached}, check=False)
    assert probe.returncode == 0
    containers = Containers(tmp_path, reached, free_port())
    for volume in (*FILE["volumes"], "share/inbox"):
        (tmp_path / volume).mkdir(parents=True)
    for service in OURS:
        containers.prepare(service, vendor.base_url)
    with contextlib.ExitStack() as stack:
        services = {service: containers.start(service, stack) for service in OURS}
        owner, standby = services["watch-a"], services["watch-b"]
        for service in ("watch-a", "watch-b"):
            health = containers.told(service, *SERVICES[service]["healthcheck"]["test"][2:])
            assert (health.returncode, health.stdout[:3]) == (0, "ok:"), service
        assert "stands by" in containers.told("watch-b", "health").stdout
        for word in ("chair", "stool"):
            for suffix, sample in (
                (".glb", "bunny.glb"),
                (".png", "matcap-a.png" if word == "chair" else "matcap-c.webp"),
            ):
                (tmp_path / "share" / "inbox" / f"{word}{suffix}").write_bytes((SAMPLES / sample).read_bytes())
            daemon = owner if word == "chair" else standby
            daemon.until(rf'"archived", ?.*{word}|{word}.*"archived"')
            assert list((tmp_path / "share" / "outbox" / word).glob("*.obj"))
            if daemon is owner:
                assert owner.stop() == 0
        workers = containers.told("page", "workers").stdout
        assert workers.count("convert_mesh") == len([name for name in OURS if name.startswith("worker-")])
        with urllib.request.urlopen(f"http://127.0.0.1:{containers.port}/login", timeout=30) as page:
            assert page.status == 200
        for service in set(OURS) - {"watch-a", "page"}:
            assert services[service].stop() == 0, service
    assert len(vendor.charges) == 2


def test_each_has_a_name_and_a_state_of_its_own() -> None:
    """Two daemons with one state folder, or one name, would be one daemon. Nobody but a daemon has the vendor's key."""
    assert len({service["hostname"] for service in OURS.values()}) == len(OURS)
    state = of_image()["STATE_DIRECTORY"]
    states = [volume for service in OURS.values() for volume in service["volumes"] if volume.endswith(f":{state}")]
    assert len(set(states)) == len(OURS)
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert {name for name in named if not name.startswith("./")} == FILE["volumes"].keys()
    assert {name for name, one in OURS.items() if "rodin-api-key" in one["secrets"]} == {"watch-a", "watch-b"}
    assert (
        {secret for one in SERVICES.values() for secret in one["secrets"]} == FILE["secrets"].keys() == SECRETS.keys()
    )


def test_the_walls_are_those_of_one_container() -> None:
    """What compose.yaml says about rights, each of our services has."""
    [alone] = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"].values()
    for name, service in OURS.items():
        for key in ("user", "read_only", "cap_drop", "security_opt", "pids_limit", "tmpfs", "init", "restart", "build"):
            assert service[key] == alone[key], f"{name}: {key}"
        assert service["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert SERVICES["watch-a"]["healthcheck"] == SERVICES["watch-b"]["healthcheck"] == alone["healthcheck"]
    assert SERVICES["watch-a"]["stop_grace_period"] == alone["stop_grace_period"]
