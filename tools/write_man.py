"""Write the manual pages, one for the program and one for each of its commands, from the commands themselves.

It is written for this program because what makes manual pages of other click programs (click-man 0.6) sees no commands that are
loaded when they are called, leaves their examples out, and lets a line of help that begins with a dot be a macro.
"""

from __future__ import annotations

import argparse
import os
import re
import textwrap
import time
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from rodin_watchd import __version__
from rodin_watchd.cli.main import cli

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "rodin-watchd"
WIDTH = 78

EXIT_STATUS = (
    ("0", "Done."),
    ("1", "Failed: the text says what failed, who can correct it, and what to do."),
    ("2", "Wrong use: arguments or configuration."),
)
ENVIRONMENT = (
    ("RODIN_WATCHD_CONFIG", "The config file, where --config does not name one."),
    ("RODIN_API_KEY", "The vendor's API key, for `run`, `check` and `balance`."),
    ("NO_COLOR", "Set to any value: no colors."),
)
FILES = (
    (
        "./config.toml, /etc/rodin-watchd/config.toml",
        "The config file, where neither --config nor the environment names one.",
    ),
    ("/usr/share/rodin-watchd/config.toml", "An example with every key (Debian package)."),
)


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {
        f"{_page_name(ctx)}.1": "\n".join(_page(ctx)) + "\n"
        for ctx in _contexts(
            click.Context(cli, info_name=PROGRAM, help_option_names=cli.context_settings["help_option_names"])
        )
    }


def _contexts(ctx: click.Context) -> Iterator[click.Context]:
    """Yield a command and those below it."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            if command and not command.hidden:
                yield from _contexts(click.Context(command, info_name=name, parent=ctx))


def _page_name(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _page(ctx: click.Context) -> Iterator[str]:
    first, *more = cleandoc(ctx.command.help or "").split("\n\n")
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    yield f'.TH "{_escaped(_page_name(ctx).upper())}" "1" "{day}" "{_escaped(f"{PROGRAM} {__version__}")}" "User Commands"'
    yield from (".nh", ".ad l")  # names of files and keys stay whole, and lines without a blank need none
    yield from (".SH NAME", f"{_escaped(_page_name(ctx))} \\- {_plain(_in_short(ctx.command)).rstrip('.')}")
    yield from (
        ".SH SYNOPSIS",
        f"\\fB{_escaped(ctx.command_path)}\\fR {_escaped(' '.join(ctx.command.collect_usage_pieces(ctx)))}",
    )
    yield from (".SH DESCRIPTION", *_paragraphs([first, *more]))
    yield from _list(
        "OPTIONS",
        [
            record
            for param in ctx.command.get_params(ctx)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx))
        ],
    )
    if isinstance(ctx.command, click.Group):
        below = ((name, ctx.command.get_command(ctx, name)) for name in ctx.command.list_commands(ctx))
        yield from _list("COMMANDS", [(name, _in_short(command)) for name, command in below if command])
    yield from _list("EXIT STATUS", EXIT_STATUS)
    if ctx.parent is None:
        yield from _list("ENVIRONMENT", ENVIRONMENT)
        yield from _list("FILES", FILES)
    if ctx.command.epilog:
        yield from (".SH EXAMPLES", ".EX", _escaped(ctx.command.epilog.removeprefix("Example: ")), ".EE")
    yield from _see_also(ctx)


def _in_short(command: click.Command) -> str:
    """Return the first sentence of its help."""
    return command.get_short_help_str(200)


def _see_also(ctx: click.Context) -> Iterator[str]:
    """Yield the pages above and below this one."""
    below = (
        [f"{_page_name(ctx)}-{name}" for name in ctx.command.list_commands(ctx)]
        if isinstance(ctx.command, click.Group)
        else []
    )
    names = [*([_page_name(ctx.parent)] if ctx.parent else []), *below]
    ends = ["," if name != names[-1] else "" for name in names]
    yield ".SH SEE ALSO"
    yield from (f".BR {_escaped(name)} (1){end}" for name, end in zip(names, ends, strict=True))


def _list(title: str, entries: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield f".SH {title}"
    for term, text in entries:
        yield from (".TP", f"\\fB{_escaped(term)}\\fR", _plain(text))


def _paragraphs(texts: list[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield from ((".PP",) if number else ())
        yield _plain(text)


def _plain(text: str) -> str:
    """Return running text in lines of its own, with what is marked as code in bold."""
    bold = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _escaped(" ".join(text.split())))
    return "\n".join(map(_no_macro, textwrap.wrap(bold, WIDTH, break_long_words=False, break_on_hyphens=False)))


def _escaped(text: str) -> str:
    """Return text in which nothing means something to roff, and a hyphen is one that can be copied."""
    return (
        text.replace("\\", "\\e")
        .replace("-", "\\-")
        .replace('"', "\\(dq")
        .replace("~", "\\(ti")
        .replace("^", "\\(ha")
        .replace("|", "|\\:")  # a long choice may be broken into lines there
    )


def _no_macro(line: str) -> str:
    return f"\\&{line}" if line.startswith((".", "'")) else line


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "dist" / "man1", help="the folder (default: dist/man1)")
    write(parser.parse_args().into)


if __name__ == "__main__":
    main()
