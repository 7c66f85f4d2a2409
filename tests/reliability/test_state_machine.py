"""Whatever artists, the vendor, the clock and the power do, in whatever order: nothing is lost, nothing is paid twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from effort import searching
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledgers import Told
from studio import Studio, VendorClock
from workshop import KEY, emulated, glb, image, model

from rodin_watchd.emulator.faults import KINDS, Site
from rodin_watchd.emulator.server import Emulator
from rodin_watchd.model import Job, State

AFTERWARDS = (Site.STATUS, Site.DOWNLOAD, Site.FILE, Site.TASK)
VALUED = (
    *("charged-429=TOO_MANY_REQUESTS", "charged-400=INVALID_REQUEST", "charged-404=NO_SUCH_TASK"),
    *(
        "charged-error=INVALID_REQUEST",
        "charged-error=A_NEW_WORD",
        "late-charge=5:429",
        "late-charge=30:400",
        "consumed=0.25",
    ),
    *("submit-interim=7", "submit-redirect=303", "status-redirect=308"),
    "submit-429=30",
    "submit-error=INSUFFICIENT_FUND",
    "submit-error=INVALID_REQUEST",
    "balance-error=INSUFFICIENT_FUND",
)


def moods(*sites: Site) -> st.SearchStrategy[str]:
    """Give whatever can go wrong there, but for slowness: it is the steps that wait here, for as long as the story likes."""
    return st.sampled_from([n for n, kind in KINDS.items() if kind.site in sites and not n.endswith("-slow")])


MOODS = moods(Site.SUBMIT) | moods(Site.BALANCE) | moods(*AFTERWARDS) | st.sampled_from(VALUED)
NAMES = ("chair", "Stuhl ü", "-x", "日本", "two\nlines", "a" * 180, "oak/table", "oak/Chair")
BUDGETS: tuple[Mapping[str, object], ...] = (
    *({}, {"sole_spender": True}, {"sole_spender": True, "per_day_credits": 1.5}),
    {"hold_above_sets": 2, "per_folder_credits": 2},
    {"per_day_credits": 0.5},
)
RELOADS: tuple[Mapping[str, Mapping[str, Any]], ...] = (
    {"polling": {"max_seconds": 3}},
    {"polling": {"max_seconds": 2}},
    {"api": {"max_in_flight": 1}},
    {"service": {"log_level": "warning"}},
    {"budget": {"per_day_credits": 1}},
    {"budget": {"low_balance": 1}},
)
AGAIN = (
    b"again = true\n",
    b"again = true # once more\n",
    b'again = "second try"\n',
    b'again = "second try" # as before\n',
)
"""Leaves to pay again; the first two are the same one, and so are the others."""

DECISIONS = (
    ("resolve", "--not-charged", "--yes"),
    ("resolve", "--give-up"),
    ("retry", "--pay-again"),
    ("retry",),
    ("cancel",),
)
TWO = st.tuples(st.sampled_from(DECISIONS), st.sampled_from(DECISIONS))
LOSSES = st.sampled_from(["lost-answer", "submit-503", "charged-503", "charged-429", "submit-429", "no-uuid"])
FOR_EVER = 1e12
CALLS = st.integers(1, 3)
ROUNDS = st.integers(1, 8)
PICK = st.integers(0, 7)
NAMED = st.sampled_from(NAMES)
JUMPS = (-1e9, -100_000.0, -61.0, 61.0, 5_000.0, 700_000.0)


class Chaos(RuleBasedStateMachine):
    """Everything that may happen, in any order; each rule does one thing."""

    studio: Studio

    def __init__(self, emulator: Emulator, clock: VendorClock) -> None:
        """Know the vendor, and its clock."""
        super().__init__()
        self.emulator = emulator
        self.clock = clock
        self.number = 0

    @initialize(budget=st.sampled_from(BUDGETS))
    def open_studio(self, budget: Mapping[str, object]) -> None:
        """Open a studio."""
        self.studio = Studio(self.emulator, budget, self.clock)

    def teardown(self) -> None:
        """Let it come to an end, if it could be opened at all."""
        if hasattr(self, "studio"):
            self.studio.end()

    @invariant()
    def all_is_well(self) -> None:
        """Check what must hold after each step."""
        self.studio.check()

    def _new(self) -> str:
        self.number += 1
        return f"content {self.number}"

    def _pick(self, found: list[Any], pick: int, act: Callable[[Any], object]) -> None:
        if found:
            act(found[pick % len(found)])

    # ---- the artists ------------------------------------------------------------------------------------------------

    @rule(name=NAMED, kind=st.sampled_from([("obj", model), ("glb", glb)]), sidecar=st.booleans())
    def drop_by_name(self, name: str, kind: tuple[str, Callable[[str], bytes]], sidecar: bool) -> None:
        """Drop a model and an image of one name, perhaps with a sidecar."""
        word = self._new()
        self.studio.put(f"{name}.{kind[0]}", kind[1](word))
        self.studio.put(f"{name}.png", image(word))
        if sidecar:
            self.studio.put(f"{name}.toml", f"seed = {self.number}\n".encode())

    @rule(name=NAMED, count=st.integers(1, 3))
    def drop_by_sidecar(self, name: str, count: int) -> None:
        """Drop several sidecars that share one image."""
        shared = image(self._new())
        base = name.rpartition("/")[2].replace("\n", "\\n")
        self.studio.put(f"{name} view.png", shared)
        for turn in range(count):
            word = self._new()
            self.studio.put(f"{name} {turn}.obj", model(word))
            text = f'image = "{base} view.png"\nmodel = "{base} {turn}.obj"\nseed = {self.number}\n'
            self.studio.put(f"{name} set {turn}.toml", text.encode())

    @rule(name=NAMED)
    def drop_folder(self, name: str) -> None:
        """Drop a sub-folder with one model and one image of other names."""
        word = self._new()
        self.studio.put(f"{name} folder/part.obj", model(word))
        self.studio.put(f"{name} folder/wood.png", image(word))

    @rule(name=NAMED, wrong=st.sampled_from(["seed = -1", "speed = 3", "no toml", 'model = "../x.obj"']))
    def drop_bad_sidecar(self, name: str, wrong: str) -> None:
        """Drop a set whose sidecar cannot be used."""
        self.drop_by_name(name, ("obj", model), sidecar=False)
        self.studio.put(f"{name}.toml", f"{wrong} # {self._new()}".encode())

    @rule(name=NAMED)
    def drop_nonsense(self, name: str) -> None:
        """Drop a model that is none."""
        self.studio.put(f"{name}.glb", f"nonsense {self._new()}".encode() * 9)
        self.studio.put(f"{name}.png", image(self._new()))

    @rule(name=NAMED, role=st.booleans())
    def drop_half_a_set(self, name: str, role: bool) -> None:
        """Drop a model without an image, or the other way round."""
        word = self._new()
        self.studio.put(f"{name}.obj" if role else f"{name}.png", model(word) if role else image(word))

    @rule(name=NAMED, number=st.integers(1, 4), again=st.none() | st.sampled_from(AGAIN))
    def drop_the_same_again(self, name: str, number: int, again: bytes | None) -> None:
        """Drop a set of a content that may have been dropped before, perhaps with a leave to pay for it again."""
        word = f"content {number}"
        self.studio.put(f"again {name}.obj", model(word))
        self.studio.put(f"again {name}.png", image(word))
        if again is not None:
            self.studio.put(f"again {name}.toml", again)

    @precondition(lambda self: self.studio.runs)
    @rule(name=NAMED, leaves=st.lists(st.sampled_from(AGAIN), min_size=1, max_size=3), rounds=ROUNDS)
    def buy_again(self, name: str, leaves: list[bytes], rounds: int) -> None:
        """Drop one set after the other, all of the same content, with these leaves; the same leave may come twice."""
        word = self._new()
        for turn, leave in enumerate(leaves):
            self.studio.put(f"{name} {turn}.obj", model(word))
            self.studio.put(f"{name} {turn}.png", image(word))
            self.studio.put(f"{name} {turn}.toml", leave)
            self.bustle(rounds)

    @rule(pick=PICK)
    def synchronise(self, pick: int) -> None:
        """Copy a set in again whose files are gone from the inbox: to a sync program they were deleted by mistake."""
        self.studio.sync(pick)

    @rule(pick=PICK)
    def rewrite(self, pick: int) -> None:
        """Put the same bytes in place of a file."""
        self._pick(self.studio.inbox(), pick, self.studio.rewrite)

    @rule(name=NAMED)
    def drop_unfinished(self, name: str) -> None:
        """Drop a model whose copy is under way."""
        word = self._new()
        data = glb(word)
        self.studio.put(f"{name}.glb", data[: len(data) // 2])
        self.studio.put(f"{name}.png", image(word))

    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        """Bring the rest of such a copy; or write an odd line to the end of another file."""
        words = {glb(f"content {n}")[:2000]: glb(f"content {n}") for n in range(1, self.number + 1)}

        def grow(path: Any) -> None:  # noqa: ANN401 - a path
            data = path.read_bytes()
            whole = words.get(data[:2000], b"")
            rest = whole[len(data) :] if whole.startswith(data) else b""
            self.studio.grow(path, rest or f"# {self._new()}\n".encode())

        self._pick(self.studio.inbox(), pick, grow)

    @rule(pick=PICK, name=NAMED)
    def rename(self, pick: int, name: str) -> None:
        """Give a file another name, unless that is taken."""

        def act(path: Any) -> None:  # noqa: ANN401 - a path
            target = self.studio.root / "inbox" / f"{name}{path.suffix}"
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                path.rename(target)

        self._pick(self.studio.inbox(), pick, act)

    @rule(pick=PICK, in_place=st.booleans())
    def replace(self, pick: int, in_place: bool) -> None:
        """Give a file another content: by a new file of its name, or by writing over it."""

        def act(path: Any) -> None:  # noqa: ANN401 - a path
            word = self._new()
            data = {".png": image(word), ".toml": f"seed = {self.number}".encode()}.get(path.suffix, model(word))
            if in_place:
                self.studio.write_over(path, data)
            else:
                self.studio.put(str(path.relative_to(self.studio.root / "inbox")), data)

        self._pick(self.studio.inbox(), pick, act)

    @rule(pick=PICK, put_away=st.booleans())
    def delete(self, pick: int, put_away: bool) -> None:
        """Take a file out of the inbox; or out of `failed/` or the archive."""
        self._pick(self.studio.put_away() if put_away else self.studio.inbox(), pick, self.studio.delete)

    # ---- the vendor, the clock, the power ---------------------------------------------------------------------------

    @rule(mood=MOODS, calls=CALLS)
    def bad_mood(self, mood: str, calls: int) -> None:
        """Let the next calls of one kind go wrong."""
        self.studio.strike(*(f"{mood}@{turn}" for turn in range(1, calls + 1)))

    @precondition(lambda self: self.studio.runs)
    @rule(mood=MOODS, name=NAMED, rounds=ROUNDS)
    def bad_day(self, mood: str, name: str, rounds: int) -> None:
        """Let a call go wrong, and meet a set on its way."""
        self.studio.strike(f"{mood}@1")
        self.drop_by_name(name, ("obj", model), sidecar=False)
        self.bustle(rounds)

    @rule(seconds=st.sampled_from(JUMPS))
    def jump(self, seconds: float) -> None:
        """Put the wall clock right, or wrong."""
        self.studio.shop.hands.jump_seconds += seconds

    @precondition(lambda self: self.studio.runs)
    @rule()
    def crash(self) -> None:
        """Cut the power."""
        self.studio.crash()

    @precondition(lambda self: self.studio.runs)
    @rule(rounds=ROUNDS, pick=PICK, hears=st.booleans())
    def falter(self, rounds: int, pick: int, hears: bool) -> None:
        """Cut the power in the middle of the work, perhaps when the main loop has just answered; it is back at once."""
        for _ in range(rounds):
            self.studio.tick(3.0)
            self.studio.work(pick)
        if hears:
            self.studio.tick()
        self.studio.crash()
        self.studio.start()

    @precondition(lambda self: self.studio.runs)
    @rule(name=NAMED, rounds=st.sampled_from([2, 3, 3, 3, 4, 4, 5, 7]), hears=st.booleans())
    def blackout(self, name: str, rounds: int, hears: bool) -> None:
        """Cut the power while a set is on its way, most often about the time when it is paid for."""
        self.drop_by_name(name, ("obj", model), sidecar=False)
        self.bustle(rounds)
        if hears:
            self.studio.tick()
        self.studio.crash()
        self.studio.start()

    @precondition(lambda self: not self.studio.runs)
    @rule()
    def start(self) -> None:
        """Bring the power back."""
        self.studio.start()

    @precondition(lambda self: self.studio.runs)
    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 70.0]))
    def tick(self, seconds: float) -> None:
        """Let the main loop turn; no step ends meanwhile."""
        self.studio.tick(seconds)

    @precondition(lambda self: self.studio.runs)
    @rule(pick=PICK)
    def work(self, pick: int) -> None:
        """Carry out one step."""
        self.studio.work(pick)

    @precondition(lambda self: self.studio.runs)
    @rule(rounds=ROUNDS)
    def bustle(self, rounds: int) -> None:
        """Let all go on as it should for a while."""
        for _ in range(rounds):
            self.studio.tick(3.0)
            self.studio.work_all()

    @precondition(lambda self: self.studio.runs)
    @rule()
    def rest(self) -> None:
        """Let it all come to rest."""
        self.studio.until_idle()

    @precondition(lambda self: self.studio.runs)
    @rule()
    def read_the_page(self) -> None:
        """Read STATUS.txt."""
        self.studio.check_status()

    # ---- people at the command line ---------------------------------------------------------------------------------

    @rule(verb=st.sampled_from(["pause", "resume"]))
    def pause(self, verb: str) -> None:
        """Stop the spending, or go on."""
        self.studio.ask(verb)

    @rule()
    def approve(self) -> None:
        """Let the sets go on that came in a crowd."""
        self.studio.ask("approve", "--all")

    @rule(pick=PICK, pay_again=st.booleans())
    def retry(self, pick: int, pay_again: bool) -> None:
        """Take a failed job up again."""
        failed = self.studio.jobs(State.FAILED)
        words = ("--pay-again",) if pay_again else ()
        self._pick(failed, pick, lambda job: self.studio.ask("retry", *words, job=job.id))

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """Cancel a job."""
        live = self.studio.jobs(*(state for state in State if state not in (State.ARCHIVED, State.FAILED)))
        self._pick(live, pick, lambda job: self.studio.ask("cancel", job=job.id))

    @rule(pick=PICK, how=st.sampled_from(["--not-charged", "--give-up", "--task"]), key=st.sampled_from(["", "wrong"]))
    def resolve(self, pick: int, how: str, key: str) -> None:
        """Decide about a held job; a task is one that the vendor has."""
        uuids = [charge.task_uuid for charge in self.studio.charges()][::-1]
        task = uuids[pick % len(uuids)] if uuids else "a-task-of-nobody"
        words = ("--not-charged", "--yes") if how == "--not-charged" else (how,)
        if how == "--task":
            words = (how, task, *(("--subscription-key", key) if key else ()))
        self._pick(self.studio.jobs(State.HELD), pick, lambda job: self.studio.ask("resolve", *words, job=job.id))

    @rule(pick=PICK, two=TWO)
    def two_terminals(self, pick: int, two: Sequence[Sequence[str]]) -> None:
        """Have two people decide about the same job before the service has heard of either; in whatever state it is."""

        def act(job: Job) -> None:
            for verb, *words in two:
                self.studio.ask(verb, *words, job=job.id)

        self._pick(self.studio.jobs(*State), pick, act)

    @precondition(lambda self: self.studio.runs)
    @rule(name=NAMED, moods=st.tuples(LOSSES, LOSSES), again_at=st.integers(0, 5), down=st.booleans())
    def impatient(self, name: str, moods: tuple[str, str], again_at: int, down: bool) -> None:
        """Lose the answers of a set, say that it was not charged, and say so once more at some moment of what comes then."""
        self.studio.strike(f"{moods[0]}@1", f"{moods[1]}@2")
        self.drop_by_name(name, ("obj", model), sidecar=False)
        self.bustle(5)
        held = [job.id for job in Told.of(self.studio.journal).jobs.values() if job.state is State.HELD]
        if down:
            self.studio.crash()
        for job in held[:1]:
            self.studio.ask("resolve", "--not-charged", "--yes", job=job)
        if down:
            self.studio.start()
        for turn in range(6):
            if turn == again_at:
                for job in held[:1]:
                    self.studio.ask("resolve", "--not-charged", "--yes", job=job)
            self.studio.tick(40.0)
            self.studio.work(0)

    # ---- the administrator ------------------------------------------------------------------------------------------

    @rule(change=st.sampled_from(RELOADS))
    def reload(self, change: Mapping[str, Mapping[str, Any]]) -> None:
        """Change the configuration and have it read anew, whatever is under way."""
        self.studio.reload(change)

    @precondition(lambda self: self.studio.runs)
    @rule(
        count=st.integers(1, 3),
        gaps=st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=1, max_size=6),
        changes=st.lists(st.sampled_from(RELOADS), min_size=1, max_size=3),
    )
    def reload_under_way(self, count: int, gaps: list[int], changes: list[Mapping[str, Mapping[str, Any]]]) -> None:
        """Have the configuration read anew again and again while sets are on their way to the vendor; between, so many steps."""
        for _ in range(count):
            self.drop_by_name(f"reload {self.number}", ("obj", model), sidecar=False)
        self.bustle(2)
        for turn, gap in enumerate(gaps):
            for step in range(gap):
                self.studio.tick(1.0)
                self.studio.work(step)
            self.studio.reload(changes[turn % len(changes)])
            self.studio.tick(1.0)  # reads it
            self.studio.work(turn)
            self.studio.tick(1.0)  # takes it


@pytest.fixture(scope="module")
def clock() -> VendorClock:
    """Give the vendor's clock, which the studios turn."""
    return VendorClock()


@pytest.fixture(scope="module")
def emulator(clock: VendorClock) -> Iterator[Emulator]:
    """Give a vendor with all the credit in the world, whose results never expire: that is for other tests."""
    with emulated(balance=10**6, clock=clock, link_seconds=FOR_EVER, keep_seconds=FOR_EVER) as vendor:
        assert vendor.emulator.settings.api_keys == (KEY,)
        yield vendor.emulator


@pytest.mark.timeout(0)
def test_nothing_is_lost_or_paid_twice(emulator: Emulator, clock: VendorClock) -> None:
    """In any order of drops, changes, faults, crashes, reloads, jumps of the clock and commands, all promises are kept.

    A few stories, always the same ones; `make thorough` tells other ones each time, and eight times as many.
    """
    chaos: Any = partial(Chaos, emulator, clock)  # what makes a machine, where its class is asked for
    run_state_machine_as_test(chaos, settings=searching(12, steps=30))
