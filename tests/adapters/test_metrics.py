"""Metrics as Prometheus reads them: over HTTP, from a textfile, counted by many threads."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import socket
import stat
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rodin_watchd.adapters.metrics import Metrics, served, write_textfile, written
from rodin_watchd.core.health import Health, MoneyTotals
from rodin_watchd.errors import ConfigError, JournalError
from rodin_watchd.model import State

ROOT = "/srv/textures"
BOOKS = MoneyTotals(
    {State.ARCHIVED: 7, State.SUBMITTED: 2}, {"generate": Decimal("4.5")}, Decimal("12.5"), 1_700_000_000.0
)
VITALS = Health(
    1_700_000_100.0,
    50.0,
    2,
    0,
    {"ready": 3, "incomplete": 1},
    {"ready": 9.0},
    5.0,
    "chair",
    ("submit", "inbox is away"),
)


def samples(text: bytes) -> dict[str, float]:
    """Return the values by their names with labels, but for the root, as Prometheus would understand them."""
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items()) if name != "root"): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Run with another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def fetched(port: int, path: str = "/metrics") -> bytes:
    """Ask as Prometheus does."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return bytes(answer.read())


def test_all_of_it_over_http() -> None:
    """Sets by state, steps, calls, hooks, money, ages: each is there with its value."""
    metrics = Metrics(lambda: BOOKS, lambda: 52.5, ROOT)
    metrics.step("deliver", "done", "texture", 0.25)
    metrics.step("deliver", "done", "texture", 2.0)
    metrics.api_call("submit", "201")
    metrics.api_call("status", "none")
    metrics.hook_run("command", "rodin_delivered", "failed")
    metrics.tick(VITALS)
    with served(metrics, "127.0.0.1", 0) as port:
        found = samples(fetched(port))
    expected = {
        "rodin_watchd_sets state=archived": 7,
        "rodin_watchd_sets state=submitted": 2,
        "rodin_watchd_sets state=held": 0,
        "rodin_watchd_sets state=ready": 3,
        "rodin_watchd_sets state=incomplete": 1,
        "rodin_watchd_step_seconds_count kind=texture outcome=done step=deliver": 2,
        "rodin_watchd_step_seconds_sum kind=texture outcome=done step=deliver": 2.25,
        "rodin_watchd_step_seconds_bucket kind=texture le=0.3 outcome=done step=deliver": 1,
        "rodin_watchd_api_calls_total call=submit result=201": 1,
        "rodin_watchd_api_calls_total call=status result=none": 1,
        "rodin_watchd_hook_runs_total hook=rodin_delivered outcome=failed plugin=command": 1,
        "rodin_watchd_credits_spent_total kind=generate": 4.5,
        "rodin_watchd_credits_spent_total kind=texture": 0,
        "rodin_watchd_balance_credits": 12.5,
        "rodin_watchd_balance_timestamp_seconds": 1_700_000_000,
        "rodin_watchd_last_tick_timestamp_seconds": 1_700_000_100,
        "rodin_watchd_tick_age_seconds": 2.5,
        "rodin_watchd_oldest_waiting_seconds state=ready": 9,
        "rodin_watchd_overdue_seconds": 5,
        "rodin_watchd_paused what=submit": 1,
        "rodin_watchd_paused what=inbox is away": 1,
        "rodin_watchd_paused what=api": 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "chair" not in str(found)


def test_before_the_first_tick_and_without_a_balance() -> None:
    """What is not known is left out, never 0."""
    metrics = Metrics(lambda: MoneyTotals({}, {}, None, 0.0), lambda: 0.0, ROOT)
    found = samples(metrics.text())
    assert found["rodin_watchd_sets state=archived"] == 0
    assert not {"rodin_watchd_tick_age_seconds", "rodin_watchd_balance_credits"} & found.keys()


def test_a_journal_that_cannot_be_read_takes_only_its_own_numbers(caplog: pytest.LogCaptureFixture) -> None:
    """The other metrics are still told; the reason is logged once, and once that it is over."""
    away = True

    def read() -> MoneyTotals:
        if away:
            raise JournalError("The journal is away.")
        return BOOKS

    metrics = Metrics(read, lambda: 60.0, ROOT)
    metrics.tick(VITALS)
    with caplog.at_level(logging.WARNING):
        assert samples(metrics.text()) == samples(metrics.text())
    found = samples(metrics.text())
    assert found["rodin_watchd_tick_age_seconds"] == 10
    assert not any("credits_spent" in name for name in found)
    away = False
    with caplog.at_level(logging.INFO):
        assert samples(metrics.text()) == samples(metrics.text())
    told = ["metrics: The journal is away.", "metrics: the journal can be read again."]
    assert [record.getMessage() for record in caplog.records] == told


def test_threads_lose_no_count() -> None:
    """Workers count at the same time."""
    metrics = Metrics(lambda: BOOKS, lambda: 0.0, ROOT)

    def count(_number: int) -> None:
        for _ in range(500):
            metrics.api_call("status", "200")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert samples(metrics.text())["rodin_watchd_api_calls_total call=status result=200"] == 2000


def test_every_series_names_its_root() -> None:
    """Two services on one machine give node_exporter no series twice."""
    metrics = Metrics(lambda: BOOKS, lambda: 52.5, ROOT)
    metrics.step("deliver", "done", "texture", 0.25)
    metrics.api_call("submit", "201")
    metrics.hook_run("command", "rodin_delivered", "failed")
    metrics.tick(VITALS)
    found = [s for family in text_string_to_metric_families(metrics.text().decode()) for s in family.samples]
    assert len(found) > 50
    assert {sample.labels.get("root") for sample in found} == {ROOT}


def test_what_can_stand_still_is_always_told() -> None:
    """Each word is 0 while nothing is paused: an alert that looks back sees that it was not."""
    metrics = Metrics(lambda: BOOKS, lambda: 0.0, ROOT)
    metrics.tick(replace(VITALS, paused=()))
    found = samples(metrics.text())
    words = ("by request", "stopping", "budget", "approval", "journal", "inbox", "outbox is away", "submit", "api")
    assert {word: found.get(f"rodin_watchd_paused what={word}") for word in words} == dict.fromkeys(words, 0.0)


def test_who_goes_away_leaves_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A connection that is reset, or a header of nonsense, costs a line of the log at most."""
    with served(Metrics(lambda: BOOKS, lambda: 0.0, ROOT), "127.0.0.1", 0) as port:
        for sent in (b"", b"GET /metr", b"GET / HTTP/1.0\r\nAccept: application/openmetrics-text;version=x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(sent)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert fetched(port)  # those before it were taken in their turn
        for thread in threading.enumerate():
            if "process_request_thread" in thread.name:
                thread.join()
    assert capfd.readouterr().err == ""


def test_a_request_of_nonsense_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be answered is told without a traceback; whoever asks properly has an answer."""
    with served(Metrics(lambda: BOOKS, lambda: 0.0, ROOT), "127.0.0.1", 0) as port:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
            client.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text;version=x"})
            with pytest.raises(http.client.RemoteDisconnected):
                client.getresponse()
        assert fetched(port)
    [record] = caplog.records
    assert record.getMessage().startswith("metrics: a request was not answered: ")
    assert record.exc_info is None


def test_a_port_that_is_taken_is_told() -> None:
    """A second one on the same port is a mistake of the config, with the key to change; the first goes on."""
    metrics = Metrics(lambda: BOOKS, lambda: 0.0, ROOT)
    with served(metrics, "127.0.0.1", 0) as port:
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: Address already in use") as refused:
            served(metrics, "127.0.0.1", port).__enter__()
        assert "metrics.listen" in refused.value.advice_given
        assert fetched(port)
    with pytest.raises(urllib.error.URLError):
        fetched(port)


def test_the_textfile_is_there_at_once_and_gone_in_the_end(tmp_path: Path) -> None:
    """Old numbers must not be taken for new ones when the service is stopped."""
    path = tmp_path / "rodin-watchd.prom"
    with written(Metrics(lambda: BOOKS, lambda: 0.0, ROOT), path):
        while not path.exists():
            pass
        assert samples(path.read_bytes())["rodin_watchd_credits_spent_total kind=generate"] == 4.5
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_the_textfile_is_another_users_to_read(tmp_path: Path) -> None:
    """Whatever the umask, node_exporter may read it; it is replaced as a whole, and what a crash left is no hindrance."""
    path = tmp_path / "rodin-watchd.prom"
    (tmp_path / f".rodin-watchd.prom.{os.getpid()}.part").symlink_to(tmp_path / "victim")
    with umask(0o077):
        write_textfile(path, b"rodin_watchd_a 1\n")
        first = path.open("rb")
        write_textfile(path, b"rodin_watchd_a 2\n")
    with first:
        assert (first.read(), path.read_bytes()) == (b"rodin_watchd_a 1\n", b"rodin_watchd_a 2\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_textfile_that_cannot_be_written_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It costs the service nothing."""
    with written(Metrics(lambda: BOOKS, lambda: 0.0, ROOT), tmp_path / "nowhere" / "x.prom"):
        while not caplog.records:
            pass
    assert [r.getMessage() for r in caplog.records] == [
        f"metrics: {tmp_path}/nowhere/x.prom cannot be written: No such file or directory"
    ]


def test_the_textfile_of_another_service_stays(tmp_path: Path) -> None:
    """Two services with one file: who ends removes it only if nobody has written it since."""
    path = tmp_path / "both.prom"
    with written(Metrics(lambda: BOOKS, lambda: 0.0, ROOT), path):
        while not path.exists():
            pass
        write_textfile(path, b"rodin_watchd_other 1\n")
    assert path.read_bytes() == b"rodin_watchd_other 1\n"


@pytest.mark.parametrize("kept", ["nothing", "the beginning", "the size", "all of it"])
def test_what_somebody_writes_into_the_textfile_stays(tmp_path: Path, kept: str) -> None:
    """The same file with another content is not removed in the end."""
    path = tmp_path / "shared.prom"
    with written(Metrics(lambda: BOOKS, lambda: 0.0, ROOT), path):
        while not path.exists():
            pass
        ours = path.read_bytes()
        theirs = {
            "nothing": b"backup_last_success 1\n",
            "the beginning": ours[: len(ours) // 2],
            "the size": b"#" * len(ours),
            "all of it": ours + b"backup_last_success 1\n",
        }[kept]
        with path.open("r+b") as shared:
            shared.write(theirs)
            shared.truncate()
    assert path.read_bytes() == theirs


def test_a_file_that_holds_no_metrics_is_not_written_over(tmp_path: Path) -> None:
    """A mistake in the configuration costs nobody a file."""
    path = tmp_path / "chair.obj"
    path.write_text("v 0 0 0")
    with (
        pytest.raises(ConfigError, match="is not a file of this service"),
        written(Metrics(lambda: BOOKS, lambda: 0.0, ROOT), path),
    ):
        pass
    assert path.read_text() == "v 0 0 0"
