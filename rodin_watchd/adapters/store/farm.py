"""The farm's calls in the store's PostgreSQL database, handed to workers by procrastinate. Asynchronous: for one event loop.

Procrastinate has the queues, the locks and the workers' heartbeats, in a schema of its own. What counts is in `farm_calls`: each
attempt of a call has a number, and only the newest one can publish, in one statement.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import DeleteJobCondition, Job, Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from procrastinate.worker import Worker

from rodin_watchd.adapters.store.farm_state import CALLS, ENGINE_SCHEMA, WORKERS, state_of
from rodin_watchd.adapters.store.postgres_connection import LOCKS, conninfo
from rodin_watchd.adapters.store.postgres_schema import SCHEMA
from rodin_watchd.core.farm import (
    MOST_LOST,
    SPARE_SECONDS,
    Attempt,
    CallState,
    CarryOut,
    FarmCall,
    FarmState,
    KnownCall,
    Offer,
    Published,
)
from rodin_watchd.errors import JournalError, StoreAwayError
from rodin_watchd.settings import Address

_TASK: Final = "rodin_watchd.call"
_SETUP: Final = 5
"""What is locked while the engine's tables are made; 1 to 4 are the store's."""

_CALLS: Final = f"{SCHEMA}.farm_calls"
_MIGRATIONS: Final = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
_NEWEST: Final = _MIGRATIONS[-1].name
"""The engine's newest migration, which its schema is marked with."""

_ASK: Final = f"""
    INSERT INTO {_CALLS} AS known (root, event_id, job_id, plugin, hook, queue, place, version, line, seconds, files, request)
    VALUES (%(root)s, %(event_id)s, %(job_id)s, %(plugin)s, %(hook)s, %(queue)s, %(place)s, %(version)s, %(line)s,
        %(seconds)s, %(files)s, %(request)s)
    ON CONFLICT (root, event_id, plugin) DO UPDATE SET attempt = known.attempt + 1, lost = 0, state = 'waiting', hook = excluded.hook,
        queue = excluded.queue, place = excluded.place, version = excluded.version, line = excluded.line,
        seconds = excluded.seconds, files = excluded.files, request = excluded.request, reply = '', worker = NULL, asked_at = now(), begun_at = NULL,
        ended_at = NULL
        WHERE known.state IN ('done', 'failed')
    RETURNING id, attempt, line
"""  # noqa: S608 - our own names
_KNOWN: Final = f"""
    SELECT id, state, place, files, line FROM {_CALLS} WHERE root = %(root)s AND event_id = %(event_id)s AND plugin = %(plugin)s
"""  # noqa: S608 - as above
_REPLIES: Final = f"SELECT id, attempt, state, job, reply FROM {_CALLS} WHERE id = ANY(%(ids)s)"  # noqa: S608
_TAKE_UP: Final = f"""
    UPDATE {_CALLS} SET state = 'running', worker = %(worker)s, begun_at = now()
    WHERE id = %(call)s AND attempt = %(attempt)s AND state = 'waiting' RETURNING plugin, hook, place, files, request
"""  # noqa: S608
_PUBLISH: Final = f"""
    UPDATE {_CALLS} SET state = %(state)s, reply = %(reply)s, request = '', ended_at = now()
    WHERE id = %(call)s AND attempt = %(attempt)s AND state IN ('running', %(state)s) AND worker = %(worker)s RETURNING id
"""  # noqa: S608 - may be repeated, where the network cut off the answer
_NEXT_ATTEMPT: Final = f"""
    UPDATE {_CALLS} SET attempt = attempt + 1, lost = lost + %(lost)s, state = 'waiting', worker = NULL, begun_at = NULL
    WHERE id = %(call)s AND attempt = %(attempt)s AND state IN ('waiting', 'running') RETURNING id, attempt, line
"""  # noqa: S608
_GIVE_UP: Final = f"""
    UPDATE {_CALLS} SET attempt = attempt + 1, state = 'failed', worker = NULL, request = '', reply = '', ended_at = now()
    WHERE id = %(call)s AND attempt = %(attempt)s AND state IN ('waiting', 'running')
"""  # noqa: S608
_OPEN: Final = f"""
    SELECT id, attempt, lost, job,
        state = 'running' AND begun_at < now() - (seconds + %(spare)s) * interval '1 second' AS is_hung
    FROM {_CALLS} WHERE root = %(root)s AND state IN ('waiting', 'running')
"""  # noqa: S608
_JOB_IS: Final = f"UPDATE {_CALLS} SET job = %(job)s WHERE id = %(call)s AND attempt = %(attempt)s"  # noqa: S608
_JOBS: Final = f"SELECT job FROM {_CALLS} WHERE job = ANY(%(jobs)s)"  # noqa: S608
_DROP: Final = (
    f"DELETE FROM {_CALLS} WHERE root = %(root)s AND event_id = %(event_id)s AND plugin = %(plugin)s RETURNING job"  # noqa: S608
)
_FORGET: Final = f"""
    DELETE FROM {_CALLS} WHERE root = %(root)s
        AND (state IN ('done', 'failed') AND ended_at < now() - interval '1 day' OR job_id <> '' AND job_id = ANY(%(jobs)s))
    RETURNING job
"""  # noqa: S608
_REGISTER: Final = f"""
    INSERT INTO {SCHEMA}.farm_workers (id, host, pid, queues, places, plugins, unfit)
    VALUES (%(id)s, %(host)s, %(pid)s, %(queues)s, %(places)s, %(plugins)s, %(unfit)s)
"""  # noqa: S608
_CLEAN_WORKERS: Final = f"""
    DELETE FROM {SCHEMA}.farm_workers WHERE id = %(id)s OR NOT EXISTS (SELECT 1 FROM {ENGINE_SCHEMA}.procrastinate_workers AS there WHERE there.id = farm_workers.id)
"""  # noqa: S608
_ROOTS: Final = f"SELECT id, host, folder FROM {SCHEMA}.farm_roots ORDER BY id"  # noqa: S608
_ADD_ROOT: Final = f"""
    INSERT INTO {SCHEMA}.farm_roots VALUES (%(id)s, %(host)s, %(folder)s)
    ON CONFLICT (id) DO UPDATE SET host = excluded.host, folder = excluded.folder
"""  # noqa: S608
_MARKED: Final = f"SELECT obj_description(to_regnamespace('{ENGINE_SCHEMA}'), 'pg_namespace'), to_regclass('{ENGINE_SCHEMA}.procrastinate_jobs') IS NOT NULL"


class FarmQueue:
    """The calls, for a daemon or a worker. To be opened (`opened`), and used in one event loop.

    A database that is away is waited for, `patience` seconds. Raises StoreAwayError where it is away for longer: all may be
    repeated then; JournalError for every other failure.
    """

    def __init__(self, address: Address, patience: float) -> None:
        self._address = address
        name = f"rodin_watchd farm {os.getpid()}@{socket.gethostname()}"[:63]
        self._conninfo = conninfo(address, name)
        self.connector = PsycopgConnector(
            conninfo=self._conninfo, min_size=1, max_size=4, timeout=patience, configure=_set_up
        )
        self.app = App(connector=self.connector)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[FarmQueue]:
        """Open the connections until the end, and make the engine's tables, or bring them up to date."""
        with self.errors_in_words():
            await (await psycopg.AsyncConnection.connect(self._conninfo)).close()  # the pool would wait half a minute
            await self.app.open_async()
        try:
            await self._prepare()
            yield self
        finally:
            await self.app.close_async()

    @contextlib.contextmanager
    def errors_in_words(self) -> Iterator[None]:
        """Turn what the engine and the database raise into StoreAwayError or JournalError."""
        try:
            yield
        except (ConnectorException, psycopg.Error, OSError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> StoreAwayError | JournalError:
        cause = _cause_of(error)
        first = (str(cause).strip().splitlines() or [type(cause).__name__])[0].rstrip(".")
        if _is_away(cause):
            return StoreAwayError(f"The farm's queue in {self._address.shown} cannot be reached: {first}.")
        return JournalError(
            f"The farm's queue in {self._address.shown} cannot be used: {first}.", advice=_grant(self._address)
        )

    async def _all(self, query: str, **values: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever SQL takes
        with self.errors_in_words():
            found: list[dict[str, Any]] = await self.connector.execute_query_all_async(query, **values)
            return found

    async def _run(self, query: str, **values: Any) -> None:  # noqa: ANN401 - as above
        with self.errors_in_words():
            await self.connector.execute_query_async(query, **values)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        with self.errors_in_words():
            async with self.connector.pool.connection() as found, found.transaction():
                yield found

    async def _prepare(self) -> None:
        """Make the engine's tables, or bring them up to date, each of its migrations at most once."""
        async with self._transaction() as found:
            if await _mark(found) == _NEWEST:
                return
            await found.execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {_SETUP})")
            mark = await _mark(found)
            if mark is None:
                await found.execute(f"CREATE SCHEMA IF NOT EXISTS {ENGINE_SCHEMA}")
                await found.execute(SchemaManager.get_schema())
            else:
                for path in _MIGRATIONS:
                    if path.name > mark:
                        await found.execute(path.read_bytes())
            if mark is None or mark < _NEWEST:
                await found.execute(f"COMMENT ON SCHEMA {ENGINE_SCHEMA} IS '{_NEWEST}'")

    # ---- for a daemon -----------------------------------------------------------------------------------------------

    async def add_root(self, root: str, host: str, folder: str) -> None:
        """Let workers know a root whose calls there may be."""
        await self._run(_ADD_ROOT, id=root, host=host, folder=folder)

    async def known(self, root: str, event_id: str, plugin: str) -> KnownCall | None:
        """Return a call that was asked for before, by whatever daemon."""
        found = await self._all(_KNOWN, root=root, event_id=event_id, plugin=plugin)
        if not found:
            return None
        row = found[0]
        return KnownCall(row["id"], row["state"], row["place"], row["files"], row["line"])

    async def ask(self, call: FarmCall) -> int:
        """Have a call made, and return its number. One that is under way already is not asked for again."""
        names = (
            "root",
            "event_id",
            "job_id",
            "plugin",
            "hook",
            "queue",
            "place",
            "version",
            "seconds",
            "files",
            "request",
            "line",
        )
        values = {name: getattr(call, name) for name in names}
        async with self._transaction() as found:
            cursor = await found.execute(_ASK, values)
            asked = await cursor.fetchone()
            if asked is not None:
                await self._defer(found, *asked)
                return int(asked[0])
        there = await self.known(call.root, call.event_id, call.plugin)
        return there.id if there else await self.ask(call)

    async def _defer(self, found: psycopg.AsyncConnection[Any], call_id: int, attempt: int, line: str) -> None:
        """Give an attempt to the engine, in the same transaction."""
        deferrer = self.app.configure_task(_TASK, queue=line, connection=found)
        job = await deferrer.defer_async(call=call_id, attempt=attempt)
        await found.execute(_JOB_IS, {"job": job, "call": call_id, "attempt": attempt})

    async def progress(self, call_ids: Collection[int]) -> dict[int, CallState]:
        """Return how these calls stand; one that is not there any more is left out."""
        rows = await self._all(_REPLIES, ids=list(call_ids))
        return {row["id"]: _progress(row) for row in rows}

    async def state(self) -> FarmState:
        """Return what there is now."""
        return state_of(await self._all(WORKERS), await self._all(CALLS))

    async def renew_lost(self, root: str, silent_seconds: float) -> list[int]:
        """Have the calls of a root made again whose worker is silent, hung, or gone; return their numbers.

        One that was lost too often is given up.
        """
        rows = await self._all(_OPEN, root=root, spare=SPARE_SECONDS)
        if not rows:
            return []
        with self.errors_in_words():
            silent = await self.app.job_manager.get_stalled_jobs(
                task_name=_TASK, seconds_since_heartbeat=silent_seconds
            )
            pending = {job.id for job in await self.app.job_manager.list_jobs_async(task=_TASK)}
        stalled = {job.id for job in silent}
        lost = [row for row in rows if row["job"] in stalled or row["is_hung"] or row["job"] not in pending]
        for row in lost:
            await self._renew(row)
        return [row["id"] for row in lost]

    async def _renew(self, row: Mapping[str, Any]) -> None:
        which = {"call": row["id"], "attempt": row["attempt"]}
        if row["lost"] >= MOST_LOST:
            await self._run(_GIVE_UP, **which)
        else:
            await self._next_attempt(which, lost=1)
        await self._end(row["job"] or 0)

    async def _end(self, job: int) -> None:
        with contextlib.suppress(ConnectorException):  # its worker has come back, and has ended it itself
            await self.app.job_manager.finish_job_by_id_async(job, Status.FAILED, delete_job=True)

    async def _next_attempt(self, which: Mapping[str, int], *, lost: int) -> None:
        async with self._transaction() as found:
            cursor = await found.execute(_NEXT_ATTEMPT, {**which, "lost": lost})
            if (after := await cursor.fetchone()) is not None:
                await self._defer(found, *after)

    async def drop(self, root: str, event_id: str, plugin: str) -> None:
        """Forget a call: nobody waits for it. What a worker makes of it is discarded."""
        await self._cancel(await self._all(_DROP, root=root, event_id=event_id, plugin=plugin))

    async def forget(self, root: str, job_ids: Collection[str] = ()) -> None:
        """Forget the calls for these jobs, and what ended long ago; and what of the engine nobody waits for."""
        await self._cancel(await self._all(_FORGET, root=root, jobs=list(job_ids)))
        with self.errors_in_words():
            silent = await self.app.job_manager.get_stalled_jobs(task_name=_TASK, seconds_since_heartbeat=_LONG_SECONDS)
        known = {row["job"] for row in await self._all(_JOBS, jobs=[job.id for job in silent])}
        for job in silent:
            if job.id is not None and job.id not in known:
                await self._end(job.id)

    async def _cancel(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            if row["job"] is not None:
                with self.errors_in_words():
                    await self.app.job_manager.cancel_job_by_id_async(row["job"], delete_job=True)

    # ---- for a worker -----------------------------------------------------------------------------------------------

    async def roots(self) -> list[tuple[str, str, str]]:
        """Return the roots whose calls there may be: id, host and folder of each."""
        return [(row["id"], row["host"], row["folder"]) for row in await self._all(_ROOTS)]

    def worker(self, offer: Offer, carry_out: CarryOut, published: Published) -> FarmWorker:
        """Return a new worker; it works while it is run."""
        return FarmWorker(self, offer, carry_out, published)

    async def register(self, worker_id: int, offer: Offer) -> None:
        """Let others see a worker; and forget those that are gone."""
        lists = {name: json.dumps(list(getattr(offer, name))) for name in ("queues", "places")}
        tables = {name: json.dumps(dict(getattr(offer, name))) for name in ("plugins", "unfit")}
        host = socket.gethostname()
        await self._run(_CLEAN_WORKERS, id=worker_id)
        await self._run(_REGISTER, id=worker_id, host=host, pid=os.getpid(), **lists, **tables)

    async def take_up(self, worker_id: int, call_id: int, number: int) -> Attempt | None:
        """Begin an attempt; None where it is not the newest one any more."""
        found = await self._all(_TAKE_UP, worker=worker_id, call=call_id, attempt=number)
        if not found:
            return None
        row = found[0]
        return Attempt(
            call_id, number, row["plugin"], row["hook"], row["place"], row["files"], json.loads(row["request"])
        )

    async def publish(self, attempt: Attempt, worker_id: int, reply: Mapping[str, Any]) -> bool:
        """Publish what came of an attempt, if it is still the newest one; return whether it is."""
        state = "done" if reply["ok"] else "failed"
        values = {"call": attempt.call_id, "attempt": attempt.number, "worker": worker_id}
        return bool(await self._all(_PUBLISH, state=state, reply=json.dumps(reply), **values))

    async def give_back(self, attempt: Attempt) -> None:
        """Let another worker carry it out; nothing if it is not the newest attempt any more."""
        await self._next_attempt({"call": attempt.call_id, "attempt": attempt.number}, lost=0)


class FarmWorker:
    """Takes calls from lines until it is stopped. All but `stop` in the queue's event loop."""

    def __init__(self, queue: FarmQueue, offer: Offer, carry_out: CarryOut, published: Published) -> None:
        self._queue = queue
        self._offer = offer
        self._carry_out = carry_out
        self._published = published
        self._app = _PatientApp(queue.connector)
        self._app.task(name=_TASK, pass_context=True)(self._call)
        self._worker = Worker(
            self._app,
            queues=list(offer.lines),
            name=f"{socket.gethostname()}:{os.getpid()}",
            concurrency=offer.at_once,
            fetch_job_polling_interval=1.0,
            shutdown_graceful_timeout=offer.stop_seconds,
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            listen_notify=False,  # its listener ends for good when the database is restarted
            update_heartbeat_interval=offer.silent_seconds / 6,
            stalled_worker_timeout=offer.silent_seconds,
        )

    def stop(self) -> None:
        """Take nothing more; end when the calls under way have ended, or were given back. Any thread."""
        self._worker.stop()  # type: ignore[no-untyped-call] # as above

    async def run(self) -> None:
        """Work until `stop`. Raises StoreAwayError, JournalError; may be repeated then, with a new worker."""
        with self._queue.errors_in_words():
            running = asyncio.ensure_future(self._worker.run())  # type: ignore[no-untyped-call] # it has no types
            try:
                await self._show(running)
                await running
            finally:
                self._worker.stop()  # type: ignore[no-untyped-call] # as above
                with contextlib.suppress(Exception):
                    await running

    async def _show(self, running: asyncio.Future[None]) -> None:
        """Let others see the worker as soon as the engine knows it."""
        while (worker_id := self._worker.worker_id) is None and not running.done():  # noqa: ASYNC110 - the engine reports it to nobody
            await asyncio.sleep(_BEGINNING_SECONDS)
        if worker_id is not None:
            await self._queue.register(worker_id, self._offer)

    async def _call(self, _context: JobContext, *, call: int, attempt: int) -> None:
        """Carry out an attempt, and publish what came of it; or give it back."""
        worker_id = self._worker.worker_id
        if worker_id is None or (taken := await self._queue.take_up(worker_id, call, attempt)) is None:
            return  # the newest attempt is another one
        try:
            reply = await self._carry_out(taken)
        except asyncio.CancelledError:
            with contextlib.suppress(StoreAwayError):  # then it is made again because this worker gives no sign of life
                await self._queue.give_back(taken)
            raise
        if reply is None:
            await self._queue.give_back(taken)
            self.stop()
        else:
            await self._publish(taken, worker_id, reply)

    async def _publish(self, taken: Attempt, worker_id: int, reply: Mapping[str, Any]) -> None:
        """Publish a reply; a database that is away is waited for, until the call is made again elsewhere anyway."""
        until = time.monotonic() + self._offer.silent_seconds
        while True:
            try:
                is_newest = await self._queue.publish(taken, worker_id, reply)
            except StoreAwayError:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                self._published(taken, is_newest)
                return


class _PatientManager(JobManager):
    """What the engine asks of the database for a worker: while that is away nothing ends that is under way."""

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """Return the next job; none while the database is away."""
        try:
            return await super().fetch_job(queues, worker_id)
        except ConnectorException as error:
            if not _is_away(_cause_of(error)):
                raise
            return None

    async def update_heartbeat(self, worker_id: int) -> None:
        """Give a sign of life, as soon as the database is there."""
        with _patience():
            await super().update_heartbeat(worker_id)

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """End a job; a daemon cleans up what cannot be ended now (`FarmQueue.forget`)."""
        with _patience():
            await super().finish_job(job, status, delete_job)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """Let a database that is away be no error."""
    try:
        yield
    except ConnectorException as error:
        if not _is_away(_cause_of(error)):
            raise


class _PatientApp(App):
    """The engine of a worker."""

    def __init__(self, connector: PsycopgConnector) -> None:
        super().__init__(connector=connector)
        self.job_manager = _PatientManager(connector)


# ---- The connection, and the engine's schema ----------------------------------------------------------------------


_LONG_SECONDS: Final = 600.0
_BEGINNING_SECONDS: Final = 0.05
_AGAIN_SECONDS: Final = 1.0
_SETTINGS: Final = f"""
    SELECT set_config('search_path', '{ENGINE_SCHEMA}, pg_temp', false), set_config('client_encoding', 'UTF8', false),
        set_config('lock_timeout', '5s', false), set_config('statement_timeout', '30s', false),
        set_config('idle_in_transaction_session_timeout', '30s', false)
"""


async def _set_up(found: psycopg.AsyncConnection[Any]) -> None:
    await found.execute(_SETTINGS)
    await found.commit()


async def _mark(found: psycopg.AsyncConnection[Any]) -> str | None:
    """Return the newest migration of the engine that was made; None where it has no tables."""
    row = await (await found.execute(_MARKED)).fetchone()
    return (row[0] or "") if row and row[1] else None


def _cause_of(error: Exception) -> BaseException:
    return error.__cause__ if isinstance(error, ConnectorException) and error.__cause__ else error


def _is_away(error: BaseException) -> bool:
    """Return whether the database cannot be reached; else it has refused something."""
    code = getattr(error, "sqlstate", None) or ""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError) and not code.startswith("42")


def _progress(row: Mapping[str, Any]) -> CallState:
    reply = json.loads(row["reply"]) if row["reply"] else None
    return CallState(row["attempt"], row["state"] in ("done", "failed"), reply)


def _grant(address: Address) -> str:
    role = address.role or "ROLE"
    return (
        f'Let the role use the schemas: GRANT ALL ON SCHEMA {ENGINE_SCHEMA} TO "{role}"; docs/farm.md has the statements for a role of '
        "workers. The schema is made when the service starts, whose role has to own the database."
    )
