"""`rodin-watchd status`, `list` and `show`: what the journal says, whether the daemon runs or not."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from itertools import chain
from pathlib import Path

import click

from rodin_watchd.adapters.heartbeat import Heartbeat
from rodin_watchd.adapters.host import local_zone
from rodin_watchd.cli import job_text
from rodin_watchd.cli.completion import job_in
from rodin_watchd.cli.context import json_option, print_json, print_json_list
from rodin_watchd.cli.options import config_option, load, load_settings
from rodin_watchd.client.data import KnownBalance, MoneyReport, Report, brief, service_events_of, taken, whole
from rodin_watchd.client.journal import reader
from rodin_watchd.core.health import TICK_SECONDS
from rodin_watchd.core.names import printable
from rodin_watchd.core.status import DOING, render
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import in_credits, local
from rodin_watchd.model import Job, ServiceEvent, State

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
    return f"Newest events of the service\n{job_text.table(rows)}"


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
@click.option("--watch", is_flag=True, help="Show it live, with keys to open a set, retry it, and pause. q ends it.")
@click.option("--no-color", is_flag=True, help="No colors with --watch; $NO_COLOR says the same.")
def status(config_file: Path | None, *, as_json: bool, watch: bool, no_color: bool) -> None:
    """Show what waits, runs and is held, and the newest results.

    --watch fills the terminal; where the output is no terminal, the page is printed once. A retry or a pause is asked
    for confirmation, with its price.

    --json prints one object: root, running, daemon (host and pid, null when stopped), stopped_at (UTC seconds, null
    while it runs, and where it was killed), sign_of_life_at (UTC seconds, or null), credits (total, today), budget
    (per_day and per_folder, null without one; spent, in all and by folders), balance (credits: what the
    vendor said, less what was charged since; said; at: when it was asked; low; null if it was never read), events (of the service: at, kind, subject, code, message; newest first), counts (jobs by state) and
    page (notices, plain_notices, waiting, running, held, failed, older_failed, recent, done, ignored, stopped_at,
    more_waiting, more_done). An entry of the page has name, text, job (null in the
    inbox) and since_at (UTC seconds, or null); of what waits in the inbox, and of what is done and still there, the first
    1,000 are listed, and more_waiting and more_done count the others. While the daemon is stopped, waiting and notices are from its last scan.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs: choose one.")
    zone = local_zone()
    if watch and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from rodin_watchd.cli.watch.session import watch as live  # noqa: PLC0415 - a tenth of a second for this alone

        live(load(config_file), zone, color=not no_color)
        return
    config = load_settings(config_file)
    with reader(config) as journal:
        now = taken(config, journal, time.time(), zone)
    if as_json:
        print_json(now.as_data())
    else:
        click.echo(text_of(now, zone))


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
    whose result it is made, and of the one that goes on from its result; or null), batch, variant, group and chosen
    (of a set that makes several jobs: the id of the one that went ahead, which one this is, the name of the folder that
    they are delivered into, and whether a person has chosen it; or null) and problem (a sentence, or null).
    """
    with reader(load_settings(config_file)) as journal:
        jobs = journal.each_job(map(State, states or State), limit or -1)
        if as_json:
            print_json_list(map(brief, jobs))
        elif first := next(jobs, None):
            _print_list(chain((first,), jobs), local_zone())
        else:
            click.echo("There are no jobs." if not states else "There are no such jobs.")


def _print_list(jobs: Iterable[Job], zone: tzinfo) -> None:
    """Print the rows of a list below their headings: as a table that fits the terminal, or aligned for another program."""
    if sys.stdout.isatty():
        from rodin_watchd.cli.tables import print_list  # noqa: PLC0415 - a tenth of a second for terminals alone

        print_list(job_text.row(job, zone, narrow=True) for job in jobs)
    else:
        for lines in job_text.tables(job_text.row(job, zone) for job in jobs):
            click.echo(lines)


@click.command(epilog="Example: rodin-watchd show chair")
@config_option
@json_option
@click.option("--output", is_flag=True, help="Also what plugins printed, and where in their code they failed.")
@click.argument("job", shell_complete=job_in())
def show(config_file: Path | None, job: str, *, as_json: bool, output: bool) -> None:
    """Show one job with its complete history. JOB is its id, the beginning of the id, or the set's name.

    --json prints what `list --json` has, and files, options, again, consent, fingerprint, times (state: UTC seconds),
    retries, attempts, not_before, deadline, task (uuid, submitted_at), progress, results, problem (code, fault,
    message, advice; or null), events (at, action, state, message, code; oldest first) and service_events (events of the
    whole service in this time: at, kind, subject, code, message; oldest first).
    """
    with reader(load_settings(config_file)) as journal:
        found = journal.find(job)
        events, meanwhile = journal.events(found.id), service_events_of(found, journal, time.time())
        siblings = journal.siblings(found)
    if as_json:
        print_json(whole(found, events, meanwhile))
        return
    text = job_text.text_of(found, events, meanwhile, local_zone(), siblings, output=output)
    if sys.stdout.isatty():
        from rodin_watchd.cli.tables import print_job  # noqa: PLC0415 - as above

        print_job(text)
    else:
        click.echo(text.plain())
