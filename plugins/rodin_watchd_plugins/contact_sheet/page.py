"""The sheet as a page: opened by a double click, from a share as well; nothing is loaded but the previews next to it."""

from __future__ import annotations

import os
from html import escape
from string import Template
from typing import Final
from urllib.parse import quote

from rodin_watchd_plugins.contact_sheet.gathering import File, Gathered, Result
from rodin_watchd_plugins.contact_sheet.publishing import SIGN
from rodin_watchd_plugins.contact_sheet.words import in_bytes, shown

_MOST_FILES: Final = 8

_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="generator" content="$sign">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'">
<title>$title: contact sheet</title>
<style>
:root { --ground: #f4f4f2; --tile: #fff; --text: #1c1e21; --quiet: #5f656d; --line: #d9dadc; --link: #0b57b0 }
@media (prefers-color-scheme: dark) {
  :root { --ground: #17191c; --tile: #22252a; --text: #e9eaec; --quiet: #a0a6ae; --line: #363a41; --link: #8ab8f5 }
}
* { box-sizing: border-box }
body { margin: 0; padding: 1.5rem; background: var(--ground); color: var(--text); font: 15px/1.45 system-ui, sans-serif }
h1 { font-size: 1.4rem; margin: 0 }
header p { margin: .2rem 0 1.2rem; color: var(--quiet) }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem }
article { background: var(--tile); border: 1px solid var(--line); border-radius: .5rem; overflow: hidden }
.preview { display: grid; place-items: center; position: relative; aspect-ratio: 1; color: var(--quiet) }
.preview img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere }
article > div { padding: .6rem .8rem .8rem }
time, ul { color: var(--quiet); font-size: .85rem }
ul { list-style: none; margin: .4rem 0 0; padding: 0; overflow-wrap: anywhere }
a { color: var(--link); text-decoration: none }
a:hover, a:focus { text-decoration: underline }
@media print { body { background: none } article { break-inside: avoid } }
</style>
<header>
<h1><bdi>$title</bdi></h1>
<p>$count$picture</p>
</header>
<main>
$results
</main>
</html>
""")


def page(folder: str, seen: Gathered, picture: str) -> bytes:
    """Return the page of a folder; `picture` is the file with the sheet as a picture, "" without one."""
    many = f"{seen.count:,} result{'' if seen.count == 1 else 's'}"
    count = many if len(seen.results) == seen.count else f"the newest {len(seen.results):,} of {many}"
    link = f' · <a href="{_link(picture)}">as a picture</a>' if picture else ""
    results = "\n".join(map(_article, seen.results))
    return _PAGE.substitute(sign=SIGN, title=_text(folder), count=count, picture=link, results=results).encode()


def _article(result: Result) -> str:
    folder = _link(result.name)
    at = result.at.astimezone()
    return (
        f'<article>\n<a class="preview" href="{_target(result)}">{_preview(result)}</a>\n'
        f'<div><h2><a href="{folder}/"><bdi>{_text(result.name)}</bdi></a></h2>\n'
        f'<time datetime="{at.isoformat(timespec="seconds")}">{at:%Y-%m-%d %H:%M}</time>\n'
        f"<ul>{''.join(_file(folder, file) for file in result.files[:_MOST_FILES])}{_rest(result)}</ul></div>\n</article>"
    )


def _target(result: Result) -> str:
    return f"{_link(result.name)}/{result.preview.name if result.preview else ''}"


def _preview(result: Result) -> str:
    if result.preview is None:
        return "no preview"
    return f'<img loading="lazy" src="{_target(result)}" alt="{_text(result.name)}">'


def _file(folder: str, file: File) -> str:
    return f'<li><a href="{folder}/{_quoted(file.name)}"><bdi>{_text(file.name)}</bdi></a> {in_bytes(file.size)}</li>'


def _rest(result: Result) -> str:
    more = len(result.files) - _MOST_FILES
    return f"<li>and {more:,} more</li>" if more > 0 else ""


def _text(name: str) -> str:
    return escape(shown(name))


def _link(name: str) -> str:
    """Return a relative link that is no other scheme, host or folder, whatever the name is."""
    return f"./{_quoted(name)}"


def _quoted(path: str) -> str:
    """Return a path inside the folder as links have it, whatever bytes its names have."""
    return quote(os.fsencode(path))
