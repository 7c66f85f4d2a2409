"""Several daemons on one store, from the outside: real processes, a real PostgreSQL, the real emulator."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_stage import Running, Stage, running
from clusters import Cluster, database

from rodin_watchd.emulator.server import Emulator


class Node(Stage):
    """A daemon of one of several machines: a root that it shares with others, and a state folder of its own."""

    def __init__(self, root: Path, name: str, url: str, base_url: str) -> None:
        self.name = name
        super().__init__(root, base_url)
        keys = f'[store]\nurl = "{url}"\n[folders]\nroot = "{root}"\nstate = "{root}/../state-{name}"\n'
        self.config.write_text(self.config.read_text() + keys)

    @property
    def config(self) -> Path:
        """The config file, in a place of this machine."""
        return self.root.with_name(f"{self.root.name}-{self.name}.toml")


@pytest.fixture
def nodes(tmp_path: Path, cluster: Cluster, vendor: Emulator) -> Iterator[tuple[Node, Node]]:
    """Give two daemons for one root."""
    with database(cluster, empty=True) as name:
        first, second = (Node(tmp_path / "root", which, cluster.url(name), vendor.base_url) for which in ("a", "b"))
        yield first, second


def begin_a_set(node: Node, service: Running) -> None:
    """Drop a set, and return when it was paid for."""
    node.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    service.until(r" submitted chair ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_standby_goes_on_with_what_was_paid_for(
    nodes: tuple[Node, Node], vendor: Emulator, number: signal.Signals
) -> None:
    """It waits, says so, and takes the root over when the other one ends, in order or not. Nothing is paid twice."""
    first, second = nodes
    with running(first) as owner, running(second, begun=rf"standby: Process {owner.process.pid} on ") as standby:
        assert second.told("health").stdout.startswith("ok: stands by: ")
        assert first.data("status")["daemon"] == second.data("status")["daemon"]
        assert second.data("status")["daemon"]["pid"] == owner.process.pid
        begin_a_set(first, owner)
        owner.stop(number)
        standby.until(r" archived chair ")
        assert second.data("status")["daemon"]["pid"] == standby.process.pid
        assert standby.stop() == 0
    assert [job["state"] for job in second.data("list")] == ["archived"]
    assert second.data("status")["credits"]["total"] == 0.5
    assert (first.data("status")["running"], len(vendor.charges)) == (False, 1)


def test_two_daemons_with_one_state_folder_are_refused(nodes: tuple[Node, Node]) -> None:
    """The second has to have its own; the first is not disturbed."""
    first, second = nodes
    with running(first) as owner:
        second.config.write_text(first.config.read_text())
        refused = second.told("run", "--until-idle")
        assert refused.returncode == 1
        assert "state" in refused.stderr
        assert owner.stop() == 0


def test_a_restart_goes_on_at_once(nodes: tuple[Node, Node]) -> None:
    """The process that had the root is known to have ended: nobody waits for its lease."""
    first, _ = nodes
    with running(first) as owner:
        begin_a_set(first, owner)
        owner.stop(signal.SIGKILL)
    with running(first) as owner:
        owner.until(r" archived chair ")
        assert not any("standby" in line for line in owner.lines)
        assert owner.stop() == 0
