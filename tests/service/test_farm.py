"""Plugins on the farm: a daemon on a real PostgreSQL, and real workers, which are killed, stopped, and come back late."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from clusters import database, running
from farm_stage import CONVERT, SLOW, data_of, farm, page_of, receipt_of
from moto.server import ThreadedMotoServer
from workshop import Vendor, emulated, workshop

from rodin_watchd.adapters.metrics import Metrics
from rodin_watchd.config import load_config
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.farm import MOST_LOST
from rodin_watchd.errors import ConfigError
from rodin_watchd.model import State
from rodin_watchd.service.commands import SEEN
from rodin_watchd.service.status import FARM_IN_SHORT


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """Give a vendor of one's own."""
    with emulated() as found:
        yield found


def test_a_set_is_converted_by_a_worker(
    tmp_path: Path, vendor: Vendor, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the plugin made there is published; its output and facts are recorded as those of a plugin of the daemon."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with (
        closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager,
        farm(tmp_path, vendor, url, CONVERT, {"word": "daemon's"}) as there,
    ):
        manager.bind(str(tmp_path / "notify"))
        worker = there.work("one")
        there.shop.drop_set("chair")
        there.until_idle()
        assert there.shop.states() == {"chair": State.ARCHIVED}
        assert there.shop.path("outbox/chair/made.txt").read_text().startswith("one [")
        told = receipt_of(there)
        assert told["plugins"]["plug"] == {"worker": "one", "word": "daemon's"}
        assert "made.txt" in {result["name"] for result in told["results"]}
        [run] = there.shop.store.runs_of([there.shop.job("chair").id])
        assert (run.hook, run.outcome, run.output.strip()) == ("rodin_process", "done", "working")
        assert there.notes() == ["one begins", "one done"]
        assert not (there.shop.root / ".rodin-watchd" / "work" / there.shop.job("chair").id).exists()
        assert there.ask("SELECT count(*) FROM rodin_watchd_farm.procrastinate_jobs") == [(0,)]
        assert [request for (request,) in there.ask("SELECT request FROM rodin_watchd.farm_calls")] in ([], [""])
        assert worker.end(signal.SIGTERM) == 0
        manager.setblocking(False)
        said = []
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(manager.recv(1000).decode())
        assert "READY=1" in said
        assert any(message.startswith("STATUS=queues heavy: ") for message in said)
        assert "STOPPING=1" in said


def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """Another one makes the call again, with the same event id; the set is delivered once, and paid once."""
    with farm(tmp_path, vendor, url, SLOW) as there:
        first = there.work("one")
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        first.end(signal.SIGKILL)
        there.work("two")
        there.let("two")
        there.until_idle()
        assert there.shop.path("outbox/chair/made.txt").read_text() == "two"
        assert there.notes() == ["one begins", "two begins", "two done"]
        assert (there.shop.states(), vendor.charges) == ({"chair": State.ARCHIVED}, 1)
        [run] = there.shop.store.runs_of([there.shop.job("chair").id])
        assert (run.outcome, run.attempts) == ("done", 1)


def test_what_a_stopped_worker_makes_comes_too_late(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """While it is silent another one makes the call; when it comes back its result is discarded, and its files are removed."""
    with farm(tmp_path, vendor, url, SLOW) as there:
        first = there.work("one")
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        first.send(signal.SIGSTOP)
        there.work("two")
        there.until(lambda: "two begins" in there.notes())  # the first is taken for dead
        there.let("one")
        first.send(signal.SIGCONT)
        there.until(lambda: "came too late, and is discarded" in first.told())
        assert "one done" in there.notes()
        assert there.shop.states() == {"chair": State.DOWNLOADED}
        work = there.shop.root / ".rodin-watchd" / "work" / there.shop.job("chair").id
        assert [path.name for path in work.glob("farm-*-*")] == []
        there.let("two")
        there.until_idle()
        assert there.shop.path("outbox/chair/made.txt").read_text() == "two"
        assert first.process.poll() is None  # it goes on, and takes the next call
        assert receipt_of(there)["plugins"]["plug"] == {"worker": "two"}


def test_a_call_that_hangs_is_ended_as_on_the_daemons_machine(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """The limits of the daemon's configuration hold at the worker: time, disk."""
    with farm(tmp_path, vendor, url, SLOW, {"timeout_seconds": 1}) as there:
        there.work("one")
        there.shop.drop_set("chair")
        there.until_idle()
        assert "took longer than 1 seconds" in receipt_of(there)["plugins"]["plug"]["failed"]
        assert there.notes().count("one begins") == there.shop.config.plugins.tries
        assert not there.shop.path("outbox/chair/made.txt").exists()


GREEDY = """
@hookimpl
def rodin_process(job, directory):
    (directory / "big").write_bytes(bytes(3_000_000))
    time.sleep(30)
"""


def test_a_greedy_call_is_ended(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """What it writes at the worker counts."""
    with farm(tmp_path, vendor, url, GREEDY, {"disk_megabytes": 2}) as there:
        there.work("one")
        there.shop.drop_set("chair")
        there.until_idle()
        assert "2 MB" in receipt_of(there)["plugins"]["plug"]["failed"]


def test_a_daemon_that_is_started_again_waits_for_the_same_call(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """It finds the call under way, also one that ended meanwhile, and has nothing made a second time."""
    with farm(tmp_path, vendor, url, SLOW) as there:
        there.work("one")
        for name in ("chair", "table"):
            there.shop.drop_set(name)
            there.until(lambda: there.notes().count("one begins") == 1)
            there.shop.crash()
            if name == "table":
                there.let("one")  # it ends while nobody waits
                there.ask("SELECT 1")
            there.shop.start()
            there.let("one")
            there.until_idle()
            assert there.notes() == ["one begins", "one done"]
            assert there.shop.path(f"outbox/{name}/made.txt").read_text() == "one"
            (tmp_path / "log").unlink()
            (tmp_path / "go-one").unlink()


def test_a_daemon_that_takes_the_root_over_waits_for_the_same_call(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """It has a state folder of its own; the call that the other one has asked for is its own now."""
    with farm(tmp_path, vendor, url, SLOW) as there:
        there.work("one")
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        there.shop.crash()
        config = there.shop.root / "config.toml"
        config.write_text(f'{config.read_text()}\n[folders]\nstate = "{tmp_path / "other"}"\n')
        there.shop.config = load_config(config)
        there.shop.start()
        there.let("one")
        there.until_idle()
        assert there.notes() == ["one begins", "one done"]
        assert there.shop.path("outbox/chair/made.txt").read_text() == "one"
        assert vendor.charges == 1


def test_a_stop_does_not_wait_for_workers(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """Whoever waits for a call is let go at once; the job is as it was."""
    with farm(tmp_path, vendor, url, SLOW) as there:
        there.work("one")
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        assert there.shop.daemon.drain(30.0)
        there.shop.crash()
        there.shop.start()
        assert there.shop.states() == {"chair": State.DOWNLOADED}
        there.let("one")
        there.until_idle()
        assert there.notes() == ["one begins", "one done"]


def test_a_worker_that_stops_gives_its_call_back(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """At SIGTERM it takes nothing more; what does not end in time another one makes, at once."""
    with farm(tmp_path, vendor, url, SLOW) as there:
        first = there.work("one")
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        assert first.end(signal.SIGTERM) == 0
        assert "is given back" in first.told()
        assert there.ask("SELECT state, attempt, lost FROM rodin_watchd.farm_calls") == [("waiting", 2, 0)]
        assert data_of(there)["workers"] == []
        there.let("two")
        there.work("two")
        there.until_idle()
        assert there.shop.path("outbox/chair/made.txt").read_text() == "two"


def test_without_a_worker_people_read_why_nothing_moves(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """STATUS.txt, `status` and `workers` say how long it waits, and what to start."""
    with farm(tmp_path, vendor, url, CONVERT) as there:
        there.shop.drop_set("chair")
        there.until(lambda: "waits for a worker since" in there.shop.status())
        said = " ".join(there.shop.status().split())
        assert "A call of the plugin plug waits for a worker since" in said
        assert "No worker is there. Start one: `rodin-watchd worker --queues heavy`." in said
        assert FARM_IN_SHORT in " ".join(there.shop.page().split())
        assert "No worker is there" in there.shop.told("status")
        assert "queue heavy: 1 waiting" in there.shop.told("workers")
        assert "plug runs on the farm, at workers of the queue heavy" in there.shop.told("plugins", "check")
        there.work("other", queues="light")
        there.until(lambda: "No worker serves the queue heavy" in " ".join(there.shop.status().split()))
        there.work("one")
        there.until_idle()
        there.until(lambda: "waits for a worker" not in there.shop.status())
        assert there.shop.states() == {"chair": State.ARCHIVED}


def test_another_version_of_the_plugin_takes_no_call(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """The worker says what differs and what to do; a worker with the same one takes the call."""
    with farm(tmp_path, vendor, url, CONVERT) as there:
        other = tmp_path / "other-plugins"
        other.mkdir(mode=0o755)
        (other / "plug.py").write_text((tmp_path / "plugins" / "plug.py").read_text() + "# another one\n")
        odd = there.work("odd", plugins={"folders": [str(other)]})
        there.shop.drop_set("chair")
        there.until(lambda: "has another version of the plugin plug" in there.shop.status())
        there.until(lambda: "refused: calls of the plugin plug" in odd.told())
        assert "Install the same one here" in odd.told()
        there.work("one")
        there.until_idle()
        assert there.notes() == ["one begins", "one done"]


def test_a_call_that_waits_for_another_version_is_asked_for_once_more(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """The plugin was changed on the daemon's machine and the workers' while it waited: it does not wait for the old one for ever."""
    with farm(tmp_path, vendor, url, CONVERT) as there:
        there.shop.drop_set("chair")
        there.until(lambda: "waits for a worker since" in there.shop.status())
        there.shop.crash()
        with (tmp_path / "plugins" / "plug.py").open("a") as file:
            file.write("# the next version\n")
        there.shop.start()
        there.work("one")
        there.until_idle()
        assert there.notes() == ["one begins", "one done"]


@contextmanager
def farm_elsewhere(tmp_path: Path, vendor: Vendor) -> Iterator[Path]:
    """Give the root of another installation."""
    root = tmp_path / "elsewhere"
    root.mkdir()
    with workshop(root, vendor.emulator.base_url):
        yield root


def test_another_share_is_refused(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """A worker with the root of another installation ends with what to do; one whose share is not mounted waits for it."""
    with farm(tmp_path, vendor, url, CONVERT) as there, farm_elsewhere(tmp_path, vendor) as other_root:
        wrong = there.work("wrong", folders={"root": str(other_root)})
        assert wrong.process.wait(40) == 2
        assert "is the root of another installation" in wrong.told()
        assert "Mount the same share there" in wrong.told()
        bare = tmp_path / "mount"
        bare.mkdir()
        config = there.config_of("none", folders={"root": str(bare)})
        config.write_text(config.read_text().replace("state = ", "# state = "))
        assert there.start("none", "heavy", config).process.wait(40) == 2
        assert list(bare.iterdir()) == []  # nothing is written where the share is to be mounted
        waits = there.work("one", folders={"root": str(bare)})
        there.until(lambda: "mount the share there" in waits.told())
        bare.rmdir()
        bare.symlink_to(there.shop.root)
        there.shop.drop_set("chair")
        there.until_idle()
        assert there.notes() == ["one begins", "one done"]


NEEDY = """
@hookimpl
def rodin_configure(settings):
    if os.environ.get("WORKER") == "bare":
        raise FileNotFoundError("Blender is missing")
"""


def test_a_machine_where_the_plugin_cannot_work_takes_no_calls(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """It fails none of them: it gives the first one back, and people read what is missing there."""
    with farm(tmp_path, vendor, url, NEEDY + CONVERT) as there:
        bare = there.work("bare")
        there.shop.drop_set("chair")
        there.until(lambda: "The plugin plug cannot be used on" in there.shop.status())
        assert "Blender is missing" in there.shop.status()
        assert "is given back, for another worker" in bare.told()
        there.work("one")
        there.until_idle()
        assert there.notes() == ["one begins", "one done"]
        assert bare.process.poll() is None


ANNOUNCES = """
@hookimpl
def rodin_accept(fileset, directory):
    note(f"accept {sorted(p.name for p in directory.iterdir())}")
    return "no drafts" if "draft" in fileset.name else None

@hookimpl
def rodin_delivered(job, directory, event):
    note(f"delivered {(directory / 'job.toml').exists()} {event.id == f'{job.id}.0.rodin_delivered' or event.id}")
"""


def test_every_hook_may_be_called_there(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """A set is refused by a worker, before it is paid; a delivery is announced by one, with a copy of the result, and again by `rerun`."""
    with farm(tmp_path, vendor, url, ANNOUNCES) as there:
        there.work("one")
        there.shop.drop_set("draft")
        there.until_idle()
        assert (there.shop.states(), vendor.charges) == ({"draft": State.FAILED}, 0)
        there.shop.drop_set("chair")
        there.until_idle()
        told = [line for line in there.notes() if "delivered" in line]
        assert len(told) == 1
        assert told[0].startswith("one delivered True ")
        job = there.shop.job("chair")
        number = there.shop.leave("rerun", job=job.id, plugin="", **{SEEN: Seen.of(job).as_data()})
        answer = there.shop.answer_to(number)
        assert answer["ok"], answer
        there.until(lambda: there.notes().count(told[0]) == 2)


LOCAL = """
from rodin_watchd.v1 import hookimpl
from pathlib import Path
from typing import Any

@hookimpl
def rodin_failed(job, directory):
    Path({log!r}).write_text("told")
"""


def test_who_waits_for_workers_holds_nobody_up(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """Many sets wait for a worker that is not there; others fail meanwhile, and a plugin of the daemon announces it."""
    folder = tmp_path / "here"
    folder.mkdir(mode=0o755)
    (folder / "local.py").write_text(LOCAL.format(log=str(tmp_path / "told")))
    plugins = {"folders": [str(folder), str(tmp_path / "plugins")], "workers": 1}
    with farm(tmp_path, vendor, url, CONVERT, plugins=plugins, farm={"calls": 3}) as there:
        for number in range(8):
            there.shop.drop_set(f"chair{number}")
        there.until(lambda: there.ask("SELECT count(*) FROM rodin_watchd.farm_calls") == [(4,)])
        there.shop.drop_set("broken", "sed = 7\n")
        there.until((tmp_path / "told").exists)
        assert there.ask("SELECT count(*) FROM rodin_watchd.farm_calls") == [(4,)]  # so many at once
        there.work("one")
        there.until_idle()
        assert vendor.charges == 8


def test_a_database_that_comes_back_is_used_again(tmp_path: Path, vendor: Vendor) -> None:
    """Daemon and worker wait for it; the call goes on, and nothing is made twice."""
    patient: dict[str, dict[str, Any]] = {"farm": {"silent_seconds": 20}}
    with ExitStack() as stack:
        cluster = stack.enter_context(running())
        url = cluster.url(stack.enter_context(database(cluster, empty=True)))
        there = stack.enter_context(farm(tmp_path, vendor, url, SLOW, None, **patient))
        worker = there.work("one", "heavy", **patient)
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        cluster.stop()
        there.shop.ticks(5, step_seconds=0.5)
        cluster.start()
        there.let("one")
        there.until_idle()
        assert there.shop.states() == {"chair": State.ARCHIVED}
        assert there.notes() == ["one begins", "one done"]
        assert worker.process.poll() is None


def test_a_call_that_takes_every_worker_with_it_is_given_up(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """After some workers were lost it fails, as a plugin that crashes; the result is delivered without its work."""
    with farm(tmp_path, vendor, url, SLOW, None, plugins={"tries": 1}) as there:
        there.shop.drop_set("chair")
        for number in range(MOST_LOST + 1):
            worker = there.work(f"w{number}")
            there.until(partial(there.has_notes, number + 1))
            worker.end(signal.SIGKILL)
        there.until_idle()
        assert "were lost, one after the other" in receipt_of(there)["plugins"]["plug"]["failed"]
        assert there.shop.states() == {"chair": State.ARCHIVED}


RIGHTS = """
CREATE ROLE hand LOGIN;
GRANT USAGE ON SCHEMA rodin_watchd, rodin_watchd_farm TO hand;
GRANT SELECT, UPDATE ON rodin_watchd.farm_calls TO hand;
GRANT SELECT ON rodin_watchd.farm_roots TO hand;
GRANT SELECT, INSERT, DELETE ON rodin_watchd.farm_workers TO hand;
GRANT ALL ON ALL TABLES IN SCHEMA rodin_watchd_farm TO hand;
GRANT ALL ON ALL SEQUENCES IN SCHEMA rodin_watchd_farm TO hand;
"""


def test_a_worker_needs_few_rights(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """The statements of docs/farm.md are enough: a worker sees no job, no purchase and no key, and changes none."""
    documented = " ".join((Path(__file__).parents[2] / "docs" / "farm.md").read_text().split())
    statements = [line.removesuffix(";").replace(" hand", " worker") for line in RIGHTS.strip().splitlines()]
    assert [line for line in statements[1:] if line not in documented] == []
    with farm(tmp_path, vendor, url, SLOW) as there:
        there.until(
            lambda: there.ask("SELECT to_regclass('rodin_watchd_farm.procrastinate_jobs') IS NOT NULL") == [(True,)]
        )
        there.ask(RIGHTS)
        hand = url.replace("rodin@", "hand@")
        try:
            there.work("one", store={"url": hand})
            there.shop.drop_set("chair")
            there.until(lambda: there.notes() == ["one begins"])
            with psycopg.connect(hand) as found, pytest.raises(psycopg.errors.InsufficientPrivilege):
                found.execute("SELECT * FROM rodin_watchd.all_jobs")
            there.let("one")
            there.until_idle()
            assert there.shop.path("outbox/chair/made.txt").read_text() == "one"
        finally:
            there.stack.close()  # the workers have to be gone before the role is
            there.ask("DROP OWNED BY hand")
            there.ask("DROP ROLE hand")


def test_secrets_stay_with_the_plugin(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """A setting is in the request alone, while it is under way; never in the engine's tables, a log, or a reply."""
    with farm(tmp_path, vendor, url, SLOW, {"token": "abracadabra"}) as there:
        worker = there.work("one")
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        [(request, engine)] = there.ask(
            "SELECT request, (SELECT string_agg(args::text, '') FROM rodin_watchd_farm.procrastinate_jobs) FROM rodin_watchd.farm_calls"
        )
        assert "abracadabra" in request
        assert "abracadabra" not in engine
        there.let("one")
        there.until_idle()
        rows = str(there.ask("SELECT * FROM rodin_watchd.farm_calls"))
        assert "abracadabra" not in rows + worker.told() + there.shop.status()


def test_the_machines_own_table_wins(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """What a worker's configuration says of a plugin goes over what the service sends: a program may be elsewhere there."""
    with farm(tmp_path, vendor, url, CONVERT, {"word": "daemon's"}) as there:
        there.work("one", plugins={"plug": {"word": "worker's"}})
        there.shop.drop_set("chair")
        there.until_idle()
        assert receipt_of(there)["plugins"]["plug"]["word"] == "worker's"


def test_metrics_and_the_page_show_workers_and_queues(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """How many calls wait, run and failed, how long the oldest waits, and who is there."""
    with farm(tmp_path, vendor, url, SLOW, None, metrics={"textfile": str(tmp_path / "farm.prom")}) as there:
        meter = there.shop.daemon.parts.standing.monitor.meter
        assert isinstance(meter, Metrics)
        there.shop.drop_set("chair")
        there.until(lambda: b'state="waiting"} 1.0' in meter.text())
        found = meter.text().decode()
        assert re.search(r'farm_calls\{queue="heavy",root="[^"]+",state="waiting"\} 1.0', found)
        assert re.search(r'farm_workers\{queue="heavy",root="[^"]+"\} 0.0', found)
        there.work("one")
        there.until(lambda: there.notes() == ["one begins"])
        found = meter.text().decode()
        assert re.search(r'farm_calls\{queue="heavy",root="[^"]+",state="running"\} 1.0', found)
        assert re.search(r'farm_workers\{queue="heavy",root="[^"]+"\} 1.0', found)
        data = data_of(there)
        [worker] = data["workers"]
        assert worker["queues"] == ["heavy"]
        assert [call[:2] for call in worker["calls"]] == [["plug", "rodin_process"]]
        assert data["queues"][0] | {"oldest_seconds": 0} == {
            "name": "heavy",
            "waiting": 0,
            "running": 1,
            "failed": 0,
            "oldest_seconds": 0,
            "workers": 1,
        }
        assert "plug: rodin_process for" in there.shop.told("workers")
        with page_of(there) as browser:
            page = browser.get("/").text
        assert "0 waiting, 1 running, 0 failed" in page
        assert worker["name"] in page
        there.let("one")
        there.until_idle()


def test_the_configuration_says_what_is_missing(tmp_path: Path) -> None:
    """A plugin on the farm needs a database; queues have names of a certain form."""
    config = tmp_path / "config.toml"
    config.write_text('[plugins.blender]\nwhere = "farm"\nqueue = "Blender!"\n')
    with pytest.raises(ConfigError, match="letters, digits"):
        load_config(config)
    config.write_text('[plugins.blender]\nwhere = "farm"\n')
    with pytest.raises(ConfigError, match=r"set store\.url"):
        load_config(config)
    config.write_text("")
    for command in ("worker", "workers"):
        words = [sys.executable, "-m", "rodin_watchd", command, "--config", str(config)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "store.url" in done.stderr


KEYS = {"aws_access_key_id": "ours", "aws_secret_access_key": "abracadabra"}


@pytest.fixture
def bucket() -> Iterator[str]:
    """Give the address of an S3-compatible store on this machine, with a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", **KEYS).create_bucket(Bucket="farm")
    yield address
    server.stop()


def credentials_in(folder: Path) -> Path:
    """Write the file with the credentials for the bucket."""
    path = folder / "s3"
    path.write_text("[default]\naws_access_key_id = ours\naws_secret_access_key = abracadabra\nregion = us-east-1\n")
    return path


def objects_in(bucket: str) -> list[str]:
    """Return the names of what is in the bucket."""
    client = boto3.client("s3", endpoint_url=bucket, region_name="us-east-1", **KEYS)
    return [found["Key"] for found in client.list_objects_v2(Bucket="farm").get("Contents", [])]


def test_a_machine_without_the_share_uses_a_bucket(tmp_path: Path, vendor: Vendor, url: str, bucket: str) -> None:
    """Files go there and come back; a worker that is killed leaves nothing that counts; in the end the bucket is empty."""
    credentials = tmp_path / "s3"
    credentials.write_text(
        "[default]\naws_access_key_id = ours\naws_secret_access_key = abracadabra\nregion = us-east-1\n"
    )
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    section: dict[str, dict[str, Any]] = {
        "farm": {"files": "s3://farm/some/where", "endpoint": bucket, "credentials_file": str(credentials)}
    }
    with farm(tmp_path, vendor, url, SLOW, None, **section) as there:
        away: dict[str, dict[str, Any]] = {**section, "folders": {"root": str(nowhere)}}
        first = there.work("one", "heavy", **away)
        there.shop.drop_set("chair")
        there.until(lambda: there.notes() == ["one begins"])
        assert all(name.startswith("some/where/") for name in objects_in(bucket))
        first.end(signal.SIGKILL)
        second = there.work("two", "heavy", **away)
        there.let("two")
        there.until_idle()
        assert there.shop.path("outbox/chair/made.txt").read_text() == "two"
        assert objects_in(bucket) == []
        assert "abracadabra" not in first.told() + second.told()


def test_a_bucket_that_is_away_is_waited_for(tmp_path: Path, vendor: Vendor, url: str) -> None:
    """No try of the plugin is used up; people read that the files cannot be moved."""
    section: dict[str, dict[str, Any]] = {
        "farm": {
            "files": "s3://farm/some",
            "endpoint": "http://127.0.0.1:9",
            "credentials_file": str(credentials_in(tmp_path)),
        }
    }
    with farm(tmp_path, vendor, url, CONVERT, None, **section) as there:
        there.shop.drop_set("chair")
        there.until(lambda: "The bucket farm of the farm cannot be used" in " ".join(there.shop.status().split()))
        assert (there.shop.states(), there.shop.job("chair").attempts) == ({"chair": State.DOWNLOADED}, 0)
        assert there.shop.store.runs_of([there.shop.job("chair").id]) == []
