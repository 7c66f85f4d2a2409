"""All measurements in one table: `python -m benchmarks [NAME ...] [--quick] [--json]`."""

from __future__ import annotations

from benchmarks import (
    backlog,
    burst,
    calls,
    crowd,
    growth,
    history,
    hooks,
    idle,
    kills,
    latency,
    nodes,
    page,
    polling,
    startup,
    throughput,
    transfer,
    tree,
    waiting,
    watchers,
)
from benchmarks.figures import main

ALL = (
    latency,
    transfer,
    throughput,
    backlog,
    waiting,
    watchers,
    idle,
    polling,
    startup,
    hooks,
    history,
    growth,
    crowd,
    tree,
    burst,
    page,
    calls,
    kills,
    nodes,
)

main([(module.__name__.rpartition(".")[2], module.measure) for module in ALL])
