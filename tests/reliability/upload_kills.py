"""Killing uploads at random moments, and asking the server which of them it has accepted."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crash_scene import KEY, packed_glb, png, sha256
from lines import PacedLine
from upload_servers import Serve

VICTIM = Path(__file__).parent / "upload_victim.py"
MODEL_BYTES = 9_900_000
BYTES_PER_SECOND = 20e6
LONGEST_LIFE_SECONDS = 1.2  # two uploads and what follows them
DIRECT, PACED, KILLED = 1, 100_000, 200_000
"""The first numbers of the uploads without the slow line, over it, and of those that are killed."""

FOR_EVER = 1_000_000
START_SECONDS = 90.0


@dataclass(frozen=True)
class UploadKills:
    """What came of killed uploads to one server: how many were killed in each state, and how many of those it accepted."""

    kills: int
    uploading: int
    uploading_accepted: int
    submitting: int
    submitting_accepted: int
    answered: int
    answered_accepted: int
    paced_seconds: tuple[float, ...]  # from the permission to send the last bytes to the answer, over the slow line
    direct_seconds: tuple[float, ...]  # the same without it: what the server alone takes

    @property
    def broken(self) -> bool:
        """Whether the server accepted what was never ended, or has not accepted what it said it had."""
        return self.uploading_accepted > 0 or self.answered != self.answered_accepted


def quantile(seconds: Sequence[float], share: float) -> float:
    """Return what this share of the times keeps within."""
    return sorted(seconds)[math.ceil(share * len(seconds)) - 1]


def kill_uploads(serve: Serve, kills: int, chance: random.Random, until: float, whole: int) -> UploadKills:
    """Kill so many uploading processes, or until then (monotonic seconds); let `whole` uploads end undisturbed first."""
    with tempfile.TemporaryDirectory(prefix="uploads-") as place:
        folder = Path(place)
        order, marks = _order(folder)
        done = 0
        with serve(folder) as server, PacedLine(server.port, BYTES_PER_SECOND) as line:
            _upload({**order, "base_url": f"http://127.0.0.1:{server.port}", "first": DIRECT, "count": whole})
            order["base_url"] = line.base_url
            _upload({**order, "first": PACED, "count": whole})
            while done < kills and time.monotonic() < until:
                _upload_and_die(order, marks, KILLED + 1000 * done, chance)
                done += 1
            line.rest()
            accepted = server.stop()
        return _judged(marks.read_text(), accepted, done)


def _order(folder: Path) -> tuple[dict[str, object], Path]:
    model, image, marks = folder / "model.glb", folder / "image.png", folder / "marks"
    model.write_bytes(packed_glb(1, MODEL_BYTES))
    image.write_bytes(png(1))
    marks.write_text("")
    order: dict[str, object] = {"key": KEY, "marks": str(marks)}
    for name, path in (("model", model), ("image", image)):
        data = path.read_bytes()
        order |= {name: str(path), f"{name}_size": len(data), f"{name}_sha256": sha256(data)}
    return order, marks


def _upload(order: Mapping[str, object]) -> None:
    subprocess.run([sys.executable, VICTIM, json.dumps(order)], check=True)


def _upload_and_die(order: Mapping[str, object], marks: Path, first: int, chance: random.Random) -> None:
    command = [sys.executable, str(VICTIM), json.dumps({**order, "first": first, "count": FOR_EVER})]
    before = marks.stat().st_size
    with subprocess.Popen(command) as victim:
        deadline = time.monotonic() + START_SECONDS
        while marks.stat().st_size == before and time.monotonic() < deadline:
            _pass(victim, 0.005)
        _pass(victim, chance.uniform(0, LONGEST_LIFE_SECONDS))
        victim.kill()


def _pass(victim: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        victim.wait(seconds)
    except subprocess.TimeoutExpired:
        return
    raise AssertionError(f"the upload ended by itself with {victim.returncode}")


def _judged(marks: str, accepted: set[str], kills: int) -> UploadKills:
    last: dict[str, str] = {}
    at: dict[tuple[str, str], float] = {}
    for line in marks.splitlines():
        number, word, instant = line.split()
        last[number], at[number, word] = word, float(instant)

    def count(word: str, *, accepted_only: bool = False) -> int:
        return sum(1 for number, end in last.items() if end == word and (not accepted_only or number in accepted))

    def windows(numbers: range) -> tuple[float, ...]:
        whole = (n for n, word in last.items() if word == "answered" and int(n) in numbers)
        return tuple(at[n, "answered"] - at[n, "submitting"] for n in whole)

    return UploadKills(
        kills,
        uploading=count("uploading"),
        uploading_accepted=count("uploading", accepted_only=True),
        submitting=count("submitting"),
        submitting_accepted=count("submitting", accepted_only=True),
        answered=count("answered"),
        answered_accepted=count("answered", accepted_only=True),
        paced_seconds=windows(range(PACED, PACED + FOR_EVER)),
        direct_seconds=windows(range(DIRECT, PACED)),
    )
