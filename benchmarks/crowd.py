"""Many whole sets that are there at the start, worked off: jobs a second, CPU for each job, memory; with sidecars and without.

The vendor answers at once and costs little, by HTTP, and once by HTTPS with as many CA certificates as a system has.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import certifi

from benchmarks.figures import Effort, Figure, main
from benchmarks.inside import Run, run_inside
from benchmarks.processes import write_config
from benchmarks.sets import drop
from benchmarks.vendor import make_certificate, vendor

AT_ONCE = {"api.max_in_flight": "16", "intake.sidecar_wait_seconds": "0"}
MOST_CPU_MILLISECONDS = 12
MOST_MEGABYTES = 80


def measure(effort: Effort) -> list[Figure]:
    """Work off a hundred sets and many, with and without sidecars; then a hundred over HTTPS."""
    many, few = effort.sized(10_000, 6), effort.of(100, 3)
    figures = []
    with tempfile.TemporaryDirectory() as home:
        certificate = make_certificate(Path(home))
        with vendor() as (base_url, _):
            for sidecar in (True, False):
                runs = [_worked_off(Path(home) / f"{n}-{sidecar}", base_url, n, sidecar=sidecar) for n in (few, many)]
                figures += _figures(many, few, *runs, sidecar=sidecar)
        with vendor(certificate) as (base_url, _):
            run = _worked_off(Path(home) / "https", base_url, few, bundle=_bundle(Path(home), certificate))
    cpu = run.cpu_seconds / few * 1000
    name = f"{few} sets over HTTPS, certifi's CA certificates: CPU for each job"
    return [*figures, Figure(name, cpu, "ms", at_most=MOST_CPU_MILLISECONDS)]


def _worked_off(root: Path, base_url: str, count: int, *, sidecar: bool = True, bundle: Path | None = None) -> Run:
    write_config(root, base_url, AT_ONCE)
    for number in range(count):
        drop(root / "inbox", number, sidecar=sidecar)
    return run_inside(root, bundle)


def _figures(many: int, few: int, small: Run, large: Run, *, sidecar: bool) -> list[Figure]:
    of = f"{many:,} sets {'with' if sidecar else 'without'} a sidecar"
    cpu = [run.cpu_seconds / count * 1000 for run, count in ((large, many), (small, few))]
    return [
        Figure(f"{of}: CPU for each job", cpu[0], "ms", cpu[1], f"{few} sets", at_most_times_floor=1.1),
        Figure(f"{of}: pace", many / large.wall_seconds, "jobs/s", few / small.wall_seconds, f"{few} sets"),
        Figure(f"{of}: memory at its highest", large.memory_megabytes, "MB", at_most=MOST_MEGABYTES),
    ]


def _bundle(folder: Path, certificate: Path) -> Path:
    """Return a bundle of certifi's certificates and the vendor's own."""
    path = folder / "bundle.pem"
    path.write_text(Path(certifi.where()).read_text() + certificate.read_text())
    return path


if __name__ == "__main__":
    main([("crowd", measure)])
