"""Write the catalogues of the page's words: what the templates and the core say, with the translations that there are (Babel).

With `--check` nothing is written: exit code 1 means that a catalogue is not as the code wants it, or lacks a translation.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from rodin_watchd.client.choices import LABELS
from rodin_watchd.core.status import DOING
from rodin_watchd.core.wording import WHO_CAN_ACT
from rodin_watchd.web.site import EXPIRED
from rodin_watchd.web.words import DOMAIN, HERE, LOCALES

TEMPLATES = "templates/**.html"
PYTHON = "**.py"
ROOT = Path(__file__).resolve().parent.parent


def said() -> Catalog:
    """Return all that is said in English: by templates and modules, and the fixed words of the core."""
    found = Catalog(domain=DOMAIN)
    methods = [(TEMPLATES, "jinja2.ext.babel_extract"), (PYTHON, "python")]
    keywords = {"_": None, "say": None, "HTTPException": (2,)}
    for file, _, words, comments, _ in extract_from_dir(
        str(HERE), methods, {TEMPLATES: {"newstyle_gettext": "true"}}, keywords
    ):
        found.add(words, locations=[(file, 0)], auto_comments=comments)
    for text in (*DOING.values(), *WHO_CAN_ACT.values(), *LABELS, EXPIRED):
        found.add(text)
    return found


def catalogues() -> Iterator[tuple[Path, bytes, list[str]]]:
    """Give each file, what is to be in it, and what of it nobody has translated."""
    template = said()
    for locale in LOCALES.values():
        folder = HERE / "locale" / locale / "LC_MESSAGES"
        source = folder / f"{DOMAIN}.po"
        known = read_po(io.BytesIO(source.read_bytes()), locale) if source.exists() else Catalog(locale, DOMAIN)
        known.update(template, no_fuzzy_matching=True, update_header_comment=False, update_creation_date=False)
        known.obsolete.clear()
        missing = [str(message.id) for message in known if message.id and not message.string]
        text, compiled = io.BytesIO(), io.BytesIO()
        write_po(text, known, sort_output=True, no_location=True, omit_header=False, width=110, include_lineno=False)
        write_mo(compiled, known)
        yield source, text.getvalue(), missing
        yield source.with_suffix(".mo"), compiled.getvalue(), []


def main() -> int:
    """Write the catalogues, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check, wrong = parser.parse_args().check, 0
    for path, data, missing in catalogues():
        differs = not path.exists() or path.read_bytes() != data
        if differs and not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if differs:
            print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT)}")
        for text in missing:
            print(f"not translated: {text!r}")
        wrong += differs or bool(missing)
    return int(check and bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
