"""Stories of the vendor, the line and the machine: odd answers, dying peers, stopped processes, wrong clocks, no memory."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path

from crash_scene import SETTLE_SECONDS, DroppedSet, Scene, base_name_set
from crash_start import HERE, NO_COMPILER, Crash, alive, arguments, environment, passes
from crash_truth import Kind, Violation, at_rest, wrongly_held
from ledgers import Leaves, Told, check_budget, check_history, check_leaves, check_money, check_outbox
from lines import NO_OPENSSL, RETRY, SLOW, STAGES, HostileLine, certificate
from stories import FAST, Attack, Attempt, Bench, SceneMaker, Story, bare

from rodin_watchd.adapters.heartbeat import read_heartbeat, sign_path
from rodin_watchd.core.machine import RESTING
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.ledger import Charge, ChargeRow
from rodin_watchd.errors import TaskLostError
from rodin_watchd.model import State

RUN_SECONDS, PATIENT_SECONDS = 90, 180
SEED = 500
OFTEN = 40  # trials that are planned where chance makes each another one


def sets(count: int, first: int = SEED) -> list[DroppedSet]:
    """Return so many sets by base name."""
    return [base_name_set(first + number) for number in range(count)]


def short(
    read_seconds: float, more: str = "", *, dropped: int = 0, settle_seconds: float = SETTLE_SECONDS
) -> SceneMaker:
    """Return what makes a scene whose service waits only so long for an answer, and for a charge, with more in its [budget]."""

    @contextmanager
    def scene(folder: Path, base_url: str) -> Iterator[Scene]:
        made = Scene(folder / "root", base_url)
        config = made.config.read_text().replace("read_seconds = 10", f"read_seconds = {read_seconds}")
        config = config.replace(f"settle_seconds = {SETTLE_SECONDS}", f"settle_seconds = {settle_seconds}")
        made.config.write_text(config + more)
        made.drop(sets(dropped))
        yield made

    return scene


# ---- judges ---------------------------------------------------------------------------------------------------------


def held_for_a_reason(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Every set ended as it would have, or is held because no answer, or none that proves anything, is in the journal."""
    return [*at_rest(attempt.scene, charges), *wrongly_held(attempt.scene, attempt.doubtful)]


def as_charge(row: ChargeRow) -> Charge:
    """Return a line of the vendor's ledger as the judges of the books know it."""
    amounts = (Decimal(row["credits"]), Decimal(row["balance"]))
    return Charge(row["task_uuid"], row["model_sha256"], row["image_sha256"], row["options"], *amounts, row["at"])


def in_the_books(
    scene: Scene, charges: Iterable[ChargeRow], leaves: Leaves, caps: Mapping[str, object], *, refusing: bool = False
) -> list[Violation]:
    """Nobody paid more than was agreed, and the books hold it all; the outbox fits; every job has ended, unless a budget stops it.

    A task that a person named falsely is asked for about ten minutes, longer than any trial.
    """
    told, bought = Told.of(scene.journal), [as_charge(row) for row in charges]
    checks: Sequence[tuple[Kind, Callable[[], None]]] = (
        (Kind.WRONG, lambda: check_history(Told({}, ()), told)),
        (Kind.DUPLICATE, lambda: check_leaves(told, leaves)),
        (Kind.DUPLICATE, lambda: check_money(told, bought, leaves, refusing=refusing)),
        (Kind.DUPLICATE, lambda: check_budget(told, caps)),
        (Kind.PARTIAL, lambda: check_outbox(scene.root, told, bought)),
    )
    found = []
    for kind, check in checks:
        try:
            check()
        except AssertionError as error:
            found.append(Violation(kind, f"{error}"[:600]))
    asking = {job.id for job in told.jobs.values() if job.problem and job.problem.code == TaskLostError.code}
    stuck = [job for job in told.jobs.values() if job.state not in RESTING and job.id not in asking and not caps]
    return [*found, *(Violation(Kind.WRONG, f"{j.name} has not ended: {j.state}, {j.problem}") for j in stuck)]


def bounded(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Judge a vendor that charges and refuses: it costs no more than is agreed and may stay unproven."""
    return in_the_books(attempt.scene, charges, Leaves(), {}, refusing=True)


# ---- the vendor's answers -------------------------------------------------------------------------------------------

REFUSALS = (
    *("charged-429", "charged-429=TOO_MANY_REQUESTS", "charged-408", "charged-404", "charged-405", "charged-307"),
    *(
        "charged-308",
        "charged-400=INVALID_REQUEST",
        "charged-error=A_NEW_WORD",
        "late-charge=2:429",
        "late-charge=1:400",
    ),
)
INTERIM = tuple(
    f"{site}-interim={count}" for site in ("submit", "status", "download", "file", "balance") for count in (1, 30)
)
ODD = (
    *INTERIM,
    "consumed=0.25",
    "consumed=1.5",
    "repeated-uuid",
    "status-redirect",
    "download-redirect=302",
    "file-redirect",
)


def _moods(moods: Sequence[str], calls: int) -> Callable[[Bench, random.Random], Iterator[Attack]]:
    """Give a plan in which the vendor is in each of these moods for its first calls, or the first after another."""

    def plan(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
        for mood in chance.sample(moods, len(moods)):
            yield partial(_in_a_mood, mood, chance.randint(1, 2), calls)

    return plan


def _in_a_mood(mood: str, first: int, calls: int, attempt: Attempt) -> None:
    faults = [parse_fault(f"{mood}@{turn}") for turn in range(first, first + calls)]
    attempt.bench.vendor.set_faults(*faults)
    attempt.scene.drop(sets(3))
    attempt.run(Crash(seconds=PATIENT_SECONDS))  # after refusals it waits longer each time
    attempt.strikes.append(f"the vendor: {mood}, {calls} times from call {first}")
    attempt.bench.vendor.set_faults()


# ---- the line -------------------------------------------------------------------------------------------------------


def _dying_peers(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for number in range(OFTEN):
        first = STAGES[number % len(STAGES)]
        stages = [first, *chance.sample((*STAGES, SLOW), 2)]
        yield partial(_over_a_line, stages, encrypted=True)


def _over_a_line(stages: Sequence[str], attempt: Attempt, *, encrypted: bool) -> None:
    """Run the daemon over a line with these stages, then once more over it, when it behaves."""
    port = int(attempt.bench.vendor.base_url.rpartition(":")[2])
    folder = attempt.scene.root.parent
    pem = certificate(folder) if encrypted else None
    attempt.scene.drop(sets(2))
    with HostileLine(port, stages, pem) as line:
        config = attempt.scene.config
        config.write_text(config.read_text().replace(attempt.bench.vendor.base_url, line.base_url))
        for _ in range(2):
            _until_idle(attempt, pem)
    attempt.strikes.append(f"the line: {', '.join(stages)}")
    submits = [job for job in Told.of(attempt.scene.journal).purchases if job.outcome != "free"]
    if line.submits < len(submits):
        attempt.violations.append(Violation(Kind.WRONG, f"{line.submits} submits came, the books hold {len(submits)}"))


def _until_idle(attempt: Attempt, pem: Path | None) -> None:
    program = [str(HERE / "trusting_daemon.py"), str(pem)] if pem else ["-m", "rodin_watchd"]
    command = [sys.executable, *program, *arguments(attempt.scene)[1:]]
    done = subprocess.run(command, check=False, env=environment(), capture_output=True, text=True, timeout=RUN_SECONDS)
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        attempt.violations.append(Violation(Kind.WRONG, f"it ended with {done.returncode}: {done.stderr[-2000:]}"))


def _repeating_proxy(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for _ in range(OFTEN):
        yield partial(_behind_a_repeating_proxy, chance.choice(("charged-503", "lost-answer")))


def _behind_a_repeating_proxy(mood: str, attempt: Attempt) -> None:
    attempt.bench.vendor.set_faults(parse_fault(f"{mood}@1"))
    _over_a_line([RETRY] * 9, attempt, encrypted=False)
    attempt.bench.vendor.set_faults()


def sent_once(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """Judge what a proxy repeats: that is charged twice, and nobody here can prevent it, but the service sends each set once.

    So the books hold one purchase for each set, each set is delivered, and of the ledger's charges all but one for each is the proxy's.
    """
    told = Told.of(attempt.scene.journal)
    found = [
        Violation(Kind.WRONG, f"{job.name} is {job.state}")
        for job in told.jobs.values()
        if job.state is not State.ARCHIVED
    ]
    if len(told.purchases) != len(attempt.scene.sets):
        found.append(Violation(Kind.DUPLICATE, f"the service sent {len(told.purchases)} submits: {told.purchases}"))
    if len(charges) != len(attempt.scene.sets) + 1:
        found.append(Violation(Kind.WRONG, f"the proxy repeated nothing: {len(charges)} charges"))
    return found


# ---- the machine ----------------------------------------------------------------------------------------------------


def _stopped(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for _ in range(OFTEN):
        yield partial(_stop, random.Random(chance.random()))  # noqa: S311 - when to stop is no secret


def _stop(chance: random.Random, attempt: Attempt) -> None:
    """Stop the daemon for longer than it waits for anything, at some moment of an upload; let it go on; perhaps kill it."""
    slow = chance.choice(("", "submit-slow=0.7", "status-slow=0.7", "file-slow=0.7"))
    attempt.bench.vendor.set_faults(*(parse_fault(f"{slow}@{turn}") for turn in (1, 2) if slow))
    with alive(attempt.scene, serving=True) as daemon:
        attempt.scene.drop(sets(3))
        passes(daemon, chance.uniform(0.05, 1.0))
        daemon.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        daemon.send_signal(signal.SIGCONT)
        passes(daemon, chance.choice((0.0, 0.3, 3.0)))
    attempt.killed()
    attempt.strikes.append(f"stopped for {STOPPED_SECONDS} s, {slow or 'a vendor without delay'}")
    attempt.bench.vendor.set_faults()


WAITS_SECONDS, STOPPED_SECONDS = 1.0, 2.5
"""How long the service waits for an answer, and how long it is stopped."""

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("/nowhere"))
JUMPS = ("+0", "+59", "-59", "+7200", "-7200", "+90000", "-90000", "+800000", "-800000000")
PER_DAY = 1.0


def _no_faketime() -> str:
    return "" if FAKETIME.exists() else "libfaketime is missing"


def _wrong_clock(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for _ in range(OFTEN):
        yield partial(_turn_the_clock, random.Random(chance.random()))  # noqa: S311 - when to jump is no secret


def _turn_the_clock(chance: random.Random, attempt: Attempt) -> None:
    """Set the wall clock forwards and backwards under a running daemon, whose monotonic clock stays true; kill it at the end."""
    hands = attempt.scene.root.parent / "faketime"
    hands.write_text("+0")
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(hands),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    with alive(attempt.scene, serving=True, more=faked) as daemon:
        for number in range(5):
            attempt.scene.drop(sets(1, SEED + number))
            passes(daemon, chance.uniform(0.1, 0.5))
            jump = chance.choice(JUMPS)
            new = hands.with_suffix(".new")
            new.write_text(jump)
            new.replace(hands)
            attempt.strikes.append(f"clock {jump} s")
        passes(daemon, 1.0)
        hands.write_text("+0")  # a clock that was set while nobody ran cannot be told from the truth
        ends_at = time.monotonic() + RUN_SECONDS
        while not _shows_the_true_time(attempt.scene) and passes(daemon, 0.1):
            assert time.monotonic() < ends_at, "the daemon does not see that its clock was set"
        passes(daemon, 0.7)
    attempt.killed()


def _shows_the_true_time(scene: Scene) -> bool:
    """Tell whether a tick of the daemon has seen the clock as it is: however slow the machine is, that ends in a tick."""
    heartbeat = read_heartbeat(sign_path(scene.journal))
    return heartbeat is not None and abs(heartbeat.health.at - time.time()) < 30.0


def within_the_day(attempt: Attempt, charges: Sequence[ChargeRow]) -> list[Violation]:
    """All of it happened within minutes: one budget of one day is all that may be spent."""
    spent = sum(Decimal(row["credits"]) for row in charges)
    found = in_the_books(attempt.scene, charges, Leaves(), {"per_day_credits": PER_DAY})
    over = Violation(Kind.DUPLICATE, f"{spent} credits were spent within a day of {PER_DAY}")
    return [*found, over] if spent > PER_DAY else found


CGROUP = Path("/sys/fs/cgroup/memory")


def _starved(_bench: Bench, chance: random.Random) -> Iterator[Attack]:
    for number in range(OFTEN):
        how = _kill_by_the_kernel if number % 2 and _may_limit() else _leave_no_memory
        yield partial(how, random.Random(chance.random()))  # noqa: S311 - when to starve is no secret


def _may_limit() -> bool:
    """Tell whether this process may make a control group with a limit of memory."""
    probe = CGROUP / f"rodin-watchd-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return (CGROUP / "memory.limit_in_bytes").exists()


def _leave_no_memory(chance: random.Random, attempt: Attempt) -> None:
    """Let the running daemon have no more memory than it has: allocations fail, anywhere; then kill it."""
    with alive(attempt.scene, serving=True) as daemon:
        attempt.scene.drop(sets(3))
        passes(daemon, chance.uniform(0.05, 0.8))
        pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + chance.choice((0, 0, 1, 4, 16)) * 2**20
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (most, most))
        passes(daemon, 1.5)
    attempt.killed()
    attempt.strikes.append("no memory to be had")


def _kill_by_the_kernel(chance: random.Random, attempt: Attempt) -> None:
    """Let the kernel kill the daemon because its group has used up its memory."""
    group = CGROUP / f"rodin-watchd-{os.getpid()}-{chance.randrange(10**6)}"
    group.mkdir()
    try:
        with alive(attempt.scene, serving=True) as daemon:
            attempt.scene.drop(sets(3))
            passes(daemon, chance.uniform(0.05, 0.8))
            (group / "cgroup.procs").write_text(str(daemon.pid))
            (group / "memory.limit_in_bytes").write_text(str(chance.choice((1, 2, 4)) * 2**20))
            passes(daemon, 1.5)
    finally:
        _remove(group)
    attempt.killed()
    attempt.strikes.append("killed by the kernel for its memory")


def _remove(group: Path) -> None:
    for _ in range(50):
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.02)


def no_tools(*reasons: str) -> Callable[[], str]:
    """Return what names why a story cannot be made here, "" if it can."""
    return lambda: next(filter(None, (NO_COMPILER, *reasons)), "")


def _at_rest_already(_attempt: Attempt) -> None:
    """Do nothing: the attack itself has let the daemon come to rest, over the line that it knows."""


CHARGED = Story(
    "a vendor that charges and refuses", _moods(REFUSALS, 4), short(10, settle_seconds=4), bounded, weight=1.5
)
ODD_ANSWERS = Story("odd answers of the vendor", _moods(ODD, 2), bare, held_for_a_reason)
PEERS = Story(
    "TLS with a dying or slow peer", _dying_peers, short(3), held_for_a_reason, _at_rest_already,
    no_tools(NO_OPENSSL), replace(FAST, balance=Decimal(100_001)), weight=1.5,
)  # fmt: skip
PROXY = Story("a proxy that repeats a submit", _repeating_proxy, short(3), sent_once, _at_rest_already, weight=0.7)
STOPPED = Story("stopped for longer than it waits", _stopped, short(WAITS_SECONDS), held_for_a_reason)
CLOCKS = Story(
    "the wall clock jumps", _wrong_clock, short(10, f"per_day_credits = {PER_DAY}\n"), within_the_day,
    missing=lambda: NO_COMPILER or _no_faketime(),
)  # fmt: skip
STARVED = Story("no memory", _starved, bare, held_for_a_reason, missing=no_tools())
WORLD_STORIES = (CHARGED, ODD_ANSWERS, PEERS, PROXY, STOPPED, CLOCKS, STARVED)
