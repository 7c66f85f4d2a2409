"""Reference texts that are made from the models: the commented examples and the JSON schemas for editors.

Nothing here is written twice: names, descriptions, limits and defaults come from the fields of the models.
"""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Final

import tomli_w

from rodin_watchd.config import Config
from rodin_watchd.core.any_options import kinds_with
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.options import Node, allowed_words, plain_schema
from rodin_watchd.core.sidecar import Sidecar

if TYPE_CHECKING:
    from pydantic import BaseModel

CONFIG_SCHEMA: Final = "docs/schemas/config.schema.json"
"""Where the config's schema is in the project."""

SIDECAR_SCHEMA: Final = "docs/schemas/sidecar.schema.json"
"""Where the sidecar's schema is in the project."""

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_WIDTH: Final = 116


def config_schema() -> Node:
    """Give the JSON schema (draft 2020-12) of `config.toml`."""
    return _schema(Config, "rodin-watchd: config.toml")


def sidecar_schema() -> Node:
    """Give the JSON schema (draft 2020-12) of a sidecar; a `_folder.toml` may hold all but what names files or pays again."""
    return _schema(Sidecar, "rodin-watchd: the TOML file of a set")


def _schema(model: type[BaseModel], title: str) -> Node:
    return {"$schema": _DIALECT, **plain_schema(model), "title": title}


def example(schema: str = CONFIG_SCHEMA) -> str:
    """Write a config file with the defaults: every key with its comment, and those without a default disabled.

    `schema` is the path or URL, seen from the file, by which editors (Taplo, Even Better TOML) find the schema.
    """
    sections = plain_schema(Config)["properties"]
    return "\n".join([_head(schema, "The configuration of rodin-watchd."), *map(_section, sections, sections.values())])


def sidecar_example(schema: str = SIDECAR_SCHEMA) -> str:
    """Write a sidecar in which every key is explained and disabled: it changes nothing."""
    nodes = plain_schema(Sidecar)["properties"]
    keys = {name: node for name, node in nodes.items() if node.get("type") != "object"}
    tables = {name: node for name, node in nodes.items() if "properties" in node}
    head = _head(
        schema, "Put this file next to the model and the image, with the same name: chair.glb, chair.png, chair.toml."
    )
    return "\n".join([head, *map(_disabled_key, keys, keys.values()), *map(_disabled_table, tables, tables.values())])


def _disabled_table(name: str, node: Node) -> str:
    return f"{_comment(node['description'])}{_only_with(name)}# [{name}]\n"


def _only_with(name: str) -> str:
    """Write which kinds of jobs have a key, if not all have it."""
    having = kinds_with(name)
    only = " or ".join(f'kind = "{kind.name}"' for kind in having) if len(having) < len(KINDS) else ""
    return _comment(f"Only with {only}.") if only else ""


def _head(schema: str, sentence: str) -> str:
    disabled = "A key after a # is not used; remove the # to set it."
    return f"#:schema {schema}\n{_comment(sentence)}{_comment(disabled)}"


def _section(name: str, node: Node) -> str:
    keys = node["properties"]
    named = [_named(name, table)] if (table := node.get("additionalProperties")) else []
    return "\n".join([f"{_comment(node['description'])}[{name}]", *map(_key, keys, keys.values()), *named])


def _named(section: str, node: Node) -> str:
    """Write the tables that have names of their own, disabled."""
    keys = node["properties"]
    return "\n".join([f"{_comment(node['description'])}# [{section}.NAME]", *map(_disabled_key, keys, keys.values())])


def _key(name: str, node: Node) -> str:
    if "default" not in node:
        return _disabled_key(name, node)
    line = tomli_w.dumps({name: node["default"]})
    default = line.partition(" = ")[2]
    return f"{_comment(node['description'])}{_comment(f'{_allowed(node)} Default: {default}')}{line}"


def _disabled_key(name: str, node: Node) -> str:
    value = node["default"] if "default" in node else node["examples"][0]
    line = (
        f"{name} = [{', '.join(map(json.dumps, value))}]\n" if isinstance(value, list) else tomli_w.dumps({name: value})
    )
    return f"{_comment(node['description'])}{_only_with(name)}{_comment(_allowed(node))}# {line}"


def _allowed(node: Node) -> str:
    return f"Allowed: {allowed_words(node)}."


def _comment(text: str) -> str:
    return textwrap.indent(textwrap.fill(" ".join(text.split()), _WIDTH) + "\n", "# ")
