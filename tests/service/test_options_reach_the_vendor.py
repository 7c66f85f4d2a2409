"""One declaration of options: what is declared reaches the vendor, the receipt, the schemas and the pages for people."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w
from workshop import working

from rodin_watchd.config import Config
from rodin_watchd.config.reference import CONFIG_SCHEMA, SIDECAR_SCHEMA, example, sidecar_example
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.options import declared, plain_schema, text_of
from rodin_watchd.core.sidecar import Sidecar
from rodin_watchd.emulator.orders import TEXT_KEYS
from rodin_watchd.model import OptionValue, State

PROJECT = Path(__file__).parent.parent.parent
NODES = plain_schema(TEXTURE.options)["properties"]
DECLARED = declared(TEXTURE.options)


def unusual(key: str) -> OptionValue:
    """Return a value that an option may have, and that is not the vendor's default; a new kind of option has to be told here."""
    node, default = NODES[key], DECLARED[key].default
    if "enum" in node:
        return str(
            next(word for word in reversed(node["enum"]) if word not in (default, "fbx"))
        )  # no FBX from the emulator
    if node["type"] == "string":
        return "worn oak"
    return 3 if node["type"] == "integer" else 2.25


UNUSUAL = {key: unusual(key) for key in TEXTURE.options.model_fields}


@pytest.mark.parametrize("where", ["sidecar", "config", "preset"])
def test_every_declared_option_reaches_the_vendor(tmp_path: Path, where: str) -> None:
    """With a value that is not the default, through the daemon and real HTTP; and the receipt says what was sent."""
    with working(tmp_path, defaults=UNUSUAL if where == "config" else {}) as (shop, vendor):
        if where == "preset":
            shop.drop("_folder.toml", tomli_w.dumps(UNUSUAL).encode())
            shop.dropped.pop()
        shop.drop_set("chair", tomli_w.dumps(UNUSUAL) if where == "sidecar" else "# nothing\n")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED}
        ledger = vendor.emulator.ledger()
        [charge] = ledger["charges"]
        receipt = tomllib.loads(shop.path("outbox/chair/job.toml").read_text())
    assert charge["options"] == {DECLARED[key].part: text_of(value) for key, value in UNUSUAL.items()}
    assert ledger["unknown_parts"] == []
    assert receipt["options"] == UNUSUAL


def test_every_declared_option_is_known_everywhere() -> None:
    """By the emulator, which keeps its own list, by both files of people, by the schemas and by the page."""
    names = set(TEXTURE.options.model_fields)
    assert names == set(DECLARED)
    assert {sent.part for sent in DECLARED.values()} == set(TEXT_KEYS)
    page = (PROJECT / "docs/intake.md").read_text()
    assert {key for key in names if f"| `{key}` |" in page} == names
    for text in (example(), sidecar_example()):
        assert {key for key in names if f"# {key} = " in text} == names
    sidecar = json.loads((PROJECT / SIDECAR_SCHEMA).read_text())["properties"]
    config = json.loads((PROJECT / CONFIG_SCHEMA).read_text())["properties"]["defaults"]["properties"]
    for key in names:
        node = plain_schema(Sidecar)["properties"][key]
        assert sidecar[key] == config[key] == node
        assert plain_schema(Config)["properties"]["defaults"]["properties"][key] == node


@pytest.mark.parametrize("key", sorted(TEXTURE.options.model_fields))
def test_what_is_said_of_a_default_is_the_declared_one(key: str) -> None:
    """The words for people, and the value that the fingerprint and the forecast know."""
    words, default = NODES[key]["description"], DECLARED[key].default
    assert default is None or str(default) in words.partition("Without it,")[2]
