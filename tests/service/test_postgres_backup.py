"""A store in a database and the folders of its roots, restored from backups: only one of them, or both. Real pg_dump and pg_restore."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from clusters import Cluster
from test_postgres_service import Shop
from workshop import Vendor, emulated

from rodin_watchd.errors import FencedError, JournalError, JournalRolledBackError, UnknownRootError
from rodin_watchd.model import State


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """Give a vendor of one's own."""
    with emulated() as found:
        yield found


def run(cluster: Cluster, program: str, url: str, backup: Path) -> None:
    """Run one of PostgreSQL's programs, as docs/postgres.md has it."""
    page = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text()
    [line] = re.findall(rf"^    ({program} .*)$", page, re.MULTILINE)
    line = line.replace("postgresql://rodin@db.example/rodin", shlex.quote(url)).replace("store.dump", str(backup))
    subprocess.run([cluster.programs / program, *shlex.split(line)[1:]], check=True)


def dump(cluster: Cluster, url: str, to: Path) -> None:
    """Make a backup of the store."""
    run(cluster, "pg_dump", url, to)


def restore(cluster: Cluster, url: str, backup: Path) -> None:
    """Put it back."""
    run(cluster, "pg_restore", url, backup)


@pytest.fixture
def made(tmp_path: Path, vendor: Vendor, url: str) -> Iterator[Callable[[str], Shop]]:
    """Give what makes a root with a daemon that has a state folder of its own; those that still run are ended."""
    with ExitStack() as stack:

        def make(name: str) -> Shop:
            root = tmp_path / name
            (root / "inbox").mkdir(parents=True)
            state = {"state": str(tmp_path / f"state-{name}")}
            shop = Shop(root, vendor.emulator.base_url, {"store": {"url": url}, "folders": state})
            stack.callback(shop.crash)
            return shop

        yield make


def taken(shop: Shop, word: str) -> None:
    """Have a set taken, and end the daemon before anything was sent."""
    shop.start()
    shop.drop_set(word)
    shop.until(lambda: bool(shop.jobs()))
    shop.crash()


def worked(shop: Shop) -> Shop:
    """Let a daemon work until nothing moves."""
    shop.start()
    shop.ticks(30, step_seconds=2)
    shop.idle()
    return shop


def test_only_the_store_comes_back(
    tmp_path: Path, vendor: Vendor, cluster: Cluster, url: str, made: Callable[[str], Shop]
) -> None:
    """What a root may have paid for since is held there, by its count of submits; a root that has sent nothing since goes on."""
    one, two = made("one"), made("two")
    taken(one, "stool")
    two.told("store", "add-root")
    taken(two, "table")
    dump(cluster, url, tmp_path / "backup")
    worked(one).crash()
    assert vendor.charges == 1
    restore(cluster, url, tmp_path / "backup")
    assert "restored" in worked(one).event_kinds()
    one.drop_set("lamp")
    one.idle()
    assert "restored" not in worked(two).event_kinds()
    assert one.states()["stool"] in {State.HELD, State.FAILED}
    assert (one.states()["lamp"], two.states()["table"]) == (State.ARCHIVED, State.ARCHIVED)
    assert vendor.charges == 3
    one.assert_nothing_lost()
    two.assert_nothing_lost()


def test_a_store_that_comes_back_under_a_daemon_ends_it(
    tmp_path: Path, vendor: Vendor, cluster: Cluster, url: str, made: Callable[[str], Shop]
) -> None:
    """Its fence is an older one, or the same: it stores nothing there, and the next start finds out what may have been paid for."""
    shop = made("one")
    shop.start()
    shop.drop_set("stool")
    shop.until(lambda: bool(shop.jobs()))
    dump(cluster, url, tmp_path / "backup")
    shop.idle()
    restore(cluster, url, tmp_path / "backup")
    shop.drop_set("chair")
    with pytest.raises((JournalRolledBackError, FencedError)):
        shop.ticks(50, step_seconds=2)
    assert vendor.charges == 1
    shop.crash()
    assert "restored" in worked(shop).event_kinds()
    assert shop.states()["stool"] in {State.HELD, State.FAILED}
    assert shop.states()["chair"] is State.ARCHIVED
    assert vendor.charges == 2


def test_a_store_that_is_older_than_a_root_does_not_serve_it(
    tmp_path: Path, vendor: Vendor, cluster: Cluster, url: str, made: Callable[[str], Shop]
) -> None:
    """It does not know what was paid for there; a person decides, and then nothing is paid for that the root has."""
    one, two = made("one"), made("two")
    worked(one)
    dump(cluster, url, tmp_path / "backup")
    two.told("store", "add-root")
    two.start()
    two.drop_set("table")
    two.until(two.is_in("table", State.SUBMITTED))
    two.rest()
    two.crash()
    one.crash()
    restore(cluster, url, tmp_path / "backup")
    worked(one)
    with pytest.raises(UnknownRootError) as unknown:
        two.start()
    assert "rodin-watchd store add-root" in unknown.value.advice_in_full
    two.told("store", "add-root")
    with pytest.raises(JournalError, match="used before") as emptied:
        two.start()
    assert "rodin-watchd accept root" in emptied.value.advice_in_full
    two.told("accept", "root", "--yes")
    worked(two).restart()
    assert {name.partition("-")[0] for name in two.found("failed")} == {"set"}
    assert not two.jobs()
    assert vendor.charges == 1


def missing(shop: Shop) -> list[str]:
    """Return which results are missing, by the command that docs/nodes.md has for it."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    page = (Path(__file__).parents[2] / "docs" / "nodes.md").read_text()
    [line] = re.findall(r"^    (rodin-watchd list .*)$", page, re.MULTILINE)
    line = line.replace("/srv/rodin-watchd", str(shop.root)).replace(
        "rodin-watchd list", f"{sys.executable} -m rodin_watchd list"
    )
    environ = {**os.environ, "RODIN_WATCHD_CONFIG": str(shop.root / "config.toml")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("then", [State.DOWNLOADED, State.ARCHIVED])
@pytest.mark.parametrize("was", [None, State.SUBMITTED])
def test_only_the_folders_come_back(
    tmp_path: Path, vendor: Vendor, made: Callable[[str], Shop], was: State | None, then: State
) -> None:
    """As they were before the set was taken, or when it was paid for; the job has gone on since. It is paid once, no file is lost.

    What was delivered since is not in the folders any more, of course: what is still under way is delivered.
    """
    shop = made("root")
    shop.start()
    shop.drop_set("stool")
    shop.idle()
    shop.drop_set("chair")
    if was:
        shop.until(shop.is_in("chair", was))
        shop.rest()
    shop.crash()
    shutil.copytree(shop.root, tmp_path / "share", symlinks=True)
    shop.start()
    shop.until(shop.is_in("chair", then))
    shop.crash()
    shutil.rmtree(shop.root)
    shutil.copytree(tmp_path / "share", shop.root, symlinks=True)
    worked(shop).restart()
    assert vendor.charges == 2
    assert shop.states()["stool"] is State.ARCHIVED
    assert State.ARCHIVED in {job.state for job in shop.jobs() if job.name == "chair"}
    assert shop.event_kinds().count("root-restored") == (was is None and then is State.ARCHIVED)
    assert ("chair/job.toml" in shop.found("outbox")) == (then is State.DOWNLOADED)
    assert missing(shop) == ([] if then is State.DOWNLOADED else ["outbox/chair"])
    assert any(name.endswith("chair.obj") for folder in ("failed", "archive") for name in shop.found(folder))
