"""Results as a page: opened by a double click, from a share as well; nothing is loaded but the pictures next to it."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from html import escape
from string import Template
from typing import Final
from urllib.parse import quote

from rodin_watchd_plugins.contact_sheet.gathering import File, Gathered, Result
from rodin_watchd_plugins.contact_sheet.publishing import SIGN
from rodin_watchd_plugins.contact_sheet.words import in_bytes, shown

_MOST_FILES: Final = 8

_SCRIPT: Final = """
const find = document.getElementById("find");
const folder = document.getElementById("folder");
const plain = (text) => text.normalize("NFKC").toLowerCase();
const cards = Array.from(document.querySelectorAll("article"), (card) => [card, plain(card.textContent)]);
function filter() {
  const words = plain(find.value).split(/\\s+/);
  const within = folder ? folder.value : "";
  let count = 0;
  for (const [card, text] of cards) {
    const there = `${card.dataset.folder}/`.startsWith(within) && words.every((word) => text.includes(word));
    card.hidden = !there;
    count += there;
  }
  const isFiltered = count < cards.length;
  document.getElementById("shown").textContent = isFiltered ? `${count} of ${cards.length} shown` : "";
  document.getElementById("none").hidden = count > 0;
}
addEventListener("input", filter);
addEventListener("pageshow", filter);
document.getElementById("search").hidden = false;
"""

_PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="generator" content="$sign">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'; \
img-src 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-$digest'">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --ground: #f5f5f3; --card: #fff; --ink: #1b1d20; --soft: #5b6068; --line: #dfe0dc; --accent: #0f6b63;
  --near: #fff; --far: #e6e7e4; --shade: 0 1px 2px rgb(0 0 0 / 6%), 0 4px 14px rgb(0 0 0 / 5%);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131517; --card: #1d2023; --ink: #eceeef; --soft: #a3a9b1; --line: #32363b; --accent: #5cc8bb;
    --near: #4a4f56; --far: #24272b; --shade: 0 1px 2px rgb(0 0 0 / 40%);
  }
}
* { box-sizing: border-box }
[hidden] { display: none !important }
body { margin: 0; background: var(--ground); color: var(--ink) }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.25rem;
  padding: .75rem 1.5rem; background: var(--card); border-bottom: 1px solid var(--line) }
h1 { margin: 0; font-size: 1.3rem; line-height: 1.25; letter-spacing: -.01em; overflow-wrap: anywhere }
header p { margin: 0 auto 0 0; color: var(--soft); font-size: .92rem }
#search { display: flex; flex: 0 1 30rem; gap: .5rem; min-width: 0 }
input, select { font: inherit; min-width: 0; min-height: 2.5rem; padding: .4rem .7rem; border: 1px solid var(--line);
  border-radius: 8px; background: var(--ground); color: var(--ink) }
input { flex: 2 1 12rem }
select { flex: 1 1 8rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1.1rem;
  max-width: 1680px; margin: 0 auto; padding: 1.5rem }
article { background: var(--card); border: 1px solid var(--line); border-radius: 12px; overflow: hidden;
  box-shadow: var(--shade) }
article:hover { border-color: var(--soft) }
.preview { display: grid; place-items: center; aspect-ratio: 1; color: var(--soft);
  background: radial-gradient(circle at 50% 40%, var(--near), var(--far)); border-bottom: 1px solid var(--line) }
.preview img { width: 100%; height: 100%; object-fit: contain; min-height: 0 }
article > div { padding: .75rem .9rem .85rem; font-size: .88rem; color: var(--soft); overflow-wrap: anywhere }
article p { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 .75rem; margin: .1rem 0 0 }
h2 { margin: 0; font-size: 1.05rem; line-height: 1.35 }
h2 a { color: var(--ink) }
h2 b { float: right; margin-left: .5rem; padding: 0 .5rem; border-radius: 99px; background: var(--accent); color: var(--card); font-size: .8rem }
.chosen { border: 2px solid var(--accent) }
time, .cost { font-variant-numeric: tabular-nums; white-space: nowrap }
summary { margin-top: .35rem; color: var(--accent); cursor: pointer; width: fit-content }
ul { list-style: none; margin: .35rem 0 0; padding: 0 }
li { padding: .12rem 0 }
a { color: var(--accent); text-decoration: none }
a:hover, a:focus { text-decoration: underline }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px }
.preview:focus-visible { outline-offset: -3px }
#none { grid-column: 1 / -1; margin: 3rem 0; text-align: center; color: var(--soft) }
@media (max-width: 40rem) {
  header { position: static; padding: .75rem 1rem }
  #search { flex-basis: 100% }
  main { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .75rem; padding: 1rem }
}
@media print {
  body { background: none }
  header { position: static }
  #search, summary { display: none }
  article { break-inside: avoid; box-shadow: none }
}
</style>
<header>
<h1><bdi>$heading</bdi></h1>
<p>$count$picture <span id="shown" role="status"></span></p>
<div id="search" role="search" hidden>
<input id="find" type="search" placeholder="Search" aria-label="Search" autocomplete="off">
$folders</div>
</header>
<main>
$results
<p id="none" hidden>No result matches the search.</p>
</main>
<script>$script</script>
</html>
""")

_DIGEST: Final = b64encode(sha256(_SCRIPT.encode()).digest()).decode()


def page(title: str, heading: str, seen: Gathered, source: Callable[[Result], str], picture: str = "") -> bytes:
    """Return the page of what was gathered in the folder that the page is for.

    `source` gives the path of the picture that is shown for a result with a preview; `picture` is the file with a contact sheet, "" without one.
    """
    link = f' · <a href="{_link(picture)}">as a picture</a>' if picture else ""
    return _PAGE.substitute(
        sign=SIGN,
        digest=_DIGEST,
        script=_SCRIPT,
        title=_text(title),
        heading=_text(heading),
        count=_count(seen),
        picture=link,
        folders=_folders(seen),
        results="\n".join(_article(result, source) for result in seen.results),
    ).encode()


def _count(seen: Gathered) -> str:
    many = f"{'' if seen.is_all else 'more than '}{seen.count:,} result{'' if seen.count == 1 else 's'}"
    return many if len(seen.results) == seen.count and seen.is_all else f"the newest {len(seen.results):,} of {many}"


def _folders(seen: Gathered) -> str:
    """Return the choice of a folder, where there is one."""
    parts = (result.folder.split("/") for result in seen.results if result.folder)
    names = sorted({"/".join(part[:end]) for part in parts for end in range(1, len(part) + 1)})
    options = "".join(f'<option value="{_text(name)}/">{_text(name)}</option>' for name in names)
    return (
        f'<select id="folder" aria-label="Folder"><option value="">All folders</option>{options}</select>\n'
        if names
        else ""
    )


def _article(result: Result, source: Callable[[Result], str]) -> str:
    folder = _link(result.path)
    where = f'<p class="folder"><bdi>{_text(result.folder)}</bdi></p>\n' if result.folder else ""
    marked, chosen = (' class="chosen"', "<b>chosen</b> ") if result.is_chosen else ("", "")
    return (
        f'<article data-folder="{_text(result.folder)}"{marked}>\n'
        f'<a class="preview" href="{_target(result)}">{_preview(result, source)}</a>\n'
        f'<div><h2>{chosen}<a href="{folder}/"><bdi>{_text(result.name)}</bdi></a></h2>\n{where}'
        f"<p>{_time(result)}{_cost(result.credits)}</p>\n{_files(folder, result)}</div>\n</article>"
    )


def _target(result: Result) -> str:
    return f"{_link(result.path)}/{_quoted(result.preview.name) if result.preview else ''}"


def _preview(result: Result, source: Callable[[Result], str]) -> str:
    if result.preview is None:
        return "no preview"
    return f'<img loading="lazy" src="{_link(source(result))}" alt="{_text(result.name)}">'


def _time(result: Result) -> str:
    at = result.at.astimezone()
    return f'<time datetime="{at.isoformat(timespec="seconds")}">{at:%Y-%m-%d %H:%M}</time>'


def _cost(paid: Decimal | None) -> str:
    if paid is None:
        return ""
    return f' <span class="cost">{paid.normalize():f} {"credit" if paid == 1 else "credits"}</span>'


def _files(folder: str, result: Result) -> str:
    if not result.files:
        return ""
    many = f"{len(result.files):,} file{'' if len(result.files) == 1 else 's'}"
    listed = "".join(_file(folder, file) for file in result.files[:_MOST_FILES])
    size = in_bytes(sum(file.size for file in result.files))
    return f"<details><summary>{many}, {size}</summary>\n<ul>{listed}{_rest(result)}</ul></details>"


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
