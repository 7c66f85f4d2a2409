"""A private PostgreSQL for tests: one cluster for each test process, a database of its own for each test."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import psycopg
import pytest

from rodin_watchd.adapters.store.postgres import PostgresStore
from rodin_watchd.settings import Address

START_SECONDS = 30
ROLE = "rodin"
REPLICA = "replica"
"""The name by which a primary knows its replica."""


def programs() -> Path | None:
    """Return the folder with PostgreSQL's programs, None where it is not installed; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@dataclass(frozen=True)
class Cluster:
    """A server on a socket in a folder of its own."""

    programs: Path
    folder: Path

    def url(self, database: str) -> str:
        """Name a database."""
        return f"postgresql://{ROLE}@/{database}?host={self.folder}"

    def make(self) -> None:
        """Make the cluster's files."""
        self._run("initdb", "-D", "data", "-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self.configure(
            listen_addresses="",
            unix_socket_directories=self.folder,
            max_connections=60,
            shared_buffers="16MB",
            autovacuum="off",
        )

    def follow(self, primary: Cluster) -> None:
        """Make the cluster's files as those of a replica of a running one."""
        source = f"host={primary.folder} user={ROLE} application_name={REPLICA}"
        self._run("pg_basebackup", "-D", "data", "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.configure(unix_socket_directories=self.folder, synchronous_standby_names="")

    def configure(self, **settings: object) -> None:
        """Add settings, which a server reads at its start or when it is told to (`reload`)."""
        with (self.folder / "data" / "postgresql.conf").open("a") as config:
            config.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        """Start the server; return when it answers."""
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", str(START_SECONDS), "start")

    def stop(self, how: str = "fast") -> None:
        """Stop the server; `immediate`: as by a crash."""
        self._run("pg_ctl", "-D", "data", "-w", "-m", how, "stop")

    def reload(self) -> None:
        """Have the server read its settings."""
        self._run("pg_ctl", "-D", "data", "reload")

    def promote(self) -> None:
        """Make a replica a server of its own."""
        self._run("pg_ctl", "-D", "data", "-w", "-t", str(START_SECONDS), "promote")

    def processes(self) -> list[int]:
        """Return the process ids of the server, its first process before the others; none where it does not run."""
        try:
            first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        except (OSError, ValueError, IndexError):
            return []
        return [first, *map(int, children)]

    def ask(self, query: str, database: str = "postgres", **options: str) -> list[tuple[object, ...]]:
        """Give a database a statement, as somebody else does."""
        with contextlib.closing(psycopg.connect(self.url(database), autocommit=True, **options)) as found:  # type: ignore[arg-type]
            done = found.execute(query)
            return done.fetchall() if done.description else []

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, which refuse to run as root."""
        # Not by `user` of subprocess: that forks, which stops the work of other threads in OpenBLAS for good.
        nobody = pwd.getpwnam("nobody")
        other = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        done = subprocess.run(
            [*(other if os.geteuid() == 0 else []), self.programs / program, *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,  # not a pipe: the server would keep it open
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed ({done.returncode}): {log.read_text() if log.exists() else ''}")


@contextlib.contextmanager
def place() -> Iterator[Cluster]:
    """Give a place for a cluster, with nothing in it; the server is stopped at the end."""
    found = programs()
    assert found is not None
    memory = Path("/dev/shm")  # noqa: S108 - where commits do not wait for the disk
    folder = Path(
        tempfile.mkdtemp(prefix="pg-", dir=memory if os.access(memory, os.W_OK) else None)
    )  # a socket's path must be short
    try:
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        folder.chmod(0o755)
        cluster = Cluster(found, folder)
        try:
            yield cluster
        finally:
            with contextlib.suppress(RuntimeError):  # it does not run
                cluster.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Give a new cluster, started, until the end."""
    with place() as cluster:
        cluster.make()
        cluster.start()
        yield cluster


class Pair(contextlib.ExitStack):
    """A server with a replica that follows it, until the end; `synchronous`: a commit waits for the replica."""

    def __init__(self, *, synchronous: bool) -> None:
        super().__init__()
        self._synchronous = synchronous
        self.primary = self.enter_context(running())
        self.replica = self._follow()

    def _follow(self) -> Cluster:
        replica = self.enter_context(place())
        replica.follow(self.primary)
        replica.start()
        if self._synchronous:
            self.primary.configure(synchronous_standby_names=REPLICA)
            self.primary.reload()
        return replica

    def fail_over(self) -> None:
        """End the primary as by a crash, for good; the replica takes its place, and gets a replica of its own."""
        self.primary.stop("immediate")
        self.replica.promote()
        self.primary = self.replica
        self.replica = self._follow()


_numbers = count(1)


@cache
def _template(cluster: Cluster) -> str:
    """Make a database with an empty store, to be copied."""
    cluster.ask("CREATE DATABASE template_store")
    PostgresStore(Address(cluster.url("template_store"))).close()
    return "template_store"


@contextlib.contextmanager
def database(cluster: Cluster, *, empty: bool = False) -> Iterator[str]:
    """Give the name of a new database, with a store that has nothing in it, or with nothing."""
    name = f"test_{next(_numbers)}"
    cluster.ask(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else _template(cluster)}")
    try:
        yield name
    finally:
        with contextlib.suppress(psycopg.OperationalError):  # the test has stopped the server
            cluster.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give a running server, one for each test process."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running() as found:
        yield found


@pytest.fixture
def address(cluster: Cluster) -> Iterator[Address]:
    """Give a database with an empty store."""
    with database(cluster) as name:
        yield Address(cluster.url(name))
