"""What a set's own TOML file may change of the plugins that come along: anybody who may drop files writes it."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import pytest

from rodin_watchd.hooks.worker import BadPluginError, Plugin

SHIPPED = {point.name: point.value for point in entry_points(group="rodin_watchd.shipped")}
FOR_SETS: dict[str, dict[str, Any]] = {
    "convert_mesh": {"formats": ["obj"]},
    "optimize_gltf": {"compression": "draco", "texture_size": 512},
}
TABLES: dict[str, dict[str, Any]] = {
    "blender": {"script": "/opt/script.py"},
    "command": {"run": ["true"]},
    "contact_sheet": {},
    "convert_mesh": {"formats": ["stl"]},
    "notify": {"urls_file": "/etc/addresses"},
    "optimize_gltf": {},
    "upload_s3": {"bucket": "models"},
    "webhook": {"url": "https://pipeline.example/", "secret_file": "/etc/secret"},
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_set_changes_what_harms_nobody(name: str) -> None:
    """Formats and sizes; never what is run, read, called or told, even where the set says the same as the config."""
    plugin, table, allowed = Plugin(name, {"entry": SHIPPED[name]}), TABLES[name], FOR_SETS.get(name, {})
    settings = plugin.settings(table, allowed)
    assert {key: getattr(settings, key) for key in allowed} == allowed
    model = import_module(SHIPPED[name]).Settings
    for key in model.model_fields.keys() - allowed.keys():
        with pytest.raises(BadPluginError, match=f"^{key}: a set may change"):
            plugin.settings(table, {key: table.get(key, "")})
