"""The reference texts that are made from the models."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli_w

from rodin_watchd.config import Config, load_config
from rodin_watchd.config.reference import config_schema, example, sidecar_example, sidecar_schema
from rodin_watchd.core.kinds import KINDS
from rodin_watchd.core.options import declared
from rodin_watchd.core.sidecar import Sidecar, misfits, read_sidecar
from rodin_watchd.errors import ConfigError

PROJECT = Path(__file__).resolve().parent.parent
TOOL = PROJECT / "tools" / "write_reference.py"

DISABLED = re.compile(r"^# (\w+ = |\[plugins|\[texture\]$)", re.MULTILINE)


def enabled(text: str) -> str:
    """Switch on what an example has switched off."""
    return DISABLED.sub(r"\1", text)


def valid(schema: dict[str, Any], text: str) -> bool:
    """Tell whether an editor would find nothing to complain about."""
    return jsonschema.Draft202012Validator(schema).is_valid(tomllib.loads(text))


# ---- examples -------------------------------------------------------------------------------------------------------


def test_the_example_says_what_holds_anyway(tmp_path: Path) -> None:
    """Whoever starts from the example gets exactly the defaults."""
    full, empty = tmp_path / "full.toml", tmp_path / "empty.toml"
    full.write_text(example(), encoding="utf-8")
    empty.touch()
    assert load_config(full) == load_config(empty)


def test_the_example_names_every_key(tmp_path: Path) -> None:
    """With everything switched on, each key is there, and each example value is valid."""
    path = tmp_path / "config.toml"
    path.write_text(enabled(example()), encoding="utf-8")
    sections = {name: set(node["properties"]) for name, node in config_schema()["properties"].items()}
    sections["plugins"].add("NAME")
    assert {name: set(table) for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items()} == sections
    assert load_config(path).defaults.seed is not None


def test_each_key_of_the_example_is_explained() -> None:
    """Above a key stand its purpose, what is allowed and its default."""
    assert (
        "# How many jobs are in progress at the same time, of all services that share the store.\n"
        "# Allowed: a whole number from 1 to 64. Default: 4\n"
        "max_in_flight = 4\n"
    ) in example()
    assert '# Allowed: one of "Basic", "High".\n# resolution = "Basic"\n' in example()
    keys = re.findall(r"^(?:# )?\w+ = ", example(), re.MULTILINE)
    assert example().count("# Allowed: ") == len(keys)


def test_the_example_fits_a_screen() -> None:
    """No line is longer than editors show, and none ends in blanks."""
    lines = (example() + sidecar_example()).splitlines()
    assert max(map(len, lines)) <= 120
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("text", [example("../x.json"), sidecar_example("../x.json")])
def test_editors_find_the_schema_by_the_first_line(text: str) -> None:
    """The directive that Taplo understands comes first, and names what it was told to."""
    assert text.startswith("#:schema ../x.json\n")


def test_the_sidecar_example_changes_nothing() -> None:
    """As it is, it asks for nothing; with everything switched on, each key but the plugins' is there and valid."""
    assert read_sidecar(sidecar_example().encode(), "chair.toml") == Sidecar()
    everything = enabled(sidecar_example())
    assert set(tomllib.loads(everything)) == set(Sidecar.model_fields) - {"plugins"}
    for kind in KINDS.values():
        values = {**tomllib.loads(everything), "kind": kind.name}
        others = misfits(kind, Sidecar.model_validate(values)).keys()
        lists = {"seeds", "prompts", "models"}  # each stands for a single one
        own = tomli_w.dumps({key: value for key, value in values.items() if key not in others | lists})
        assert read_sidecar(own.encode(), "chair.toml").geometry_file_format == "glb"
        assert set(declared(kind.options)) <= set(values) - others
        assert f'Only with kind = "{kind.name}".' in everything


# ---- schemas --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [config_schema(), sidecar_schema()])
def test_the_schemas_are_schemas(schema: dict[str, Any]) -> None:
    """They are draft 2020-12, with a title, and every key has a description."""
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "rodin-watchd" in schema["title"]
    sections = [schema, *(node for node in schema["properties"].values() if "properties" in node)]
    keys = {name: node for section in sections for name, node in section["properties"].items()}
    assert [name for name, node in keys.items() if not node.get("description") or not node.get("title")] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        (example(), True),
        (enabled(example()), True),
        ("[intake]\nquiet_seconds = 1.5", True),
        ("[intake]\nquiet_seconds = 'never'", False),
        ("[api]\nmax_in_flght = 3", False),
        ("[api]\nmax_in_flight = 65", False),
        ("[api]\nmax_in_flight = '4'", False),
        ("[apii]", False),
        ("[defaults]\nseed = 70000", False),
        ("[defaults]\nmodel = 'x.glb'", False),
        ("[polling]\nmin_seconds = 0", False),
    ],
)
def test_the_config_schema_agrees_with_the_service(tmp_path: Path, text: str, expected: bool) -> None:
    """An editor accepts what the service accepts, and marks what it refuses."""
    assert valid(config_schema(), text) is expected
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    if expected:
        assert isinstance(load_config(path), Config)
    else:
        with pytest.raises(ConfigError, match=r"config\.toml line \d"):
            load_config(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        (sidecar_example(), True),
        (enabled(sidecar_example()), True),
        ("[plugins.thumbs]\nsize = 3", True),
        ("resolutoin = 'High'", False),
        ("resolution = 'high'", False),
        ("seed = '7'", False),
        ("seed = true", False),
        ("reference_scale = 0", False),
        ("again = 1", False),
        ("model = ''", False),
        ("plugins.thumbs = 3", False),
    ],
)
def test_the_sidecar_schema_knows_right_from_wrong(text: str, expected: bool) -> None:
    """An editor accepts valid sidecars, and marks misspelt keys and bad values."""
    assert valid(sidecar_schema(), text) is expected


# ---- the files in the project ---------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool that writes the files."""
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False)


def test_the_files_in_the_project_are_up_to_date() -> None:
    """`tools/write_reference.py` has been run since the models changed."""
    result = run("--check")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_the_tool_notices_a_difference_and_mends_it(tmp_path: Path) -> None:
    """`--check` names what is missing or differs and writes nothing; without it the files are written."""
    assert run("--check", "--into", str(tmp_path)).returncode == 1
    assert list(tmp_path.iterdir()) == []
    assert run("--into", str(tmp_path)).returncode == 0
    assert run("--check", "--into", str(tmp_path)).returncode == 0
    assert json.loads((tmp_path / "docs/schemas/sidecar.schema.json").read_text(encoding="utf-8")) == sidecar_schema()
    (tmp_path / "config.example.toml").write_text("# old\n", encoding="utf-8")
    result = run("--check", "--into", str(tmp_path))
    assert (result.returncode, result.stdout) == (1, "differs: config.example.toml\n")
