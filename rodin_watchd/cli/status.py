"""`rodin-watchd status`, `list` and `show`: what the journal says, whether the daemon runs or not."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo
from itertools import chain, islice
from pathlib import Path
from typing import Final

import click

from rodin_watchd.adapters.heartbeat import Heartbeat
from rodin_watchd.adapters.host import local_zone
from rodin_watchd.cli.context import json_option, print_json, print_json_list
from rodin_watchd.cli.options import config_option, load
from rodin_watchd.client.data import KnownBalance, MoneyReport, Report, brief, since_at, taken, whole
from rodin_watchd.client.journal import reader
from rodin_watchd.config import Config
from rodin_watchd.core.health import TICK_SECONDS
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import DOING, doing, lead, render
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import WHO_CAN_ACT, advice_in_full, cost, in_credits, is_cost_certain, local, set_name
from rodin_watchd.model import Event, InputFile, Job, ServiceEvent, State

# ---- A job in words, for people at the command line -------------------------------------------------------------------

ROWS_ALIGNED = 500
"""How many rows of a list are aligned at once."""

HEADINGS = ("ID", "SET", "STATE", "SINCE", "CREDITS", "PLACE")


def row(job: Job, zone: tzinfo) -> tuple[str, ...]:
    """Return a job's row of the table that `list` prints."""
    doubt = "" if is_cost_certain(job) else "?"
    since = local(since_at(job), zone)
    spent = f"{job.spent}{doubt}"
    return (
        job.id,
        set_name(job.folder, job.name),
        f"{lead(job)}{doing(job)}",
        since,
        spent,
        printable(job.place) or "-",
    )


def tables(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Align the rows of a list below its headings, some hundred at a time: a later row may make its columns wider."""
    rows, least = chain((HEADINGS,), rows), [0] * len(HEADINGS)
    while some := list(islice(rows, ROWS_ALIGNED)):
        least = widths_of(some, least)
        yield table(some, least)


def widths_of(rows: Sequence[Sequence[str]], least: Iterable[int]) -> list[int]:
    """Return the width of each column, in columns of a terminal."""
    found = (max(map(_cells, column)) for column in zip(*rows, strict=True))
    return [max(pair) for pair in zip(found, least, strict=True)]


def table(rows: Sequence[Sequence[str]], least: Sequence[int] = ()) -> str:
    """Align rows in columns, as a terminal shows them."""
    widths = widths_of(rows, least or [0] * len(rows[0]))
    lines = ("  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _cells(text: str) -> int:
    """Return how many columns a text takes (Unicode Standard Annex 11; marks combine with what is before them)."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def page(
    job: Job, events: Sequence[Event], meanwhile: Sequence[ServiceEvent], zone: tzinfo, *, output: bool = False
) -> str:
    """Return all that is known of a job, and its history with what happened to the service meanwhile, for people.

    `output`: also what plugins printed, and where in their code they failed.
    """
    facts = [
        ("Set", set_name(job.folder, job.name)),
        ("Kind", job.kind),
        ("Job", f"{job.id}, since {local(job.created_at, zone)}"),
        ("State", f"{DOING[job.state]} ({_state(job)}), since {local(since_at(job), zone)}"),
        *_trouble(job, zone),
        ("Cost", cost(job)),
        *([("Place", printable(job.place))] if job.place else []),
        *([("Task", f"{printable(job.task.uuid)} at the vendor")] if job.task else []),
        *([("Progress", job.progress)] if job.progress else []),
        *([("Follows", f"job {job.follows}: it is made of its result")] if job.follows else []),
        *([("Then", f"{job.then.kind}, as job {job.then.job_id}, when this one is delivered")] if job.then else []),
        (
            "Options",
            ", ".join(f"{key} = {_one_line(value)}" for key, value in job.options.items()) or "the vendor's own",
        ),
        *(("Input", _file_words(file)) for file in job.files),
        *(("Result", f"{printable(r.name)}, {r.size:,} bytes, sha256 {r.sha256}") for r in job.results),
    ]
    message = "\n".join(f"{name + ':':<13}{_BELOW.join(_lines(text))}" for name, text in facts)
    return f"{message}\n\nHistory\n{_history(events, meanwhile, zone, output=output)}"


def _state(job: Job) -> str:
    return f"{job.state}, hold {job.holds}" if job.state is State.HELD else job.state.value


def _trouble(job: Job, zone: tzinfo) -> list[tuple[str, str]]:
    if job.problem is None:
        return []
    lines = [
        ("Problem", job.problem.message),
        ("Who can act", WHO_CAN_ACT[job.problem.fault]),
        ("What to do", advice_in_full(job)),
    ]
    again = [("Next try", f"{local(job.not_before, zone)}, after {job.attempts} that failed")] if job.attempts else []
    return [*lines, *again]


def _file_words(file: InputFile) -> str:
    digest = f", sha256 {file.sha256}" if file.sha256 else ""
    shared = ", copied" if file.shared else ""
    changed = f", changed after it was taken: sha256 {file.changed} now" if file.changed else ""
    warned = "".join(f"; {warning}" for warning in file.warnings)
    return f"{file.role}: {printable(file.source)}, {file.signature.size:,} bytes{digest}{shared}{changed}{warned}"


def _history(events: Sequence[Event], meanwhile: Sequence[ServiceEvent], zone: tzinfo, *, output: bool) -> str:
    own = [(e.at, e.action, _told(e, output=output)) for e in events]
    others = ((e.at, "(service)", _lines(f"{e.kind}: {e.message}")) for e in meanwhile)
    found = sorted([*own, *others], key=lambda row: row[0])
    if not found:
        return "  nothing yet"
    rows = table([(f"  {local(at, zone)}", action, lines[0]) for at, action, lines in found]).split("\n")
    more = (lines[1:] for _, _, lines in found)
    return "\n".join(
        line for row, lines in zip(rows, more, strict=True) for line in (row, *(f"      {one}" for one in lines))
    )


def _told(event: Event, *, output: bool) -> list[str]:
    """Return what an event says, in lines; below the first one of a plugin's call stands what the plugin printed."""
    first, *more = _lines(event.message)
    if event.action != "plugin" or output or not more:
        return [first, *more]
    return [f"{first} (--output shows {len(more):,} {'line' if len(more) == 1 else 'lines'} more)"]


_BELOW: Final = "\n" + " " * 13
"""Between the lines of a fact: they stand below each other."""


def _lines(text: str) -> list[str]:
    """Return text in lines in which nothing acts on a terminal: at least one."""
    return [printable(line, limit=2000) for line in text.expandtabs().splitlines()] or [""]


def _one_line(value: object) -> str:
    return plain(str(value), 2000)


WATCH_SECONDS = 1.0
FEW = 5
"""How many events of the service are shown to people."""


def text_of(report: Report, zone: tzinfo) -> str:
    """Return the report for people."""
    head = f"{_daemon_line(report, zone)}\n{_money_lines(report.money, zone)}"
    if report.counts:
        head += f"Jobs: {', '.join(f'{n:,} {DOING[state]}' for state, n in report.counts.items())}\n"
    sections = render(report.page, zone)
    return f"{head}\n{sections.rstrip()}\n\n{_events(report.events[:FEW], zone)}".rstrip()


def _money_lines(money: MoneyReport, zone: tzinfo) -> str:
    message = f"Credits spent: {money.today} today, {money.total} in total\n"
    if money.per_day is not None:
        message += f"Budget of the day: {money.spent} of {in_credits(money.per_day)}\n"
    if money.per_folder is not None and money.folders:
        spent = ", ".join(f"{printable(top) or 'the inbox itself'} {amount}" for top, amount in money.folders.items())
        message += f"Budget of each folder and day: {in_credits(money.per_folder)}; spent: {spent}\n"
    return message + (_balance_line(money.balance, zone) if money.balance else "")


def _balance_line(balance: KnownBalance, zone: tzinfo) -> str:
    """Return how many credits there are, and how that is known."""
    charged = balance.said - balance.credits
    since = f", less {in_credits(charged)} charged since" if charged else ""
    return f"Balance: {in_credits(balance.credits)} (the vendor said {in_credits(balance.said)} on {local(balance.at, zone)}{since})\n"


def _events(events: Sequence[ServiceEvent], zone: tzinfo) -> str:
    """Return the newest events of the service itself, as a section; "" without any."""
    if not events:
        return ""
    rows = [(f"  {local(event.at, zone)}", event.kind, plain(event.message, 500)) for event in events]
    return f"Newest events of the service\n{table(rows)}"


def _daemon_line(report: Report, zone: tzinfo) -> str:
    if report.daemon is None:
        return (
            f"STOPPED{_since(report, zone)}: no service runs for {report.root}; `rodin-watchd run` starts it.\n"
            "The lists of waiting and paused things are from its last scan."
        )
    who = ", ".join(f"{key} {value}" for key, value in report.daemon.items())
    return f"Running for {report.root}{f' ({who})' if who else ''}{_silent(report.sign, zone)}"


def _since(report: Report, zone: tzinfo) -> str:
    """Return since when no service runs: it said so in good order, or its signs of life just ended."""
    if report.page.stopped_at is not None:
        return f" since {local(report.page.stopped_at, zone)}"
    if report.sign is None:
        return ""
    return f" without a word (killed, or the machine went off); its last sign of life was at {local(report.sign.health.at, zone)}"


def _silent(sign: Heartbeat | None, zone: tzinfo) -> str:
    """Say that a service gives no signs of life though it runs, if so."""
    if sign is None or sign.age_seconds <= TICK_SECONDS:
        return ""
    return f"\nIts last sign of life was at {local(sign.health.at, zone)}: it does not move. `rodin-watchd health` says more."


@click.command(epilog="Example: rodin-watchd status --watch")
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Show the page every second, until Ctrl-C.")
def status(config_file: Path | None, *, as_json: bool, watch: bool) -> None:
    """Show what waits, runs and is held, and the newest results.

    --json prints one object: root, running, daemon (host and pid, null when stopped), stopped_at (UTC seconds, null
    while it runs, and where it was killed), sign_of_life_at (UTC seconds, or null), credits (total, today), budget
    (per_day and per_folder, null without one; spent, in all and by folders), balance (credits: what the
    vendor said, less what was charged since; said; at: when it was asked; low; null if it was never read), events (of the service: at, kind, subject, code, message; newest first), counts (jobs by state) and
    page (notices, plain_notices, waiting, running, held, failed, older_failed, recent, ignored, stopped_at). An entry of the page has name, text, job (null in the
    inbox) and since_at (UTC seconds, or null). While the daemon is stopped, waiting and notices are from its last scan.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs: choose one.")
    if watch and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal; without it the page is printed once.")
    config = load(config_file)
    zone = local_zone()
    if watch:
        _watch(config, zone)
        return
    now = _now(config, zone)
    if as_json:
        print_json(now.as_data())
    else:
        click.echo(text_of(now, zone))


def _now(config: Config, zone: tzinfo) -> Report:
    """Put the report together from the journal as it is now, opened again: it may have been replaced or closed since."""
    with reader(config) as journal:
        return taken(config, journal, time.time(), zone)


def _watch(config: Config, zone: tzinfo) -> None:
    """Show the page again every second; what does not fit on the screen is cut off below."""
    from rich.live import Live  # noqa: PLC0415 - a tenth of a second that no other command should pay
    from rich.text import Text  # noqa: PLC0415 - the same

    def page() -> Text:
        return Text(text_of(_now(config, zone), zone))

    try:
        with Live(page(), auto_refresh=False) as live:
            while True:
                time.sleep(WATCH_SECONDS)
                live.update(page(), refresh=True)
    except KeyboardInterrupt:
        return


@click.command("list", epilog="Example: rodin-watchd list --state failed --state held --limit 10")
@config_option
@json_option
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="Only jobs in this state; may be given several times.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N jobs. Default: all.")
def list_jobs(config_file: Path | None, *, as_json: bool, states: tuple[str, ...], limit: int | None) -> None:
    """List all jobs, newest change first.

    --json prints a list; each job has id, set, folder, kind, state, hold (its number, or null), created_at, since_at
    (UTC seconds), credits, cost_is_certain, place (relative to the root, or null), resolved (of a failed job: the
    id of the one that delivered its set since, or null), follows and then (the id of the job of
    whose result it is made, and of the one that goes on from its result; or null) and problem (a sentence, or null).
    """
    with reader(load(config_file)) as journal:
        jobs = journal.each_job(map(State, states or State), limit or -1)
        if as_json:
            print_json_list(map(brief, jobs))
        elif first := next(jobs, None):
            zone = local_zone()
            for lines in tables(row(job, zone) for job in chain((first,), jobs)):
                click.echo(lines)
        else:
            click.echo("There are no jobs." if not states else "There are no such jobs.")


@click.command(epilog="Example: rodin-watchd show chair")
@config_option
@json_option
@click.option("--output", is_flag=True, help="Also what plugins printed, and where in their code they failed.")
@click.argument("job")
def show(config_file: Path | None, job: str, *, as_json: bool, output: bool) -> None:
    """Show one job with its complete history. JOB is its id, the beginning of the id, or the set's name.

    --json prints what `list --json` has, and files, options, again, consent, fingerprint, times (state: UTC seconds),
    retries, attempts, not_before, deadline, task (uuid, submitted_at), progress, results, problem (code, fault,
    message, advice; or null), events (at, action, state, message, code; oldest first) and service_events (events of the
    whole service in this time: at, kind, subject, code, message; oldest first).
    """
    with reader(load(config_file)) as journal:
        found = journal.find(job)
        events = journal.events(found.id)
        others = journal.service_events(since_at=found.created_at)
    until_at = since_at(found) if found.state in ENDED else time.time()
    meanwhile = [event for event in reversed(others) if event.at <= until_at]
    if as_json:
        print_json(whole(found, events, meanwhile))
    else:
        click.echo(page(found, events, meanwhile, local_zone(), output=output))
