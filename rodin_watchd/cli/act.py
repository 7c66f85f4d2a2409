"""`rodin-watchd retry`, `cancel`, `resolve`, `approve`, `pause` and `resume`: what people ask of the daemon.

A command is left in the journal; the daemon, the journal's only other writer, carries it out and answers there. With it is
left what the person saw: what has changed by the time that the daemon reads it is not what was decided about.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from rodin_watchd.adapters.journal import JournalReader, insert_command
from rodin_watchd.adapters.zone import local_zone
from rodin_watchd.cli.context import config_option, daemon_of, journal_of, load, reader
from rodin_watchd.config import Config
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.names import printable
from rodin_watchd.core.people import Seen
from rodin_watchd.core.receipt import cost, in_credits, local
from rodin_watchd.core.status import set_name
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import CREDITS_PER_TEXTURE, Job, State
from rodin_watchd.service.commands import APPROVE, CANCEL, JOB_VERBS, PAUSE, RESUME, SEEN

ANSWER_SECONDS = 5.0
"""So long the daemon's answer is waited for."""

LOOK_SECONDS = 0.1
"""The journal is asked for the answer so often."""

KEY_LIMIT_CHARACTERS = 65_536

_LONGEST_TEXT = 500


@click.command(epilog="Example: rodin-watchd retry chair")
@config_option
@click.argument("job")
@click.option("--pay-again", is_flag=True, help=f"Submit it anew, for {CREDITS_PER_TEXTURE} credits.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def retry(config_file: Path | None, job: str, *, pay_again: bool, yes: bool) -> None:
    """Take the failed JOB up again, from the files in failed/.

    A job that was paid for asks for its results again, free of charge, unless --pay-again is given. JOB is an id, the
    beginning of one, or a set's name. What the job failed of last is what is retried: if somebody else takes it up first,
    this is refused.
    """
    confirm = _confirm_paying_again if pay_again and not yes else _nothing
    ask_about(load(config_file), "retry", job, {"pay_again": pay_again}, confirm)


@click.command(epilog="Example: rodin-watchd cancel 3f9c")
@config_option
@click.argument("job")
def cancel(config_file: Path | None, job: str) -> None:
    """Stop JOB before its results arrive; its files go to failed/. What was paid stays paid.

    JOB is an id, the beginning of one, or a set's name. If it is paid for after this was given and before it is stopped, it
    goes on, and this is refused; given again, it stops the job all the same.
    """
    ask_about(load(config_file), CANCEL, job, {})


@click.command(epilog="Example: rodin-watchd pause")
@config_option
def pause(config_file: Path | None) -> None:
    """Take and submit nothing until `resume`; what was paid for still comes in. Lasts through restarts."""
    config = load(config_file)
    with reader(config) as journal:
        ask(config, journal, PAUSE, {})


@click.command(epilog="Example: rodin-watchd resume")
@config_option
def resume(config_file: Path | None) -> None:
    """Go on after `pause`. A `pause` that comes after this one stays."""
    config = load(config_file)
    with reader(config) as journal:
        ask(config, journal, RESUME, {SEEN: journal.newest_command(PAUSE)})


@click.command(epilog="Example: rodin-watchd approve chairs/oak")
@config_option
@click.argument("folder", required=False)
@click.option("--all", "everything", is_flag=True, help="Approve all sets that wait.")
def approve(config_file: Path | None, folder: str | None, *, everything: bool) -> None:
    """Let sets go on that came in very large numbers at once and wait in the inbox (budget.hold_above_sets).

    FOLDER is a folder of the inbox: its sets and those below are approved; a set's own name with its folder approves that
    one; "." means the sets that lie in the inbox itself. Sets that come, or whose files are replaced, after this was given
    are not approved by it.
    """
    if everything is (folder is not None):
        raise click.UsageError("Name a folder of the inbox, or say --all.")
    config = load(config_file)
    with reader(config) as journal:
        seen = journal.newest_held()
        if not seen and daemon_of(config) is None:
            raise CommandRefusedError("No set waits for approval.", advice="`rodin-watchd status` tells what waits.")
        ask(config, journal, APPROVE, {"folder": _in_inbox(folder) if folder is not None else None, SEEN: seen})


def _in_inbox(folder: str) -> str:
    """Return a folder relative to the inbox, however it was spelled: `chairs/`, `inbox/chairs`, `./chairs`."""
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return "/".join(parts[1:] if parts[:1] == [INBOX] else parts) or "."


@click.command(epilog="Example: rodin-watchd resolve chair --task UUID --subscription-key - < key.txt")
@config_option
@click.argument("job")
@click.option("--not-charged", is_flag=True, help="The vendor did not charge it: submit it again. May pay twice.")
@click.option("--task", metavar="UUID", help="The vendor accepted it as this task: fetch its results.")
@click.option(
    "--subscription-key",
    metavar="KEY",
    help="The task's subscription key; - reads it from standard input, for everybody on this machine can read a "
    "command line. Without it the results are asked for until they are there.",
)
@click.option("--give-up", is_flag=True, help="Move the set to failed/ with what is known.")
@click.option(
    "--hold",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only if this is still the newest hold of the job: the number that `show`, `list`, `status` and STATUS.txt tell.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def resolve(  # noqa: PLR0913 - one argument for each option
    config_file: Path | None,
    job: str,
    *,
    not_charged: bool,
    task: str | None,
    subscription_key: str | None,
    give_up: bool,
    hold: int | None,
    yes: bool,
) -> None:
    """Decide about the held JOB: nobody here can tell whether its submit was accepted and charged.

    Look into the vendor's account first, then choose one of --not-charged, --task and --give-up. JOB is an id, the
    beginning of one, or a set's name. The decision is about one hold: if the job was submitted again since, and is held anew,
    it is refused.
    """
    if sum((not_charged, task is not None, give_up)) != 1:
        raise click.UsageError("Choose one of --not-charged, --task UUID and --give-up.")
    if subscription_key is not None and task is None:
        raise click.UsageError("--subscription-key belongs to --task.")
    how = "not-charged" if not_charged else "give-up" if give_up else "task"
    arguments: dict[str, Any] = {"how": how}
    if task is not None:
        arguments |= {"task": _word(task, "--task"), "subscription_key": _key(subscription_key)}
    confirm = _confirm_not_charged if not_charged and not yes else _show_hold
    ask_about(load(config_file), "resolve", job, arguments, confirm, hold)


def _key(given: str | None) -> str:
    """Return the subscription key, from the command line or standard input; "" for none."""
    if given is None:
        return ""
    if given == "-" and sys.stdin.isatty():
        given = str(click.prompt("Subscription key", hide_input=True))
    elif given == "-":
        given = sys.stdin.readline(KEY_LIMIT_CHARACTERS)
    return _word(given, "--subscription-key")


def _word(text: str, option: str) -> str:
    word = text.strip()
    if not word or not word.isascii() or not word.isprintable() or " " in word:
        raise click.UsageError(f"{option} must be one word of plain characters.")
    return word


def _nothing(_job: Job, _price: Decimal) -> None:
    return None


def ask_about(
    config: Config,
    verb: str,
    name: str,
    arguments: dict[str, Any],
    confirm: Callable[[Job, Decimal], None] = _nothing,
    hold: int | None = None,
) -> None:
    """Ask something about one job as it is now; `hold` is the one that somebody has looked at, None: the newest.

    `confirm` shows the job and may ask whether it is meant, at what a texture may cost (credits).
    """
    with reader(config) as journal:
        job = journal.find(name)
        if hold not in (None, job.holds):
            told = f"Hold {hold} is not the newest one of this job: that is hold {job.holds}." if job.holds else ""
            raise CommandRefusedError(
                told or "This job was never held.", advice=f"Look at it (`rodin-watchd show {job.id}`), then decide."
            )
        if verb in JOB_VERBS and (
            verb != CANCEL or daemon_of(config) is None
        ):  # what does not fit it now will not later
            JOB_VERBS[verb](job, arguments, time.time())
        confirm(job, journal.price())
        ask(config, journal, verb, {**arguments, "job": job.id, SEEN: Seen.of(job).as_data()})


def _show_hold(job: Job, _: Decimal) -> None:
    """Show which hold is decided about: since when, why, and what it may have cost."""
    since = local(job.times.get(State.HELD.value, job.created_at), local_zone())
    why = f" {printable(job.problem.message, _LONGEST_TEXT)}" if job.problem else ""
    click.echo(
        f"{set_name(job.folder, job.name)} (job {job.id}): hold {job.holds}, since {since}.{why} Cost: {cost(job)}"
    )


def _confirm_not_charged(job: Job, price: Decimal) -> None:
    """Ask before a held job is submitted again."""
    _show_hold(job, price)
    _confirm(f"Submit it again, for {in_credits(price)}, on top of what it may have cost?")


def _confirm_paying_again(job: Job, price: Decimal) -> None:
    """Ask before a failed job is paid for again."""
    why = f" {printable(job.problem.message, _LONGEST_TEXT)}" if job.problem else ""
    click.echo(f"{set_name(job.folder, job.name)} (job {job.id}): failed.{why} Cost so far: {cost(job)}")
    _confirm(f"Submit it anew, for {in_credits(price)}, on top of that?")


def _confirm(question: str) -> None:
    """Ask before money is spent again. Ends the command if the answer is no, or if nobody is there to answer."""
    if not sys.stdin.isatty() and not select.select([sys.stdin], [], [], ANSWER_SECONDS)[0]:
        raise click.UsageError("Nobody answers the question; say --yes to go on without it.")
    try:
        agreed = click.confirm(question)
    except click.Abort:
        raise click.UsageError("Nobody answered the question; say --yes to go on without it.") from None
    if not agreed:
        raise click.Abort


def ask(config: Config, journal: JournalReader, verb: str, arguments: dict[str, Any]) -> None:
    """Leave a command, and tell the answer if somebody is there to give one. Raises CommandRefusedError."""
    number = insert_command(journal_of(config), verb, arguments, time.time(), once=verb in JOB_VERBS)
    if daemon_of(config) is None:
        click.echo("The service is not running: this will be carried out when it starts.")
        return
    answer = _answer(journal, number)
    if answer is None:
        click.echo(
            "The service has not answered yet: it ends the job's step under way first. "
            "`rodin-watchd status` and `show` tell what came of it."
        )
    elif answer["ok"]:
        click.echo(answer["message"])
    else:
        raise CommandRefusedError(answer["message"], advice=" ")


def _answer(journal: JournalReader, number: int) -> dict[str, Any] | None:
    """Wait for the daemon's answer, for a while."""
    until = time.monotonic() + ANSWER_SECONDS
    while (answer := journal.answer(number)) is None and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    return answer
