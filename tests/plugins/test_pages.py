"""The plugins' pages: what they show can be used as it stands."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points, metadata
from pathlib import Path
from typing import Any

import pytest

from rodin_watchd.config import PluginsSection
from rodin_watchd.hooks.worker import Plugin

PAGES = sorted(Path(__file__).parents[2].joinpath("docs", "plugins").glob("*.md"))
SHIPPED = {point.name: point.value for point in entry_points(group="rodin_watchd.shipped")}


def tables(page: Path) -> list[dict[str, Any]]:
    """Return the tables [plugins.NAME] that a page shows, of all plugins."""
    blocks = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [tomllib.loads(block)["plugins"] for block in blocks]


def test_every_shipped_plugin_has_a_page_and_every_page_a_plugin() -> None:
    """One page for each, by its name, and a line in the list of all."""
    assert {page.stem for page in PAGES} == SHIPPED.keys()
    overview = PAGES[0].parents[1].joinpath("plugins.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[(\w+)\]\(plugins/\1\.md\)", overview, re.MULTILINE) == sorted(SHIPPED)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_on_a_page_are_valid(page: Path) -> None:
    """Each is one that the service and the plugin take: a small one, and full ones that have every key between them."""
    plugin = Plugin(page.stem, {"entry": SHIPPED[page.stem]})
    shown = []
    for table in tables(page):
        known = PluginsSection.model_validate(table)
        for name, own in known.tables.items():
            loaded = plugin if name == page.stem else Plugin(name, {"entry": SHIPPED[name]})
            loaded.settings(own.settings, {})
            shown += [set(own.settings)] if name == page.stem else []
    assert len(shown) >= 2
    assert plugin.schema is not None
    assert set().union(*shown) == set(plugin.schema["properties"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_tells_how_to_install_it(page: Path) -> None:
    """By pip, with the plugin's extra where it has one."""
    extra = page.stem.replace("_", "-")
    has_one = extra in (metadata("rodin-watchd").get_all("Provides-Extra") or ())
    install = f"pip install 'rodin-watchd[{extra}]'" if has_one else "pip install rodin-watchd"
    assert install in page.read_text(encoding="utf-8")
