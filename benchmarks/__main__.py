"""All measurements in one table: `python -m benchmarks [NAME ...] [--quick] [--json]`."""

from __future__ import annotations

from benchmarks import history, hooks, idle, latency, polling, startup, throughput, transfer, waiting
from benchmarks.figures import main

ALL = (latency, transfer, throughput, waiting, idle, polling, startup, hooks, history)

main([(module.__name__.rpartition(".")[2], module.measure) for module in ALL])
