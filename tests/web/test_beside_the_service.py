"""`web.enabled`: `run` keeps the page beside it, and nothing that is wrong with the page stops it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cli_stage import Running, Stage, running
from web_stage import Browser, configured, free_address

SECONDS = 30.0


def is_there(address: str) -> bool:
    """Return whether somebody listens."""
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 5):
        return True
    return False


def until_gone(stage: Stage, address: str) -> None:
    """Wait until the page has ended, and nobody listens any more."""
    until = time.monotonic() + SECONDS
    while is_there(address) or page_processes(stage):
        assert time.monotonic() < until


def page_processes(stage: Stage) -> list[int]:
    """Return the processes that serve a stage's page."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"--while-read" in words and str(stage.config).encode() in words:
                found.append(int(entry.name))
    return found


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Give a service's folder; its vendor is nobody."""
    return Stage(tmp_path / "root")


@pytest.fixture
def served(stage: Stage) -> Iterator[tuple[Running, str]]:
    """Give a service whose page is there, and the page's address."""
    address = free_address()
    configured(stage, address, enabled=True)
    with running(stage, begun="web: The page is at") as service:
        yield service, address


def test_a_page_that_ends_is_started_again(stage: Stage, served: tuple[Running, str]) -> None:
    """People read why in the meantime; at the end of the service it ends, too."""
    service, address = served
    assert "Running" in Browser(address).get("/").text
    [process] = page_processes(stage)
    assert "RODIN_API_KEY" not in Path(f"/proc/{process}/environ").read_text()
    os.kill(process, signal.SIGKILL)
    service.until("web-ended: The page in the browser does not run: It ended with exit code -9", "web: The page is at")
    assert "Running" in Browser(address).get("/").text
    assert service.stop() == 0
    assert not is_there(address)


def test_it_lets_the_service_go_first(stage: Stage, served: tuple[Running, str]) -> None:
    """It has the lower priority, and takes no core from a process that works: all its threads, also those that answer."""
    service, address = served
    assert Browser(address).get("/").status == 200
    [process] = page_processes(stage)
    threads = [int(entry.name) for entry in Path(f"/proc/{process}/task").iterdir()]
    assert len(threads) > 1
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
    mine = os.getpriority(os.PRIO_PROCESS, service.process.pid)
    assert all(os.getpriority(os.PRIO_PROCESS, thread) > mine for thread in threads)


def test_it_does_not_outlive_a_service_that_is_killed(stage: Stage, served: tuple[Running, str]) -> None:
    """So the next start finds its address free."""
    service, address = served
    service.stop(signal.SIGKILL)
    until_gone(stage, address)


def test_a_reload_starts_and_ends_it(stage: Stage, served: tuple[Running, str]) -> None:
    """As the configuration says then."""
    service, address = served
    configured(stage, address, enabled=False)
    service.process.send_signal(signal.SIGHUP)
    service.until("reloaded: web.enabled")
    until_gone(stage, address)
    configured(stage, address, enabled=True)
    service.process.send_signal(signal.SIGHUP)
    service.until("web: The page is at")
    assert Browser(address).get("/api/v1/money").data["budget"]["per_day"] is None
    stage.config.write_text(f"{stage.config.read_text()}[budget]\nper_day_credits = 7\n")
    service.process.send_signal(signal.SIGHUP)
    service.until("reloaded: budget.per_day_credits", "web: The page is at")
    assert Browser(address).get("/api/v1/money").data["budget"]["per_day"] == 7


def test_a_page_that_cannot_start_is_a_notice(stage: Stage) -> None:
    """Its address is taken: the service works all the same, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        configured(stage, f"127.0.0.1:{taken.getsockname()[1]}", enabled=True)
        with running(stage) as service:
            service.until("web-ended: .*cannot listen on .*Address already in use")
            notices = stage.data("status")["page"]["notices"]
            assert any("The page in the browser does not run" in notice for notice in notices)
            assert service.process.poll() is None
