"""What a working daemon leaves for probes and for Prometheus."""

from __future__ import annotations

import json
import logging
import re
import socket
import urllib.request
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from places import share
from prometheus_client.parser import text_string_to_metric_families
from workshop import TIMEOUT_SECONDS, Workshop, image, model, working

from rodin_watchd.adapters.heartbeat import read_heartbeat
from rodin_watchd.core.health import Health
from rodin_watchd.model import State


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def health(shop: Workshop) -> Health:
    """Return what the newest tick left."""
    heartbeat = read_heartbeat(shop.root / ".rodin-watchd" / "alive.json")
    assert heartbeat
    return heartbeat.health


def scraped(port: int) -> dict[str, float]:
    """Return what Prometheus would store, by names and labels, but for the root."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = " ".join([sample.name, *(sample.labels[label] for label in sorted(sample.labels.keys() - {"root"}))])
            found[name] = sample.value
    return found


def test_a_tick_leaves_how_it_stands(tmp_path: Path) -> None:
    """Sets in the inbox by what they wait for, and for how long; jobs; nothing overdue in a service that works."""
    with working(tmp_path) as (shop, _):
        shop.drop("stool.obj", model("stool"))
        shop.drop_set("chair")
        shop.idle()
        shop.ticks(30, step_seconds=1.0)
        seen = health(shop)
        assert (seen.running, seen.held, seen.inbox) == (
            0,
            0,
            {"settling": 0, "incomplete": 1, "unmovable": 0, "ready": 0},
        )
        assert 30.0 <= seen.oldest_seconds["incomplete"] <= 60.0
        assert (seen.overdue_seconds, seen.paused) == (0.0, ())
        assert seen.monotonic == 5000.0 + shop.hands.seconds


def test_it_is_left_once_a_second(tmp_path: Path) -> None:
    """Many ticks in a second write it once: a busy service pays no more for it."""
    with working(tmp_path) as (shop, _):
        shop.ticks(1, step_seconds=1.0)
        path = shop.root / ".rodin-watchd" / "alive.json"
        path.unlink()
        shop.ticks(20, step_seconds=0.01)
        assert not path.exists()
        shop.ticks(1, step_seconds=1.0)
        assert path.exists()


def test_an_empty_account_pauses_and_makes_nothing_overdue(tmp_path: Path) -> None:
    """For hours nothing is submitted, which is told; and nothing is called stuck for it."""
    with working(tmp_path, balance=Decimal(0)) as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        shop.ticks(50, step_seconds=600.0)
        assert health(shop).paused == ("submit",)
        assert (health(shop).overdue_seconds, health(shop).running) == (0.0, 1)


def test_a_person_in_the_way_makes_a_set_overdue(tmp_path: Path) -> None:
    """A result that can never be published, because a file lies in its folder's place, is named after a while."""
    with working(tmp_path) as (shop, _):
        shop.drop_set("oak/chair")
        (shop.root / "outbox" / "oak").write_text("in the way")
        shop.until(shop.is_in("chair", State.PROCESSED))
        since = shop.hands.seconds
        shop.until(lambda: shop.hands.seconds > since + 3600.0, step_seconds=20.0)
        seen = health(shop)
        assert seen.overdue == "oak/chair"
        assert 3500.0 < seen.overdue_seconds < 3700.0
        (shop.root / "outbox" / "oak").unlink()
        shop.idle(step_seconds=20.0)
        assert (health(shop).overdue, health(shop).overdue_seconds) == ("", 0.0)


def test_a_folder_that_is_away_and_a_pause_by_request_are_told(tmp_path: Path) -> None:
    """In words that the metrics use as labels."""
    with working(tmp_path) as (shop, _):
        shop.command("pause")
        (shop.root / "outbox").rename(shop.root / "elsewhere")
        shop.ticks(2, step_seconds=1.0)
        assert health(shop).paused == ("by request", "outbox is away")


def test_a_long_end_is_no_ill_health(tmp_path: Path) -> None:
    """While an answer that was paid for is waited for, signs of life go on, and say why nothing moves."""
    with working(tmp_path) as (shop, _):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.SUBMITTING))
        shop.hands.seconds += 5
        assert shop.daemon.drain(0.0, answer_seconds=TIMEOUT_SECONDS)
        seen = health(shop)
        assert (seen.paused, seen.monotonic) == (("stopping",), 5000.0 + shop.hands.seconds)


def test_a_sign_that_cannot_be_left_stops_nothing(tmp_path: Path) -> None:
    """Something in its place costs the sign alone."""
    with working(tmp_path) as (shop, _):
        path = shop.root / ".rodin-watchd" / "alive.json"
        with suppress(FileNotFoundError):
            path.unlink()
        path.mkdir()
        shop.drop_set("chair")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}


def test_metrics_of_a_set_that_went_through(tmp_path: Path) -> None:
    """Steps, calls, credits and the balance are counted where Prometheus asks; nothing secret and no name is in it."""
    port = free_port()
    with working(tmp_path, metrics={"listen": f"127.0.0.1:{port}"}) as (shop, _):
        shop.drop_set("very-secret-project")
        shop.drop("lamp.obj", model("lamp"))
        shop.drop("lamp.png", image("lamp")[:20] + b"broken" * 9)
        shop.idle()
        found = scraped(port)
        job = shop.job("very-secret-project")
    assert found["rodin_watchd_sets archived"] == 1
    assert found["rodin_watchd_credits_spent_total texture"] == 0.5
    assert found["rodin_watchd_balance_credits"] == 99.5
    for step in ("stage", "process", "deliver", "archive", "download"):
        assert found[f"rodin_watchd_step_seconds_count texture done {step}"] >= 1, step
    assert found["rodin_watchd_step_seconds_count texture done submit"] == 1
    assert found["rodin_watchd_api_calls_total submit 201"] == 1
    assert found["rodin_watchd_api_calls_total file 200"] == len(job.results)
    assert found["rodin_watchd_api_calls_total balance 201"] == 1
    assert found["rodin_watchd_tick_age_seconds"] == 0
    assert "very-secret-project" not in json.dumps(found)


def test_a_vendor_that_does_not_answer_is_counted(tmp_path: Path) -> None:
    """A call without an answer is counted as none."""
    port = free_port()
    with working(tmp_path, "lost-answer", metrics={"listen": f"127.0.0.1:{port}"}) as (shop, _):
        shop.drop_set("chair")
        shop.idle()
        found = scraped(port)
    assert found["rodin_watchd_api_calls_total submit none"] == 1
    assert found["rodin_watchd_step_seconds_count texture unknown submit"] == 1
    assert found["rodin_watchd_sets held"] == 1


@pytest.mark.parametrize(
    ("faults", "balance", "status", "outcome"),
    [
        (["submit-error@1"], 100, 201, "unknown"),
        (["balance-500"], 0, 402, "retry"),
        (["submit-429@1"], 100, 429, "retry"),
    ],
)
def test_a_submit_is_counted_by_what_its_answer_means(
    faults: list[str], balance: int, status: int, outcome: str, tmp_path: Path
) -> None:
    """The vendor may refuse under any status: what became of the job is counted, not that an answer came."""
    port = free_port()
    listen = {"listen": f"127.0.0.1:{port}"}
    with working(tmp_path, *faults, balance=Decimal(balance), metrics=listen) as (shop, _):
        shop.drop_set("chair")
        shop.until(lambda: "rodin_watchd_api_calls_total submit" in " ".join(scraped(port)))
        shop.until(lambda: not shop.daemon.parts.pool.busy)
        found = scraped(port)
    assert found[f"rodin_watchd_api_calls_total submit {status}"] == 1
    assert found[f"rodin_watchd_step_seconds_count texture {outcome} submit"] == 1


def test_what_was_charged_since_the_balance_was_read_is_subtracted(tmp_path: Path) -> None:
    """The vendor is asked once; five textures later each page and metric has the same figure, also by the next daemon."""
    port = free_port()
    with working(tmp_path, metrics={"listen": f"127.0.0.1:{port}"}, budget={"low_balance": 98}) as (shop, vendor):
        for number in range(5):
            shop.drop_set(f"set-{number}")
        shop.idle()
        assert vendor.emulator.ledger()["balance"] == "97.5"
        assert scraped(port)["rodin_watchd_api_calls_total balance 201"] == 1
        asked_at = scraped(port)["rodin_watchd_balance_timestamp_seconds"]
        for _ in range(2):
            assert scraped(port)["rodin_watchd_balance_credits"] == 97.5
            told = json.loads(shop.at_terminal("status", "--json").output)["balance"]
            assert told == {"credits": 97.5, "said": 100, "at": asked_at, "low": False}
            assert re.search(
                r"Balance: 97\.5 credits \(the vendor said 100 credits on \S+ \S+ \S+, less 2\.5 credits charged since\)",
                shop.told("status"),
            )
            assert "The vendor's account has 97.5 credits, less than budget.low_balance (98 credits)." in shop.status()
            shop.restart()
            shop.ticks(1, step_seconds=1.0)


def test_the_root_is_a_label(tmp_path: Path) -> None:
    """Each service names the folder that it serves."""
    port = free_port()
    with working(tmp_path / "oak\n", metrics={"listen": f"127.0.0.1:{port}"}) as (shop, _):
        shop.ticks(1, step_seconds=1.0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    assert {s.labels["root"] for family in families for s in family.samples} == {f"{tmp_path}/oak\\n"}


def test_the_budget_and_approval_are_told(tmp_path: Path) -> None:
    """Sets that wait for another day or for a person's word stand still, with a reason, until that comes."""
    with working(tmp_path, budget={"per_day_credits": 0.5, "hold_above_sets": 3}) as (shop, _):
        shop.drop_set("first")
        shop.drop_set("second")
        shop.idle()
        shop.ticks(1, step_seconds=1.0)
        assert health(shop).paused == ("budget",)
        for number in range(5):
            shop.drop_set(f"crowd-{number}")
        shop.idle()
        shop.ticks(1, step_seconds=1.0)
        assert health(shop).paused == ("budget", "approval")
        shop.command("approve")
        shop.ticks(2, step_seconds=1.0)
        assert health(shop).paused == ("budget",)
        shop.until(lambda: health(shop).paused == (), step_seconds=3600.0)


def test_a_set_that_may_not_be_moved_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is copied, and stays; it has a word of its own; the log says when that begins and when it ends, each once, with the set."""
    root = tmp_path / "root"
    with share(tmp_path / "disk", root / "inbox" / "oak") as oak, working(root) as (shop, _):
        shop.ticks(3, step_seconds=2.0)  # a share is marked at the first look
        shop.drop_set("oak/chair")
        oak.freeze()  # nobody may write there, not even root
        with caplog.at_level(logging.INFO):
            shop.idle()
            shop.ticks(5, step_seconds=2.0)
            assert health(shop).inbox == {"settling": 0, "incomplete": 0, "unmovable": 1, "ready": 0}
            assert health(shop).oldest_seconds["unmovable"] >= 5.0
            (root / "inbox").rename(tmp_path / "elsewhere")
            shop.ticks(3, step_seconds=2.0)
            (tmp_path / "elsewhere").rename(root / "inbox")
            shop.ticks(3, step_seconds=2.0)
            assert shop.job("chair").state is State.ARCHIVED
            oak.thaw()
            (oak.place / "chair.obj").unlink()
            shop.ticks(3, step_seconds=2.0)
        assert health(shop).inbox["unmovable"] == 0
    reason = (
        "done: the result is in outbox/oak/chair. The service cannot remove the files from here; you can delete them. "
        "Give the service's user write permission in that folder, and sets are moved instead of copied."
    )
    told = [(r.levelname, r.getMessage()) for r in caplog.records if r.__dict__.get("set") == "oak/chair"]
    assert [line for line in told if "unmovable" in line[1]] == [
        (
            "WARNING",
            f"unmovable oak/chair: {reason}",
        ),
        ("INFO", "unmovable-ended oak/chair: it can be moved now, or is gone, or was changed"),
    ]


def test_hook_runs_are_counted_by_plugin_and_outcome(tmp_path: Path) -> None:
    """Each call that was made counts, done or failed."""
    port, plugins = free_port(), tmp_path / "plugins"
    plugins.mkdir(mode=0o755)
    (plugins / "teller.py").write_text(
        "from rodin_watchd import v1\n\n\n@v1.hookimpl\ndef rodin_delivered(event):\n    raise ValueError('no')\n\n\n"
        "@v1.hookimpl\ndef rodin_process(job):\n    return {}\n"
    )
    used = {"folders": [str(plugins)], "teller": {}}
    with working(tmp_path / "root", plugins=used, metrics={"listen": f"127.0.0.1:{port}"}) as (shop, _):
        shop.drop_set("chair")
        shop.until(lambda: scraped(port).get("rodin_watchd_hook_runs_total rodin_delivered failed teller", 0) >= 1)
        found = scraped(port)
    assert found["rodin_watchd_hook_runs_total rodin_process done teller"] == 1


def test_a_sign_that_cannot_be_left_is_told_and_so_is_its_return(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder in its place: one line; and one when it is gone."""
    with working(tmp_path) as (shop, _):
        caplog.set_level("INFO")
        heartbeat = shop.root / ".rodin-watchd" / "alive.json"
        shop.ticks(2, step_seconds=2.0)
        heartbeat.unlink()
        heartbeat.mkdir()
        shop.ticks(3, step_seconds=2.0)
        heartbeat.rmdir()
        shop.ticks(3, step_seconds=2.0)
        told = [record.getMessage() for record in caplog.records if vars(record)["action"] == "sign"]
        assert len(told) == 2
        assert told[1] == f"sign: the heartbeat is written to {heartbeat} again."
