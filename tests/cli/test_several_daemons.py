"""Several daemons on one store, from the outside: real processes, a real PostgreSQL, the real emulator."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_stage import SAMPLES, TIMEOUT_SECONDS, Running, Stage, running
from clusters import Cluster, database
from clusters import running as running_cluster

from rodin_watchd.core.layout import MARK
from rodin_watchd.emulator.server import Emulator


class Node(Stage):
    """A daemon of one of several machines: a root that it shares with others, and a state folder of its own."""

    def __init__(self, root: Path, name: str, url: str, base_url: str) -> None:
        self.name = name
        super().__init__(root, base_url)
        keys = f'[store]\nurl = "{url}"\n[folders]\nroot = "{root}"\nstate = "{root.parent}/state-{name}"\n'
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
        assert "Nothing has moved" not in second.told("status").stdout
        assert "ok       service: Running: " in second.told("check").stdout
        begin_a_set(first, owner)
        owner.stop(number)
        standby.until(r" archived chair ")
        assert second.data("status")["daemon"]["pid"] == standby.process.pid
        assert standby.stop() == 0
    assert [job["state"] for job in second.data("list")] == ["archived"]
    assert second.data("status")["credits"]["total"] == 0.5
    assert (first.data("status")["running"], len(vendor.charges)) == (False, 1)


@pytest.fixture
def apart(tmp_path: Path, cluster: Cluster, vendor: Emulator) -> Iterator[tuple[Node, Node]]:
    """Give two daemons for one root, which the second has under a name of its own: a link to it, as a machine has a mount point."""
    with database(cluster, empty=True) as name:
        first = Node(tmp_path / "root", "a", cluster.url(name), vendor.base_url)
        (tmp_path / "mounted").symlink_to(first.root)
        yield first, Node(tmp_path / "mounted", "b", cluster.url(name), vendor.base_url)


def mounted(node: Node, share: Path) -> None:
    """Have another folder where a machine has its share."""
    node.root.unlink()
    node.root.symlink_to(share)


def test_a_standby_that_has_another_name_for_the_store_leaves_the_root_alone(
    nodes: tuple[Node, Node], vendor: Emulator
) -> None:
    """To it the folder is a copy's, and it would send nothing: it says how to write the address. A person may decide that it is no copy."""
    first, second = nodes
    second.config.write_text(second.config.read_text().replace("rodin@/", "rodin@db.example/"))
    with running(first) as owner:
        assert "write the same [store] url on each machine" in second.told("check", "--offline").stdout
        with running(second, begun=r"This one cannot: .*write the same \[store\] url on each machine") as standby:
            begin_a_set(first, owner)
            owner.stop()
            standby.until(r"Nobody serves the root\. This one cannot: ")
            assert second.told("accept", "root", "--yes").returncode == 0
            standby.until(r" archived chair ")
            assert standby.stop() == 0
    assert len(vendor.charges) == 1


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_standby_without_the_share_leaves_the_root_alone(
    apart: tuple[Node, Node], tmp_path: Path, vendor: Emulator, *, is_marked: bool
) -> None:
    """It is not mounted, or another one is; from a start on, too. It says so, and goes on with the root as soon as the share is back."""
    first, second = apart
    other = tmp_path / "other"
    (other / "inbox").mkdir(parents=True)
    if is_marked:
        shutil.copyfile(SAMPLES / "bunny.glb", other / "inbox" / "chair.glb")
        (other / MARK).write_text('id = "another"\nfolder = "root"\n')
    with running(first) as owner:
        with running(second, begun=r"standby: .* serves the root\. This one stands by") as standby:
            mounted(second, other)
            standby.until(r"standby: .* serves the root\. This one cannot: .*mounted is away")
        refused = second.told("run", "--until-idle")
        assert (refused.returncode, "is away" in refused.stderr) == (1, True)
        with running(second, begun=r"This one cannot: .*mounted is away") as standby:
            assert "is away" in second.told("health").stdout
            begin_a_set(first, owner)
            owner.stop()
            standby.until(r"standby: Nobody serves the root\. This one cannot: ")
            assert not (other / "outbox").exists()
            mounted(second, first.root)
            standby.until(r" archived chair ")
            assert standby.stop() == 0
    assert len(vendor.charges) == 1
    assert (first.root / "outbox" / "chair" / "job.toml").is_file()


NEXT_VERSION = """\
from rodin_watchd.adapters.store import postgres_schema as schema
more = "ALTER TABLE all_jobs ADD COLUMN newer TEXT; CREATE TABLE newer (id TEXT); CREATE INDEX jobs_newer ON all_jobs (newer);"
schema._MIGRATIONS = (*schema._MIGRATIONS, more)
schema.VERSION += 1
"""
"""What the next version has more: tables that an older program can go on with. Python reads this at its start."""


def upgraded(node: Node, folder: Path, more: str = "") -> None:
    """Install the next version for a daemon, for its next start; `more` is what it does to the store besides."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(NEXT_VERSION.replace("newer);", f"newer);{more}"))
    node.environment = {**node.environment, "PYTHONPATH": str(folder)}


def test_daemons_are_upgraded_one_after_the_other(
    nodes: tuple[Node, Node], cluster: Cluster, tmp_path: Path, vendor: Emulator
) -> None:
    """First the one that stands by, which brings the store up to date while the other one works; jobs are in flight all along."""
    first, second = nodes
    url = first.config.read_text().partition('url = "')[2]
    name = url.partition("@/")[2].partition("?")[0]

    def version() -> object:
        return cluster.ask("SELECT version FROM rodin_watchd.store", name)[0][0]

    with running(first) as old_owner:
        before = version()
        with running(second, begun="standby: ") as old_standby:
            begin_a_set(first, old_owner)
            assert old_standby.stop() == 0
        upgraded(second, tmp_path / "next")
        with running(second, begun="standby: ") as owner:
            assert version() == before + 1  # type: ignore[operator]
            old_owner.until(r" archived chair ")
            assert first.told("status").returncode == 0
            first.drop("stool.glb", "bunny.glb", "stool.png", "matcap-b.jpg")
            old_owner.until(r" submitted stool ")
            assert old_owner.stop() == 0
            owner.until(r" archived stool ")
            upgraded(first, tmp_path / "next")
            with running(first, begun="standby: ") as standby:
                first.drop("table.glb", "suzi.glb", "table.png", "matcap-b.jpg")
                owner.until(r" archived table ")
                assert standby.stop() == 0
            assert owner.stop() == 0
    assert [job["state"] for job in first.data("list")] == ["archived"] * 3
    assert len(vendor.charges) == 3


def test_a_version_that_others_cannot_go_on_with_waits_until_they_are_stopped(
    nodes: tuple[Node, Node], tmp_path: Path, vendor: Emulator
) -> None:
    """It changes nothing under them, and says what to do; then those of the older version are refused."""
    first, second = nodes
    upgraded(second, tmp_path / "next", " UPDATE store SET oldest = version + 1;")

    def run_newer() -> subprocess.CompletedProcess[str]:
        command = second.command("run", "--until-idle")
        return subprocess.run(
            command, env=second.environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )

    with running(first) as owner:
        refused = run_newer()
        assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
        assert f"{owner.process.pid}@" in refused.stderr
        assert "Stop all daemons of this store" in refused.stderr
        begin_a_set(first, owner)
        owner.until(r" archived chair ")
        assert owner.stop() == 0
    assert run_newer().returncode == 0
    assert "was written by a newer rodin_watchd" in first.told("run", "--until-idle").stderr
    assert len(vendor.charges) == 1


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
    assert not first.data("status")["running"]
    with running(first) as owner:
        owner.until(r" archived chair ")
        assert not any("standby" in line for line in owner.lines)
        assert owner.stop() == 0


def test_a_start_waits_for_the_database(tmp_path: Path, vendor: Emulator) -> None:
    """A machine that starts before its database: nobody has to start the service once more."""
    with running_cluster() as cluster, database(cluster, empty=True) as name:
        node = Node(tmp_path / "root", "a", cluster.url(name), vendor.base_url)
        cluster.stop()
        with running(node, begun=r"store-away: The database .* cannot be reached") as service:
            cluster.start()
            service.until("drop sets into")
            assert service.stop() == 0
