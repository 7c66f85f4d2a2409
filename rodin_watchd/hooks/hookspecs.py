"""The hooks of plugins: what each one may do, when it is called, and what an exception costs.

These rules hold for all hooks. A hook runs in a process of the plugin's own, never in the daemon's: no API key, no open
journal, a limit of time and memory. It may raise: each hook says what that costs. A plugin declares only the
arguments that it needs. `settings` is what the configuration (and, for a job's hooks, the set's TOML
file) says under `[plugins.NAME]`, as an instance of the plugin's own `Settings` model if it has one. Several plugins on
one hook are called one after the other, by their `order` and then their name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pluggy

from rodin_watchd.v1 import Event, FileSet, Job, OptionValue, Refusal, Settings, Waiting

hookspec = pluggy.HookspecMarker("rodin_watchd")


@hookspec
def rodin_configure(settings: Settings) -> None:
    """Prepare the plugin: called once in each new process of it, before any other hook, and by `plugins check`.

    For checks, and for work that later calls share (a connection, a program's version). If it raises, the plugin cannot
    be used, and the service reports that at its start. It is called again whenever a process of the plugin is replaced.
    """


@hookspec
def rodin_accept(fileset: FileSet, directory: Path, settings: Settings) -> str | Refusal | None:
    """Refuse a set before anything is sent or paid: return the reason in words, or None to let it pass.

    A `Refusal` has your own advice next to the reason; whoever dropped the set reads both. `directory` holds a copy of the set's files. Called when the set was taken and its files were found whole. If it
    raises, it is called again later, and nothing is sent until it answers. Repeated only if its answer was not recorded.
    """


@hookspec
def rodin_options(
    job: Job,
    options: Mapping[str, OptionValue],
    directory: Path,
    settings: Settings,
) -> Mapping[str, OptionValue] | None:
    """Change what is asked of the vendor: return the options to set over these, or None.

    Called after `rodin_accept` and before the options are frozen; they become part of the set's fingerprint, by
    which a set that was paid before is recognised. So answer the same for the same set. `options` are as the plugins before left them; `directory` holds a copy of the set's files.
    The names and values are the vendor's, and checked like a sidecar's: an unknown one fails the set. If it raises, it
    is called again later, and nothing is sent until it answers. Repeated only if its answer was not recorded.
    """


@hookspec
def rodin_process(job: Job, directory: Path, settings: Settings) -> Mapping[str, Any] | None:
    """Add, change or remove result files before they are published.

    `directory` is a working copy of the result as the plugins before left it, for this plugin alone; it becomes the result
    when the hook returns, and is removed when the hook raises, hangs or crashes, so a half-made change is never published. Return facts for the receipt (text,
    numbers, booleans, lists and tables of them, under `[plugins.NAME]` there), or None. A failing call is repeated; after the
    last one the result is delivered without this plugin's work, which the receipt says, or, with `required = true` in
    the plugin's table, the job fails with its downloaded results next to the report. Repeated if the service
    was killed meanwhile.
    """


@hookspec
def rodin_delivered(job: Job, directory: Path, event: Event, settings: Settings) -> None:
    """Notify people that a result is in the outbox. `directory` is its folder there: read, do not change.

    Called at least once for each plugin: a call whose end was not recorded is repeated, with the same `event.id`. If it
    raises, it is repeated with growing waits; the job goes on whatever happens.
    """


@hookspec
def rodin_failed(job: Job, directory: Path, event: Event, settings: Settings) -> None:
    """Notify people that a set failed. `directory` is its folder in `failed/`; `job.problem` says why.

    Repeated as `rodin_delivered` is.
    """


@hookspec
def rodin_held(job: Job, event: Event, settings: Settings) -> None:
    """Notify people that a job waits for their decision (`rodin-watchd resolve`): it may have been paid for.

    Repeated as `rodin_delivered` is.
    """


@hookspec
def rodin_chosen(job: Job, directory: Path, event: Event, settings: Settings) -> None:
    """Notify people that somebody has chosen a job among those of its set (`job.chosen`), or that it is not chosen any more.

    `directory` is its folder in the outbox: read, do not change; its receipt says the same by then. Where another job is
    chosen instead, it is called for both, in any order. `event.kind` is `chosen` or `unchosen`. Repeated as `rodin_delivered` is.
    """


@hookspec
def rodin_waiting(waiting: Waiting, event: Event, settings: Settings) -> None:
    """Notify people that a set in the inbox has lacked a file for longer than `intake.pair_minutes`.

    Once for each set and each state of its files. Repeated as `rodin_delivered` is.
    """


@hookspec
def rodin_service(event: Event, settings: Settings) -> None:
    """Notify people about the service: paused, resumed, low balance, an alarm, a plugin that was set aside.

    `event.kind`, `event.subject` (what it is about) and `event.code` (of the error that it is about) are stable machine
    words, `event.message` is a sentence for people. Repeated as `rodin_delivered` is.
    """
