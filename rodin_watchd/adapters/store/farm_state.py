"""What there is of the farm: read in the store's database, by whoever looks; the queueing engine is not needed for that."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from rodin_watchd.adapters.store.postgres_schema import SCHEMA
from rodin_watchd.core.farm import FarmState, QueueState, WaitingCalls, WorkerState

ENGINE_SCHEMA: Final = "rodin_watchd_farm"
"""The schema of procrastinate's tables."""

IS_THERE: Final = f"SELECT to_regclass('{ENGINE_SCHEMA}.procrastinate_workers') IS NOT NULL"

WORKERS: Final = f"""
    SELECT own.id, own.host, own.pid, own.queues, own.places, own.plugins, own.unfit,
        extract(epoch FROM now() - own.since)::double precision AS for_seconds,
        extract(epoch FROM now() - there.last_heartbeat)::double precision AS silent_seconds,
        made.plugin, made.hook, extract(epoch FROM now() - made.begun_at)::double precision AS call_seconds
    FROM {SCHEMA}.farm_workers AS own JOIN {ENGINE_SCHEMA}.procrastinate_workers AS there ON there.id = own.id
    LEFT JOIN {SCHEMA}.farm_calls AS made ON made.worker = own.id AND made.state = 'running'
    ORDER BY own.host, own.pid, made.id
"""  # noqa: S608 - our own names
CALLS: Final = f"""
    SELECT root, queue, place, plugin, version, state, count(*) AS calls,
        extract(epoch FROM min(asked_at))::double precision AS since_at,
        extract(epoch FROM now() - min(asked_at))::double precision AS oldest_seconds
    FROM {SCHEMA}.farm_calls WHERE state <> 'done' GROUP BY root, queue, place, plugin, version, state
    ORDER BY queue, plugin, root
"""  # noqa: S608 - as above

_Row: TypeAlias = Any
"""A row of either kind of connection: its columns by their names."""


def state_of(workers: Sequence[_Row], calls: Sequence[_Row]) -> FarmState:
    """Return what these rows say."""
    there = _workers(workers)
    waiting = [row for row in calls if row["state"] == "waiting"]
    return FarmState(
        there,
        _queues(there, calls),
        tuple(
            WaitingCalls(
                row["root"],
                row["queue"],
                row["place"],
                row["plugin"],
                row["version"],
                row["calls"],
                row["since_at"],
                row["oldest_seconds"],
            )
            for row in waiting
        ),
    )


def _workers(rows: Sequence[_Row]) -> tuple[WorkerState, ...]:
    made: Mapping[int, list[tuple[str, str, float]]] = defaultdict(list)
    for row in rows:
        if row["plugin"] is not None:
            made[row["id"]].append((row["plugin"], row["hook"], row["call_seconds"]))
    found = {row["id"]: row for row in rows}
    return tuple(
        WorkerState(
            row["id"],
            row["host"],
            row["pid"],
            tuple(json.loads(row["queues"])),
            tuple(json.loads(row["places"])),
            json.loads(row["plugins"]),
            json.loads(row["unfit"]),
            row["for_seconds"],
            row["silent_seconds"],
            tuple(made[row["id"]]),
        )
        for row in found.values()
    )


def _queues(workers: Sequence[WorkerState], calls: Sequence[_Row]) -> tuple[QueueState, ...]:
    counts: Mapping[str, Counter[str]] = defaultdict(Counter)
    oldest: Counter[str] = Counter()
    for row in calls:
        counts[row["queue"]][row["state"]] += row["calls"]
        if row["state"] == "waiting":
            oldest[row["queue"]] = max(oldest[row["queue"]], row["oldest_seconds"])
    serving = Counter(queue for worker in workers for queue in worker.queues)
    return tuple(
        QueueState(
            name,
            counts[name]["waiting"],
            counts[name]["running"],
            counts[name]["failed"],
            float(oldest[name]),
            serving[name],
        )
        for name in sorted({*counts, *serving})
    )
