"""The page's words: templates in each language, filled in with names that are escaped everywhere.

The catalogues are gettext's. A word of the service that is fixed, like that of a state, is looked up as it is in English.
"""

from __future__ import annotations

import gettext
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rodin_watchd.core.wording import in_credits, local

HERE: Final = Path(__file__).parent
DOMAIN: Final = "rodin_watchd"
ENGLISH: Final = "en"
CHINESE: Final = "zh-CN"
LOCALES: Final[Mapping[str, str]] = {CHINESE: "zh_CN"}
"""Languages with a catalogue, as HTML names them, and the folder of each. English needs none."""

LANGUAGES: Final = (ENGLISH, *LOCALES)


class Words:
    """The templates in one language. Any thread."""

    def __init__(self, language: str, zone: tzinfo) -> None:
        self.language = language
        catalogue = _catalogue(language)
        self.say: Callable[[str], str] = catalogue.gettext
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        self._templates.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]  # of the extension
        self._templates.filters.update(
            at=lambda seconds: instant(seconds, zone),
            clock=lambda seconds: instant(seconds, zone, "%H:%M:%S"),
            minute=lambda seconds: instant(seconds, zone, "%Y-%m-%d %H:%M"),
            amount=amount,
            credits=self.credits,
            duration=self.duration,
            number=lambda count: f"{count:,}",
            bytes=size,
            json=lambda data: json.dumps(data, separators=(",", ":")),
        )
        self._templates.globals["language"] = language

    def prepare(self) -> None:
        """Compile all templates: the first visitor does not wait for that."""
        for name in self._templates.list_templates():
            self._templates.get_template(name)

    def page(self, template: str, **values: Any) -> str:  # noqa: ANN401 - whatever a template shows
        """Return a whole page."""
        return self._templates.get_template(template).render(**values)

    def credits(self, spent: Decimal) -> str:
        """Say an amount of credits."""
        if self.language == ENGLISH:
            return in_credits(spent)
        return self.say("%(amount)s credits") % {"amount": amount(spent)}

    def duration(self, seconds: float) -> str:
        """Say a time in one or two units."""
        whole = max(round(seconds), 0)
        minutes, hours = whole // 60, whole // 3600
        if whole < 60:
            return self.say("%(number)s s") % {"number": whole}
        if hours < 1:
            return self.say("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": whole % 60}
        if hours < 48:
            return self.say("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes % 60}
        return self.say("%(days)s days") % {"days": hours // 24}


def _catalogue(language: str) -> gettext.NullTranslations:
    if language == ENGLISH:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, HERE / "locale", [LOCALES[language]])


def amount(spent: Decimal) -> str:
    """Return an amount of credits without the word."""
    return format(spent.normalize(), "f")


def instant(seconds: float, zone: tzinfo, form: str = "") -> Markup:
    """Return an instant for people, in the service's zone, whole or in a form of `strftime`; with the same for programs."""
    exact = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    shown = datetime.fromtimestamp(seconds, zone).strftime(form) if form else local(seconds, zone)
    return Markup('<time datetime="{}">{}</time>').format(exact, shown)


def size(count: int) -> str:
    """Return a number of bytes as people write it."""
    for unit, each in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)):
        if count >= each:
            return f"{count / each:.1f} {unit}"
    return f"{count} bytes"


def language_of(accepted: str) -> str:
    """Return the language to answer in, of a browser's `Accept-Language` (RFC 9110, 12.5.4)."""
    wanted = []
    for number, one in enumerate(accepted.split(",")[:20]):
        name, _, parameters = one.strip().partition(";")
        quality = parameters.strip().removeprefix("q=").strip()
        try:
            wanted.append((-float(quality or 1), number, name.strip().lower()))
        except ValueError:
            continue
    for weight, _, name in sorted(wanted):
        if weight < 0 and name.partition("-")[0] == "zh":
            return CHINESE
        if weight < 0 and name.partition("-")[0] in (ENGLISH, "*"):
            return ENGLISH
    return ENGLISH
