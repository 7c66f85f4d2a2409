"""`rodin-watchd retry`, `clear`, `choose`, `cancel`, `resolve`, `approve`, `pause` and `resume`: what people ask of the daemon.

A command is left in the journal; the daemon, the journal's only other writer, carries it out and answers there. With it is
left what the person saw: what has changed by the time that the daemon reads it is not what was decided about.
"""

from __future__ import annotations

import os
import secrets
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from rodin_watchd.adapters.host import filesystem_of, local_zone
from rodin_watchd.adapters.spool.mounts import Mounts, read_mark
from rodin_watchd.adapters.spool.moving import job_named_at
from rodin_watchd.cli.completion import job_in, one_of
from rodin_watchd.cli.options import config_option, load
from rodin_watchd.client.asking import ANSWER_SECONDS, NO_ANSWER, about, answer_to, leave_command, refuse_unfit
from rodin_watchd.client.journal import daemon_of, has_store, place_of, reader
from rodin_watchd.config import Config
from rodin_watchd.core.batches import price_in_all
from rodin_watchd.core.commands import Seen
from rodin_watchd.core.failures import is_resolved
from rodin_watchd.core.layout import FAILED, INBOX, OUTBOX
from rodin_watchd.core.machine import ENDED, LOSS, Loss
from rodin_watchd.core.mounts import PATHS, Mark, Mount, SeenMark, Traces, Whose, is_inside_mark, whose_root
from rodin_watchd.core.names import printable
from rodin_watchd.core.store import ROOT_ID, StoreReader
from rodin_watchd.core.wire import plain
from rodin_watchd.core.wording import cost, in_credits, local, sentences, set_name
from rodin_watchd.errors import CommandRefusedError, FolderGoneError
from rodin_watchd.model import Job, State
from rodin_watchd.service.commands import ACCEPT, APPROVE, CANCEL, CHOOSE, CLEAR, PAUSE, RESUME, SEEN
from rodin_watchd.service.mounts import remembered, remembered_inside, root_seen, traces_of

KEY_LIMIT_CHARACTERS = 65_536

_LONGEST_TEXT = 500


@click.command(epilog="Example: rodin-watchd retry chair")
@config_option
@click.argument("job", shell_complete=job_in((State.FAILED,)))
@click.option("--pay-again", is_flag=True, help="Submit it again, and pay again.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def retry(config_file: Path | None, job: str, *, pay_again: bool, yes: bool) -> None:
    """Take the failed JOB up again, from the files in failed/.

    A job that was paid for asks for its results again, free of charge, unless --pay-again is given. JOB is an id, the
    beginning of an id, or a set's name. The command is about the last failure of the job: if somebody else takes the
    job up first, it is refused.
    """
    confirm = _confirm_paying_again if pay_again and not yes else _nothing
    ask_about(load(config_file), "retry", job, {"pay_again": pay_again}, confirm)


@click.command(epilog="Example: rodin-watchd clear --resolved")
@config_option
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=job_in((State.FAILED,)))
@click.option("--resolved", is_flag=True, help="Clear each failed set that was delivered: before it failed, or since.")
def clear(config_file: Path | None, names: tuple[str, ...], *, resolved: bool) -> None:
    """Move the folders of failed sets from failed/ to the archive: nobody needs them there any more.

    NAME is a folder in failed/, a job's id, the beginning of an id, or a set's name. The inputs and the report are moved
    together, and nothing is deleted. The set is not listed as failed any more; the job and its history stay. A folder
    with files that the service did not put there is not moved: the answer names them.
    """
    if resolved is bool(names):
        raise click.UsageError("Name folders of failed/, or say --resolved.")
    config = load(config_file)
    with reader(config) as journal:
        jobs = [_job_in(FAILED, config, journal, name) for name in names] or _resolved(config, journal)
        for job in jobs:
            refuse_unfit(config, job, CLEAR, {})
        numbers = [
            leave_command(config, CLEAR, about(job.id, Seen.of(job), {}))
            for job in {job.id: job for job in jobs}.values()
        ]
        if numbers:
            _print_answers(config, journal, numbers)
        else:
            click.echo("There is nothing to clear.")


def _job_in(top: str, config: Config, journal: StoreReader, name: str) -> Job:
    """Return the job whose folder in a top folder has this name, by its receipt or report; else the one that is called so."""
    place = f"{top}/{name.removeprefix(f'{top}/').strip('/')}"
    named = job_named_at(config.folders.root, place)
    job = journal.job(str(named[0])) if named else None
    return job if job and job.place == place else journal.find(name)


def _resolved(config: Config, journal: StoreReader) -> list[Job]:
    """Return the failed jobs whose sets were delivered, and whose folders are still there."""
    failed = filter(is_resolved, journal.each_job((State.FAILED,)))
    return [job for job in failed if job.place and os.path.lexists(config.folders.root / job.place)]


@click.command(epilog="Example: rodin-watchd choose chair/seed-2")
@config_option
@click.argument("job", shell_complete=job_in((State.ARCHIVED,)))
@click.option("--take-back", is_flag=True, help="Take the choice of JOB back: no job of its set is chosen then.")
def choose(config_file: Path | None, job: str, *, take_back: bool) -> None:
    """Choose the delivered JOB among those of its set: its receipt then says `chosen = true`.

    One job of a set is chosen at most: a job that was chosen before is not chosen any more. JOB is a folder in outbox/,
    an id, the beginning of an id, or a set's name. Nothing is moved, deleted or paid.
    """
    config = load(config_file)
    with reader(config) as journal:
        found = _job_in(OUTBOX, config, journal, job)
    ask_about(config, CHOOSE, found.id, {"take_back": take_back})


@click.command(epilog="Example: rodin-watchd cancel 3f9c")
@config_option
@click.argument("job", shell_complete=job_in(set(State) - ENDED - {State.HELD}))
def cancel(config_file: Path | None, job: str) -> None:
    """Stop JOB before its results arrive. Its files go to failed/. Credits that were paid are not refunded.

    JOB is an id, the beginning of an id, or a set's name. If the job is paid for before this command stops it, the job
    continues and the command is refused. Run it again to stop the job anyway.
    """
    ask_about(load(config_file), CANCEL, job, {})


@click.command(epilog="Example: rodin-watchd pause")
@config_option
def pause(config_file: Path | None) -> None:
    """Take and submit nothing until `resume`. Paid results are still fetched. The pause also lasts through restarts."""
    config = load(config_file)
    with reader(config) as journal:
        ask(config, journal, PAUSE, {})


@click.command(epilog="Example: rodin-watchd resume")
@config_option
def resume(config_file: Path | None) -> None:
    """Continue after `pause`. A `pause` that is given after this command stays."""
    config = load(config_file)
    with reader(config) as journal:
        ask(config, journal, RESUME, {SEEN: journal.newest_command(PAUSE)})


@click.command(epilog="Example: rodin-watchd approve chairs/oak")
@config_option
@click.argument("folder", required=False)
@click.option("--all", "everything", is_flag=True, help="Approve all sets that wait.")
def approve(config_file: Path | None, folder: str | None, *, everything: bool) -> None:
    """Approve sets that came in very large numbers at once and wait in the inbox (budget.hold_above_sets).

    FOLDER is a folder of the inbox: its sets and those below it are approved. The name of a set with its folder
    approves this set; "." means the sets directly in the inbox. Sets that come, or whose files are replaced, after this
    command are not approved by it.
    """
    if everything is (folder is not None):
        raise click.UsageError("Name a folder of the inbox, or say --all.")
    config = load(config_file)
    with reader(config) as journal:
        seen = journal.newest_held()
        if not seen and daemon_of(config) is None:
            raise CommandRefusedError("No set waits for approval.", advice="`rodin-watchd status` shows what waits.")
        ask(config, journal, APPROVE, {"folder": _in_inbox(folder) if folder is not None else None, SEEN: seen})


def _in_inbox(folder: str) -> str:
    """Return a folder relative to the inbox, however it was spelled: `chairs/`, `inbox/chairs`, `./chairs`."""
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return "/".join(parts[1:] if parts[:1] == [INBOX] else parts) or "."


@click.command(epilog="Example: rodin-watchd resolve chair --task UUID --subscription-key - < key.txt")
@config_option
@click.argument("job", shell_complete=job_in((State.HELD,)))
@click.option("--not-charged", is_flag=True, help="The vendor did not charge it: submit it again. May pay twice.")
@click.option("--task", metavar="UUID", help="The vendor accepted it as this task: fetch its results.")
@click.option(
    "--subscription-key",
    metavar="KEY",
    help="The task's subscription key; - reads it from standard input, because everybody on this machine can read "
    "a command line. Without it the service asks for the results until they are there.",
)
@click.option("--give-up", is_flag=True, help="Move the set to failed/ with the known facts.")
@click.option(
    "--hold",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only if this is still the newest hold of the job: the number that `show`, `list`, `status` and STATUS.txt show.",
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
    """Decide about the held JOB: the service does not know whether its submit was accepted and charged.

    Look into the vendor's account first, then choose one of --not-charged, --task and --give-up. JOB is an id, the
    beginning of an id, or a set's name. The decision is about one hold: if the job was submitted again since, and is
    held again, the command is refused.
    """
    if sum((not_charged, task is not None, give_up)) != 1:
        raise click.UsageError("Choose one of --not-charged, --task UUID and --give-up.")
    if subscription_key is not None and task is None:
        raise click.UsageError("--subscription-key needs --task.")
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

    `confirm` shows the job and may ask whether it is meant, at what it may cost (credits).
    """
    with reader(config) as journal:
        job = journal.find(name)
        if hold not in (None, job.holds):
            message = (
                f"Hold {hold} is not the newest hold of this job: the newest is hold {job.holds}." if job.holds else ""
            )
            raise CommandRefusedError(
                message or "This job was never held.", advice=f"Look at it (`rodin-watchd show {job.id}`), then decide."
            )
        refuse_unfit(config, job, verb, arguments)
        confirm(job, price_in_all(job, journal.price))
        ask(config, journal, verb, about(job.id, Seen.of(job), arguments))


def _show_hold(job: Job, _: Decimal) -> None:
    """Show which hold is decided about: since when, why, and what it may have cost."""
    since = local(job.times.get(State.HELD.value, job.created_at), local_zone())
    why = f" {plain(sentences(job.problem.message), _LONGEST_TEXT)}" if job.problem else ""
    click.echo(
        f"{set_name(job.folder, job.title)} (job {job.id}): hold {job.holds}, since {since}.{why} Cost: {cost(job)}"
    )


def _confirm_not_charged(job: Job, price: Decimal) -> None:
    """Ask before a held job is submitted again."""
    _show_hold(job, price)
    _confirm(f"Submit it again, for {in_credits(price)}, in addition to its possible cost?")


def _confirm_paying_again(job: Job, price: Decimal) -> None:
    """Ask before a failed job is paid for again."""
    why = f" {plain(sentences(job.problem.message), _LONGEST_TEXT)}" if job.problem else ""
    click.echo(f"{set_name(job.folder, job.title)} (job {job.id}): failed.{why} Cost so far: {cost(job)}")
    _confirm(f"Submit it again, for {in_credits(price)}, in addition to this cost?")


def _confirm(question: str) -> None:
    """Ask before money is spent again. Ends the command if the answer is no, or if nobody is there to answer."""
    if not sys.stdin.isatty() and not select.select([sys.stdin], [], [], ANSWER_SECONDS)[0]:
        raise click.UsageError("There is nobody to answer the question; use --yes to continue without it.")
    try:
        agreed = click.confirm(question)
    except click.Abort:
        raise click.UsageError("Nobody answered the question; use --yes to continue without it.") from None
    if not agreed:
        raise click.Abort


def ask(config: Config, journal: StoreReader, verb: str, arguments: dict[str, Any]) -> None:
    """Leave a command, and print the answer if somebody is there to give one. Raises CommandRefusedError."""
    _print_answers(config, journal, [leave_command(config, verb, arguments)])


def _print_answers(config: Config, journal: StoreReader, numbers: Sequence[int]) -> None:
    """Print the answers to commands if somebody is there to give them. Raises CommandRefusedError with those that are refusals."""
    if daemon_of(config) is None:
        which = "the command" if len(numbers) == 1 else f"the {len(numbers):,} commands"
        click.echo(f"The service is not running: {which} will run when it starts.")
        return
    refused: list[str] = []
    for number in numbers:
        answer = answer_to(journal, number)
        if answer is None:
            click.echo(NO_ANSWER)
            break
        if answer["ok"]:
            click.echo(answer["message"])
        else:
            refused.append(answer["message"])
    if refused:
        raise CommandRefusedError("\n".join(refused), advice=" ")


# ---- `rodin-watchd accept`: a person says that a folder which was moved to another disk is the service's folder all the same ----


_SHARE_PARTS = 2
"""Of a path in the inbox, at least."""

JOURNAL: Final = "journal"
"""What is accepted besides folders: that something is missing in the journal."""


@click.command(epilog="Example: rodin-watchd accept outbox")
@config_option
@click.argument("folder", metavar="FOLDER", shell_complete=one_of((*Mount, JOURNAL)))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def accept(config_file: Path | None, folder: str, *, yes: bool) -> None:
    """Accept the folder that is at FOLDER now, after it was moved to another disk or share.

    FOLDER is root, inbox, outbox, failed, archive, work, or a share in the inbox: inbox/team. The service knows its
    folders by their device and by a mark in them. A folder with neither looks like a share that is not mounted. This
    command writes the mark into the folder that is there now. The service needs nothing else, whether it is running or
    not. `accept root` also allows a root that was copied or moved, or whose journal is lost for good. Then it is not
    known what was paid elsewhere, or before. `accept journal` accepts the submits that are missing in a journal that is
    older than what was paid; the notice about them ends.
    """
    config = load(config_file)
    if folder == JOURNAL:
        _accept_loss(config, yes=yes)
        return
    where, mounts = _path_of(folder), Mounts(config.folders.root)
    path = config.folders.root / where
    there = filesystem_of(path)
    seen = mounts.look_at(where, Path(there.mount_point))
    if seen is None:
        raise FolderGoneError(
            f"There is no folder {path}.", advice="Mount the share or disk first, or make the folder."
        )
    mark = _mark(config, folder if where else Mount.ROOT.value, mounts)
    if not where and mark.journal:
        mark = replace(mark, accepted_from=_before(config, seen.mark, mark))
    if not yes:
        click.echo(f"{path} {_said(seen)}, on {there.kind} mounted at {there.mount_point}.")
        _warn(seen.mark, mark)
        click.confirm(f"Shall the service use this folder as {folder} from now on?", abort=True)
    mounts.leave_mark_at(where, mark, replace=True)
    if not where:
        mark_all_with(config, mounts, mark, seen.mark)
    click.echo(f"Accepted: the service uses {path}.")


def _path_of(folder: str) -> str:
    """Return where a folder is, relative to the root. Raises BadParameter for one that cannot be accepted."""
    if folder in set(Mount):
        return PATHS[Mount(folder)]
    parts = folder.split("/")
    if parts[0] != INBOX or len(parts) < _SHARE_PARTS or not {"", ".", ".."}.isdisjoint(parts):
        names = ", ".join((*(mount.value for mount in Mount), JOURNAL))
        raise click.BadParameter(f"{folder} is not one of {names}, and no folder in the inbox (inbox/NAME).")
    return folder


def _accept_loss(config: Config, *, yes: bool) -> None:
    with reader(config) as journal:
        found = journal.meta(LOSS)
        if not found:
            raise CommandRefusedError("Nothing is missing in the journal, as far as the service knows.", advice=" ")
        loss = Loss(*found)
        if not yes:
            click.echo(f"{loss.reason}: {loss.counted}. Sets that were paid by {loss.them} could be paid again.")
            click.confirm(
                "Have you looked into the vendor's account, and is there no newer journal or backup?", abort=True
            )
        ask(config, journal, ACCEPT, {SEEN: loss.number})


def _before(config: Config, there: Mark | None, wanted: Mark) -> str:
    """Return the journal that an accepted copy named before, "" if it is none: what may have been sent is held at the next start.

    A root without a mark may be a copy of one whose mark was left behind: it stands for its own journal, if there is one.
    """
    if there is None:
        return wanted.journal if has_store(config) else ""
    with reader(config) as known:
        verdict = whose_root(root_seen(there, remembered(known), place_of(config)))
    return there.accepted_from if verdict.whose in (Whose.OURS, Whose.ACCEPTED) else there.journal


def _warn(there: Mark | None, wanted: Mark) -> None:
    """Say what it means to accept a folder that another service may be using."""
    if there is None or not there.journal or there.journal == wanted.journal:
        return
    click.echo(
        f"Its mark names another journal: {printable(there.journal, 500)}. A service with that journal must not run any "
        "more, neither on this folder nor on another copy of it: both would pay for the same sets."
    )


def mark_all_with(config: Config, mounts: Mounts, root: Mark, before: Mark | None) -> None:
    """Mark the folders of an accepted root again that were marked with it, and the shares in its inbox. Raises OSError."""
    with_it = {root.root_id, before.root_id if before else root.root_id}
    shares = _shares(config)
    names = {PATHS[mount]: mount.value for mount in Mount if mount is not Mount.ROOT}
    for path, name in {**names, **{share: share for share in shares}}.items():
        mark = read_mark(config.folders.root / path)
        if mark and mark.root_id in with_it and (mark.mount == name or (path in shares and is_inside_mark(mark))):
            mounts.leave_mark_at(path, replace(root, mount=name, accepted_from="", traces=Traces()), replace=True)


def _shares(config: Config) -> frozenset[str]:
    """Return where shares were mounted in the inbox that carried the service's mark, relative to the root."""
    if not has_store(config):
        return frozenset()
    with reader(config) as journal:
        return frozenset(f"{INBOX}/{path}" for path in remembered_inside(journal).known)


def _said(seen: SeenMark) -> str:
    mark = f"has the mark of another {seen.mark.mount}" if seen.mark else "has no mark"
    return f"{'is empty' if seen.empty else 'is not empty'} and {mark}"


def _mark(config: Config, name: str, mounts: Mounts) -> Mark:
    """Return the mark to leave: the journal's, or the root's where no journal knows it yet."""
    place, root_id = place_of(config), ""
    if has_store(config):
        with reader(config) as journal:
            root_id = str(journal.meta(ROOT_ID) or "")
    if root_id:
        return Mark(root_id, name, place.name, traces=traces_of(place))
    root = mounts.mark(Mount.ROOT)
    return Mark(root.root_id if root else secrets.token_hex(8), name)
