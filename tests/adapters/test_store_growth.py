"""No question of every day costs more with each job that has ended: by SQLite's own steps, and by its own plans."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

import pytest

from rodin_watchd.adapters.store.sqlite import Journal, insert_command
from rodin_watchd.core.dedup import Provenance
from rodin_watchd.core.kinds import TEXTURE, article
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.store import DONE, Beside, CommandReply, Cursor, Listing, ListOrder
from rodin_watchd.model import (
    HookRun,
    InputFile,
    Job,
    ResultFile,
    Role,
    ServiceEvent,
    Signature,
    State,
    Task,
    Transition,
)

NOW = 1_700_000_000.0
S = State
SENT = (S.STAGED, S.UPLOADING, S.SUBMITTING)
WHOLE_LIFE = (*SENT, S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED, S.ARCHIVED)
IN_VAIN = (*SENT, S.FAILING, S.FAILED)  # refused by an answer
A_TEXTURE = article(TEXTURE.name, {})
ANY_TEXTURE = frozenset({TEXTURE.name})
SHARED: Final = "shared"
"""The content of a model that went into every job and was published with each, by a plugin."""

Ask = Callable[[Journal], object]
QUESTIONS: dict[str, Ask] = {
    "find by id": lambda journal: journal.find("a00003"),
    "find by name": lambda journal: journal.find("chair 3"),
    "job": lambda journal: journal.job("a00003"),
    "live jobs": lambda journal: journal.jobs([state for state in State if state not in ENDED]),
    "newest jobs": lambda journal: journal.jobs(ENDED, limit=20),
    "the first of all jobs": lambda journal: next(journal.each_job()),
    "newest jobs one by one": lambda journal: list(journal.each_job(limit=20)),
    "counts": lambda journal: journal.counts(),
    "a page of the list": lambda journal: journal.listed(Listing(limit=10)),
    "the next page": lambda journal: journal.listed(Listing(after=Cursor(NOW + 30, "a00030"), limit=10)),
    "the oldest page": lambda journal: journal.listed(Listing(order=ListOrder.OLDEST, limit=10)),
    "a page by name": lambda journal: journal.listed(Listing(order=ListOrder.NAME, limit=10)),
    "a page by cost": lambda journal: journal.listed(Listing(order=ListOrder.COST, limit=10)),
    "a page of failed ones": lambda journal: journal.listed(Listing(frozenset({S.FAILED}), limit=10)),
    "a page of live ones": lambda journal: journal.listed(Listing(frozenset(State) - ENDED, limit=10)),
    "a page of delivered ones": lambda journal: journal.listed(Listing(frozenset({S.ARCHIVED}), limit=5)),
    "a page of a folder": lambda journal: journal.listed(Listing(folder="", limit=10)),
    "a page of a kind": lambda journal: journal.listed(Listing(kind=TEXTURE.name, limit=10)),
    "top folders": lambda journal: journal.top_folders(100),
    "charged by hour": lambda journal: journal.charged_by_hour(NOW + 10_000),
    "charged by folder": lambda journal: journal.charged_by_folder(NOW + 10_000),
    "with a file": lambda journal: journal.with_file("chair 3.glb"),
    "with a file that no job had": lambda journal: journal.with_file("nothing.glb"),
    "with originals": lambda journal: journal.with_originals(),
    "old jobs": lambda journal: journal.old_jobs(NOW, NOW, 10),
    "with a task": lambda journal: journal.with_task("t-a00003"),
    "having a task": lambda journal: journal.having_task("t-a00003"),
    "had its task before": lambda journal: journal.had_task_before("a00002", "a00003"),
    "same content": lambda journal: journal.same_content(["v2:3"], "", "v2:drop"),
    "bought": lambda journal: journal.bought(["v2:3"], "", dropped="v2:drop"),
    "made anew": lambda journal: journal.made(Provenance(frozenset({SHARED}), ANY_TEXTURE, given=False), ""),
    "made with its picture": lambda journal: journal.made(Provenance(frozenset({SHARED, "picture"}), ANY_TEXTURE), ""),
    "made": lambda journal: journal.made(Provenance(frozenset({SHARED}), ANY_TEXTURE), ""),
    "newest with a content": lambda journal: journal.newest_with("v2:3", "v2:drop"),
    "durations": lambda journal: journal.durations(TEXTURE.name, 20),
    "events": lambda journal: journal.events("a00003"),
    "newest service events": lambda journal: journal.service_events(10),
    "newest service events of some kinds": lambda journal: journal.service_events(3, kinds=("paused", "started")),
    "service events since": lambda journal: journal.service_events(since_at=NOW + 10_000),
    "newest event": lambda journal: journal.newest_event(),
    "newest instant": lambda journal: journal.newest_at(),
    "begun": lambda journal: journal.begun_at(),
    "calls of plugins": lambda journal: journal.runs_of(["a00003"]),
    "calls that are due": lambda journal: journal.due_runs(["plugin:hook"], 10),
    "spent in the day": lambda journal: journal.spent_in_day(3),
    "charged in all": lambda journal: journal.charged_since(0.0),
    "charged since": lambda journal: journal.charged_since(NOW + 10_000),
    "charged after": lambda journal: journal.charged_after(journal.newest_purchase()),
    "price": lambda journal: journal.price(A_TEXTURE),
    "dearest": lambda journal: journal.dearest(),
    "newest purchase": lambda journal: journal.newest_purchase(),
    "purchases since": lambda journal: journal.purchases_since(journal.newest_purchase(), journal.newest_event()),
    "open purchases": lambda journal: journal.open_of(["a00003"]),
    "owners": lambda journal: journal.owners([3]),
    "may have bought": lambda journal: journal.may_have_bought("a00003"),
    "unknown purchases": lambda journal: journal.unknown_of("a00003", ""),
    "refused since": lambda journal: journal.refused_since(journal.newest_purchase()),
    "refused with a content": lambda journal: journal.refused_of("v2:3", "v2:drop"),
    "failed tries": lambda journal: journal.failed_tries("v2:3", "v2:drop"),
    "in a row": lambda journal: journal.in_a_row(),
    "newest held": lambda journal: journal.newest_held(),
    "newest command": lambda journal: journal.newest_command("pause"),
    "open commands": lambda journal: journal.open_commands(),
    "one more job": lambda journal: live(journal, [a_job("z", journal.newest_event())], WHOLE_LIFE),
    "one more job in vain": lambda journal: live(journal, [a_job("y", journal.newest_event())], IN_VAIN),
}


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Journal, Journal]]:
    """Give a journal with a short past and one with a long one; both end with the same."""
    folder = tmp_path_factory.mktemp("journals")
    with closing(Journal(folder / "short")) as short, closing(Journal(folder / "long")) as long:
        for journal, count in ((short, 40), (long, 400)):
            live_through(journal, count)
        yield short, long


def live_through(journal: Journal, count: int) -> None:
    """Write a past of so many jobs, half of them in vain, with what the service and people did meanwhile."""
    jobs = [a_job("a", number) for number in range(count)]
    for start in range(0, count, 20):  # what is committed together has changed at the same time
        live(journal, jobs[start : start + 20 : 2], IN_VAIN)
        live(journal, jobs[start + 1 : start + 20 : 2], WHOLE_LIFE)
    for number in range(count // 4):
        journal.note_service_event(ServiceEvent(NOW + number, ("paused", "resumed", "started")[number % 3], ""))
        command = insert_command(journal.path, "pause", {}, NOW)
        journal.commit((), NOW, beside=Beside(CommandReply(command, "Done.")))
        journal.note_run(HookRun(0, f"e{number}", f"a{number:05}", "hook", "plugin", DONE, {}), "", NOW)
    journal.changed_outside()


def a_job(letter: str, number: int) -> Job:
    """Return a job with a name and files of its own, but for the content of its model."""
    files = (InputFile(Role.MODEL, f"inbox/chair {number}.glb", Signature(1, 2, 3), sha256=SHARED),)
    made = tuple(ResultFile(name, name, 3, sha256) for name, sha256 in (("m.glb", SHARED), ("p.webp", f"p{number}")))
    identity = f"{letter}{number:05}"
    job = Job(identity, f"chair {number}", "", S.CLAIMED, files, {}, NOW + number, results=made, processed=made)
    return replace(job, fingerprint=f"v2:{identity if letter != 'a' else number}", dropped=f"d{identity}")


def live(journal: Journal, jobs: Sequence[Job], states: Iterable[State]) -> None:
    """Lead jobs along these states side by side, each charged where it is accepted."""
    now = jobs[0].created_at
    journal.commit([Transition(job, "claimed") for job in jobs], now)
    for state in states:
        accepted = state is S.SUBMITTED
        jobs = [replace(job, state=state, charges=job.charges + accepted) for job in jobs]
        if accepted:
            jobs = [replace(job, task=Task(f"t-{job.id}", "", 1.0)) for job in jobs]
        journal.commit([Transition(job, state.value) for job in jobs], now)


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_costs_the_same_whatever_is_in_the_journal(journals: tuple[Journal, Journal], ask: Ask) -> None:
    """SQLite takes as many steps with four hundred ended jobs as with forty."""
    for journal in journals:
        have_asked(journal)
    few, many = (steps_of(journal, lambda journal=journal: ask(journal)) for journal in journals)  # type: ignore[misc]
    assert many <= few * 1.1 + 50


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_no_question_scans_what_grows(journals: tuple[Journal, Journal], ask: Ask) -> None:
    """By SQLite's plan: it searches, or walks what is live or the newest rows alone."""
    have_asked(journals[1])
    plans = plans_of(journals[1], lambda: ask(journals[1]))
    scans = {(name, query) for query, plan in plans for name in re.findall(r"^SCAN (.*)$", plan, re.MULTILINE)}
    assert plans
    assert {scan for scan in scans if not is_short(*scan)} == set()


def have_asked(journal: Journal) -> None:
    """Have the next question answered by SQLite: an answer is kept until something is written, and the day is counted once."""
    journal.spent_in_day(3)
    journal.set_meta("asked", journal.newest_event())


NEVER_MANY = frozenset({"gate", "articles", "confirmed_costs", "ended", "charged", "moves", "temp.spent", "CONSTANT"})
"""Tables of what is live, and of which there is a handful; charges have a row for each hour."""

OF_THE_LIVE = (
    "commands_open",
    "hook_runs_due",
    "purchases_open",
    "one_open_purchase_for_each_job",
    "jobs_with_originals",
)
"""Indexes of what is live, or is asked for as a whole: the jobs whose files stay in the inbox."""

FOREIGN_KEYS = re.compile(r"^\s*INSERT INTO jobs\b")
"""SQLite plans to look for rows that refer to a new job, and does so while a foreign key is violated alone (fkey.c)."""


def is_short(what: str, query: str) -> bool:
    """Return whether a scan in the plan of a query reads what is live or newest alone."""
    name, *index = what.split()
    newest = re.search(r"ORDER BY id (DESC )?LIMIT", query) is not None and name in query
    own = name.startswith("(") or "VIRTUAL" in index or re.search(rf"\b{name} AS \(|\) AS {name}\b", query) is not None
    live_only = any(word in OF_THE_LIVE for word in index)
    return name in NEVER_MANY or newest or own or live_only or FOREIGN_KEYS.match(query) is not None


def plans_of(journal: Journal, ask: Callable[[], object]) -> list[tuple[str, str]]:
    """Return each statement that is given to SQLite for it, with its plan."""
    given: list[str] = []
    journal._db.set_trace_callback(given.append)
    ask()
    journal._db.set_trace_callback(None)
    asked = [query for query in dict.fromkeys(given) if re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", query)]
    return [(query, "\n".join(row[3] for row in journal._db.execute(f"EXPLAIN QUERY PLAN {query}"))) for query in asked]


def steps_of(journal: Journal, ask: Callable[[], object]) -> int:
    """Return how many steps SQLite takes for it."""
    taken = [0]

    def count() -> int:
        taken[0] += 1
        return 0

    journal._db.set_progress_handler(count, 1)
    ask()
    journal._db.set_progress_handler(None, 1)
    return taken[0]
