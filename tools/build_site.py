"""Build the site of the documents into dist/site by Zensical, strictly, and check that no page asks another host.

`make docs` runs it in an environment of its own. The pages are those of docs/; links that lead out of docs/ (to code, tests, the
config) become plain text, because a site has no such files; links that show the name of a page's file show its title. A link or
heading that does not exist ends the build.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS, PAGES, SITE = ROOT / "docs", ROOT / "dist" / "pages", ROOT / "dist" / "site"
MERMAID = ROOT / ".node" / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"
OUTWARD = re.compile(r"\[([^]]+)\]\((?:\.\./)[^)]*\)")
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
NAMED = re.compile(r"\[([\w.-]+\.md)\]\(((?:[\w-]+/)?\1(?:#[^)]*)?)\)")
LOADS = {
    "link": "href",
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}
"""What a browser loads by itself; a link that people follow is none."""


def main() -> int:
    """Build the site; return the exit code."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if not MERMAID.exists():
        sys.exit("mermaid is missing: `make docs` installs it by npm")
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(DOCS, PAGES)
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES.rglob("*.md")}
    titles = {page.name: found[1] for page, text in texts.items() if (found := TITLE.search(text))}
    for page, text in texts.items():
        deep = len(page.relative_to(PAGES).parts) > 1
        page.write_text(titled(inward(text, deep=deep), titles), encoding="utf-8")
    (PAGES / "scripts").mkdir()
    shutil.copy(MERMAID, PAGES / "scripts")
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run([program, "build", "--strict", "--clean"], cwd=ROOT, check=False)
    foreign = [
        f"{page.relative_to(SITE)}: {url}" for page in SITE.rglob("*.html") for url in loaded_from_elsewhere(page)
    ]
    for line in foreign:
        print(f"loads from another host: {line}", file=sys.stderr)
    if done.returncode == 0 and not foreign:
        print(
            f"The site is in {SITE.relative_to(ROOT)}: open index.html by a web server, `python -m http.server -d dist/site`."
        )
    return 1 if foreign else done.returncode


def inward(text: str, *, deep: bool) -> str:
    """Return a page whose links out of docs/ are plain text; from a sub-folder, `../` alone stays in docs/."""
    outward = re.compile(OUTWARD.pattern.replace(r"(?:\.\./)", r"(?:\.\./){2}")) if deep else OUTWARD
    return outward.sub(r"\1", text)


def titled(text: str, titles: Mapping[str, str]) -> str:
    """Return a page whose links to other pages, where they show a file's name, show the page's title instead."""
    return NAMED.sub(lambda link: f"[{titles.get(link[1], link[1])}]({link[2]})", text)


def loaded_from_elsewhere(page: Path) -> Iterator[str]:
    """Yield the addresses on other hosts that a browser would load for a page."""
    reader = _Loads()
    reader.feed(page.read_text(encoding="utf-8"))
    yield from (url for url in reader.found if re.match(r"(?:https?:)?//", url))


class _Loads(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of what is loaded."""
        values = dict(attrs)
        if tag in LOADS and values.get("rel") != "canonical":
            self.found.append(values.get(LOADS[tag]) or "")


if __name__ == "__main__":
    sys.exit(main())
