"""What a plugin says to a table that it cannot use, asked in this process: the same code as in the plugin's own, and quicker."""

from __future__ import annotations

from typing import Any

import pytest

from rodin_watchd.hooks.worker import BadPluginError, Plugin


def refusal(entry: str, table: dict[str, Any]) -> str:
    """Return why a plugin refuses its table, with the traceback; fails if it takes it."""
    plugin = Plugin(entry.rpartition(".")[2], {"entry": entry})
    with pytest.raises(BadPluginError) as caught:
        plugin.call("rodin_configure", {}, table, {})
    return f"{caught.value.message}\n{caught.value.trace}"
