"""The pages of the shipped plugins: what is written there can be copied into a configuration."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from rodin_watchd.config_plugins import Plugins

PAGES = sorted((Path(__file__).parents[2] / "docs" / "plugins").glob("*.md"))
BLOCK = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_table_is_valid(page: Path) -> None:
    """Each table of a page is one that the service and the plugin take; the page's own plugin has at least one."""
    blocks = [Plugins.model_validate(tomllib.loads(text)["plugins"]) for text in BLOCK.findall(page.read_text())]
    tables = [(name, table) for plugins in blocks for name, table in plugins.tables.items()]
    assert page.stem in {name for name, _ in tables}
    for name, table in tables:
        module = importlib.import_module(f"rodin_watchd_plugins.{name}")
        module.Settings.model_validate(dict(table.settings))
