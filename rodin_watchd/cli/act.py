"""`rodin-watchd retry`, `cancel`, `resolve`, `approve`, `pause` and `resume`: what people ask of the daemon.

A command is left in the journal; the daemon, the journal's only other writer, carries it out and answers there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from rodin_watchd.adapters.journal import JournalReader, insert_command
from rodin_watchd.cli.context import config_option, daemon_of, journal_of, load, reader
from rodin_watchd.config import Config
from rodin_watchd.core.layout import INBOX
from rodin_watchd.core.receipt import cost
from rodin_watchd.core.status import set_name
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.model import CREDITS_PER_TEXTURE, Job, State
from rodin_watchd.service.commands import JOB_VERBS

ANSWER_SECONDS = 5.0
"""So long the daemon's answer is waited for."""

LOOK_SECONDS = 0.1
"""The journal is asked for the answer so often."""

KEY_LIMIT_CHARACTERS = 65_536


@click.command(epilog="Example: rodin-watchd retry chair")
@config_option
@click.argument("job")
@click.option("--pay-again", is_flag=True, help=f"Submit it anew, for {CREDITS_PER_TEXTURE} credits.")
def retry(config_file: Path | None, job: str, *, pay_again: bool) -> None:
    """Take the failed JOB up again, from the files in failed/.

    A job that was paid for asks for its results again, free of charge, unless --pay-again is given. JOB is an id, the
    beginning of one, or a set's name.
    """
    ask_about(load(config_file), "retry", job, {"pay_again": pay_again})


@click.command(epilog="Example: rodin-watchd cancel 3f9c")
@config_option
@click.argument("job")
def cancel(config_file: Path | None, job: str) -> None:
    """Stop JOB before its results arrive; its files go to failed/. What was paid stays paid.

    JOB is an id, the beginning of one, or a set's name.
    """
    ask_about(load(config_file), "cancel", job, {})


@click.command(epilog="Example: rodin-watchd pause")
@config_option
def pause(config_file: Path | None) -> None:
    """Take and submit nothing until `resume`; what was paid for still comes in. Lasts through restarts."""
    config = load(config_file)
    with reader(config) as journal:
        _ask(config, journal, "pause", {})


@click.command(epilog="Example: rodin-watchd resume")
@config_option
def resume(config_file: Path | None) -> None:
    """Go on after `pause`."""
    config = load(config_file)
    with reader(config) as journal:
        _ask(config, journal, "resume", {})


@click.command(epilog="Example: rodin-watchd approve chairs/oak")
@config_option
@click.argument("folder", required=False)
@click.option("--all", "everything", is_flag=True, help="Approve all sets that wait.")
def approve(config_file: Path | None, folder: str | None, *, everything: bool) -> None:
    """Let sets go on that came in very large numbers at once and wait in the inbox (budget.hold_above_sets).

    FOLDER is a folder of the inbox: its sets and those below are approved; a set's own name with its folder approves that
    one; "." means the sets that lie in the inbox itself.
    """
    if everything is (folder is not None):
        raise click.UsageError("Name a folder of the inbox, or say --all.")
    config = load(config_file)
    with reader(config) as journal:
        _ask(config, journal, "approve", {"folder": _in_inbox(folder) if folder is not None else None})


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
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def resolve(  # noqa: PLR0913 - one argument for each option
    config_file: Path | None,
    job: str,
    *,
    not_charged: bool,
    task: str | None,
    subscription_key: str | None,
    give_up: bool,
    yes: bool,
) -> None:
    """Decide about the held JOB: nobody here can tell whether its submit was accepted and charged.

    Look into the vendor's account first, then choose one of --not-charged, --task and --give-up. JOB is an id, the
    beginning of one, or a set's name.
    """
    if sum((not_charged, task is not None, give_up)) != 1:
        raise click.UsageError("Choose one of --not-charged, --task UUID and --give-up.")
    if subscription_key is not None and task is None:
        raise click.UsageError("--subscription-key belongs to --task.")
    how = "not-charged" if not_charged else "give-up" if give_up else "task"
    arguments: dict[str, Any] = {"how": how}
    if task is not None:
        arguments |= {"task": _word(task, "--task"), "subscription_key": _key(subscription_key)}
    ask_about(load(config_file), "resolve", job, arguments, confirm=not_charged and not yes)


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


def ask_about(config: Config, verb: str, name: str, arguments: dict[str, Any], *, confirm: bool = False) -> None:
    """Ask something about one job."""
    with reader(config) as journal:
        job = journal.find(name)
        if daemon_of(config) is None and verb in JOB_VERBS:  # refuse now what the daemon would refuse at its next start
            JOB_VERBS[verb](job, arguments, time.time())
        if confirm:
            _confirm(job)
        _ask(config, journal, verb, {**arguments, "job": job.id})


def _confirm(job: Job) -> None:
    """Ask before money may be spent twice. Ends the command if the answer is no, or if nobody is there to answer."""
    if job.state is not State.HELD:
        return  # the daemon refuses, with the reason
    click.echo(f"{set_name(job.folder, job.name)} (job {job.id}): {cost(job)}")
    click.confirm(f"Submit it again, for {CREDITS_PER_TEXTURE} credits, on top of what it may have cost?", abort=True)


def _ask(config: Config, journal: JournalReader, verb: str, arguments: dict[str, Any]) -> None:
    """Leave a command, and tell the answer if somebody is there to give one. Raises CommandRefusedError."""
    number = insert_command(journal_of(config), verb, arguments, time.time())
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
