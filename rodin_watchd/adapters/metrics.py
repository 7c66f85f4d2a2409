"""Metrics for Prometheus, by `prometheus_client` (the extra `metrics`): counted here, served on this machine or in a file.

What changes by itself (ages, the journal's numbers) is read when somebody asks, by whoever asks; the daemon's loop never
waits for that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    MetricsHandler,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from rodin_watchd import __version__
from rodin_watchd.core.farm import FarmState
from rodin_watchd.core.health import Health, MoneyTotals
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.stillness import STANDSTILLS
from rodin_watchd.errors import ConfigError, DiskError, ForeignFileError, RodinWatchdError
from rodin_watchd.log_lines import Trouble, why
from rodin_watchd.model import State
from rodin_watchd.own_file import refuse_foreign_at

log = logging.getLogger("rodin_watchd")

_T = TypeVar("_T")

TEXTFILE_SECONDS: Final = 15.0
"""How often the textfile is written: as often as Prometheus usually looks."""

_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


class Metrics:
    """The meter whose counts Prometheus gets. Any thread.

    `read` gives the journal's numbers and may raise RodinWatchdError: then those are left out; so does `read_farm` where a plugin is on
    the farm. `monotonic` is the clock of the vitals. `root` distinguishes the series of several services on one machine.
    """

    def __init__(
        self,
        read: Callable[[], MoneyTotals],
        monotonic: Callable[[], float],
        root: str,
        read_farm: Callable[[], FarmState] | None = None,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # has no types; nobody asks when a count began
        counted = CollectorRegistry()
        self.registry = CollectorRegistry()
        self.registry.register(_Rooted(counted, root))
        self._gauges = _Gauges(read, monotonic, read_farm)
        counted.register(self._gauges)
        self._steps = Histogram(
            "rodin_watchd_step_seconds",
            "How long steps took, by their outcome: done, not-yet (a poll), retry, unknown, rejected.",
            ["step", "outcome", "kind"],
            buckets=_BUCKETS,
            registry=counted,
        )
        self._calls = Counter(
            "rodin_watchd_api_calls",
            "Calls to the vendor and its file host, by HTTP status; none: no answer came. A 2xx can contain the vendor's refusal: the "
            "step's outcome shows it.",
            ["call", "result"],
            registry=counted,
        )
        self._hooks = Counter(
            "rodin_watchd_hook_runs",
            "Calls of plugins' hooks, by their outcome: done, failed.",
            ["plugin", "hook", "outcome"],
            registry=counted,
        )

    def step(self, step: str, outcome: str, kind: str, seconds: float) -> None:
        """Note a step of a job of this kind that ended."""
        self._steps.labels(step, outcome, kind).observe(seconds)

    def api_call(self, call: str, result: str) -> None:
        """Note a call over HTTP."""
        self._calls.labels(call, result).inc()

    def hook_run(self, plugin: str, hook: str, outcome: str) -> None:
        """Note a call of a plugin's hook."""
        self._hooks.labels(plugin, hook, outcome).inc()

    def tick(self, health: Health) -> None:
        """Note how it stands."""
        self._gauges.note(health)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Rooted(Collector):
    """All that was counted, with the root as a label of every series."""

    def __init__(self, counted: Collector, root: str) -> None:
        self._counted = counted
        self._label = {"root": root}

    def describe(self) -> Iterable[Metric]:
        """Name nothing, as those below."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Give the metrics of this moment."""
        for metric in self._counted.collect():
            metric.samples = [s._replace(labels={**self._label, **s.labels}) for s in metric.samples]
            yield metric


class _Gauges(Collector):
    """What is true when somebody asks."""

    def __init__(
        self,
        read: Callable[[], MoneyTotals],
        monotonic: Callable[[], float],
        read_farm: Callable[[], FarmState] | None,
    ) -> None:
        self._health: Health | None = None
        self._read = read
        self._read_farm = read_farm
        self._monotonic = monotonic
        self._trouble, self._farm_trouble = Trouble("metrics"), Trouble("metrics")

    def note(self, health: Health) -> None:
        """Take in how the service is."""
        self._health = health

    def describe(self) -> Iterable[Metric]:
        """Name nothing: what is here depends on the moment, and no other metric has these names."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Give the metrics of this moment."""
        yield InfoMetricFamily("rodin_watchd", "The version of the program; always 1.", {"version": __version__})
        health, books = self._health, _asked(self._read, self._trouble)
        yield _sets(health, books)
        if health:
            yield from _of_health(health, self._monotonic())
        if books:
            yield from _of_books(books)
        if self._read_farm and (farm := _asked(self._read_farm, self._farm_trouble)):
            yield from _of_farm(farm)


def _asked(read: Callable[[], _T], trouble: Trouble) -> _T | None:
    """Return what is read in the store; None while it cannot be."""
    try:
        found = read()
    except RodinWatchdError as error:
        trouble.begins(error.message)
        return None
    trouble.ends("the journal can be read again.")
    return found


def _sets(health: Health | None, books: MoneyTotals | None) -> Metric:
    """Return how many sets there are: in the inbox by what they wait for, and jobs, of all times, by state."""
    jobs = {state.value: books.states.get(state, 0) for state in State} if books else {}
    inbox = health.inbox if health else {}
    return _gauge(
        "sets",
        "Sets in the inbox, and jobs by state: those that are archived or failed of all times.",
        "state",
        {**inbox, **jobs},
    )


def _of_health(health: Health, monotonic: float) -> Iterator[Metric]:
    yield _gauge(
        "last_tick_timestamp_seconds",
        "When the loop ticked last (UTC); time() less this is right even when it is not updated any more.",
        value=health.at,
    )
    age = max(monotonic - health.monotonic, 0.0)
    yield _gauge(
        "tick_age_seconds", "How long before these metrics the loop ticked last, by monotonic time.", value=age
    )
    message = "How long the oldest set in the inbox has waited, by what it waits for."
    yield _gauge("oldest_waiting_seconds", message, "state", health.oldest_seconds)
    message = "The longest time for which a set has not moved although it should have."
    yield _gauge("overdue_seconds", message, value=health.overdue_seconds)
    paused = dict.fromkeys(STANDSTILLS, 0.0) | dict.fromkeys(health.paused, 1.0)
    yield _gauge(
        "paused", "1 if it is paused, 0 if not: a part of the service, a folder, or all of it.", "what", paused
    )


def _of_books(books: MoneyTotals) -> Iterator[Metric]:
    spent = CounterMetricFamily(
        "rodin_watchd_credits_spent", "All credits spent, by the journal, for each kind of job.", labels=["kind"]
    )
    for kind in KINDS:  # each from its first look on: a series that begins with a purchase shows no increase for it
        spent.add_metric([kind], float(books.spent.get(kind, 0)))
    yield spent
    if books.balance is not None:
        message = (
            "Credits in the vendor's account: its last answer less what was charged since. Submits that were in progress then make it "
            "too low until the next answer."
        )
        yield _gauge("balance_credits", message, value=float(books.balance))
        message = "When that answer came (UTC)."
        yield _gauge("balance_timestamp_seconds", message, value=books.balance_at)


def _of_farm(farm: FarmState) -> Iterator[Metric]:
    calls = GaugeMetricFamily(
        "rodin_watchd_farm_calls",
        "Calls of plugins on the farm by queue: waiting for a worker, running, or failed and perhaps to be made again.",
        labels=["queue", "state"],
    )
    for queue in farm.queues:
        for state, found in (("waiting", queue.waiting), ("running", queue.running), ("failed", queue.failed)):
            calls.add_metric([queue.name, state], found)
    yield calls
    message = "How long the oldest call that waits for a worker has waited, by queue."
    yield _gauge(
        "farm_oldest_waiting_seconds", message, "queue", {queue.name: queue.oldest_seconds for queue in farm.queues}
    )
    message = "Workers that are there, by queue."
    yield _gauge("farm_workers", message, "queue", {queue.name: queue.workers for queue in farm.queues})


def _gauge(
    name: str, message: str, label: str = "", values: Mapping[str, float] | None = None, value: float | None = None
) -> Metric:
    """Return one gauge, by the values of a label or without any."""
    if values is None:
        return GaugeMetricFamily(f"rodin_watchd_{name}", message, value=value)
    family = GaugeMetricFamily(f"rodin_watchd_{name}", message, labels=[label])
    for labelled, found in values.items():
        family.add_metric([labelled], found)
    return family


# ---- where they are to be had ---------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    """Answers each request in a thread of its own. Raises OSError."""

    def __init__(self, host: str, port: int, registry: Collector) -> None:
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), MetricsHandler.factory(registry))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - as socketserver has it
        """Log in a line what kept a request from its answer: who went away, or asked for what cannot be had."""
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, OSError) else logging.WARNING
        log.log(level, "metrics: a request was not answered: %r", error, extra={"action": "metrics"})


@contextlib.contextmanager
def served(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    """Answer at http://HOST:PORT/metrics meanwhile; give the port (0 takes any). Raises ConfigError if it is taken."""
    try:
        server = _Server(host, port, metrics.registry)
    except OSError as error:
        raise ConfigError(
            f"Metrics cannot be served at {host}:{port}: {error.strerror}.",
            advice="Choose another port in metrics.listen.",
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def written(metrics: Metrics, path: Path) -> Iterator[None]:
    """Write the file every TEXTFILE_SECONDS meanwhile, and remove it in the end: old numbers would be taken for new ones.

    Another service may write the same file: then its newest one stays. Raises ConfigError where the file is none of metrics.
    """
    try:
        refuse_foreign_at(path, _is_textfile)
    except ForeignFileError as error:
        raise ConfigError(error.message, advice="Name another file in metrics.textfile.") from error
    except DiskError:
        pass  # the first try to write it reports that
    writer = _Writer(metrics, path)
    thread = threading.Thread(target=writer.run, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        writer.stop.set()
        thread.join()
        writer.remove()


class _Writer:
    """Writes the file again and again, in a thread of its own."""

    def __init__(self, metrics: Metrics, path: Path) -> None:
        self.stop = threading.Event()
        self._metrics = metrics
        self._path = path
        self._written: tuple[os.stat_result, bytes] | None = None

    def run(self) -> None:
        """Write until `stop` is set."""
        trouble = Trouble("metrics")
        while True:
            try:
                text = self._metrics.text()
                self._written = write_textfile(self._path, text), text
            except (DiskError, OSError) as error:
                trouble.begins(f"{self._path} cannot be written: {why(error)}")
            else:
                trouble.ends(f"{self._path} is written again.")
            if self.stop.wait(TEXTFILE_SECONDS):
                return

    def remove(self) -> None:
        """Remove the file, if it is the one that was written last and nobody has written into it; never raises OSError."""
        if not self._written:
            return
        status, text = self._written
        with contextlib.suppress(OSError):
            if os.path.samestat(self._path.lstat(), status) and self._path.read_bytes() == text:
                self._path.unlink()


def _is_textfile(head: bytes) -> bool:
    return b"rodin_watchd_" in head


def write_textfile(path: Path, text: bytes) -> os.stat_result:
    """Write it so that node_exporter, another user, sees all of it or the one before; return which file it is.

    Raises ForeignFileError for a file that holds no metrics of ours, OSError.
    """
    refuse_foreign_at(path, _is_textfile)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # does not end in .prom: nobody reads it
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as stream:  # noqa: PTH123 - of a descriptor
        os.fchmod(descriptor, 0o644)  # whatever the umask says
        stream.write(text)
        written = os.fstat(descriptor)
    part.replace(path)
    return written
