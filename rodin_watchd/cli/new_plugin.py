"""A new plugin with its test, commented and working: as a single file, or as a package to install and to publish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Final

from rodin_watchd.adapters.plugin_host.finding import NAME, RESERVED
from rodin_watchd.errors import CommandRefusedError
from rodin_watchd.v1 import GROUP

PLUGIN: Final = Template('''\
"""What $name does, in one line: `rodin-watchd plugins list` shows it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import FileSet, Job, Refusal, hookimpl


class Settings(BaseModel):
    """The table [plugins.$name] of the config."""

    model_config = ConfigDict(extra="forbid")  # a misspelt key is told, not ignored

    note: str = Field(default="textured by the studio", description="The note for each result.")
    most_megabytes: float = Field(default=10.0, description="A set with a larger file is refused.")


SET_KEYS = {"note"}  # what a set's own TOML file may change, under the same [plugins.$name]; left out: nothing


@hookimpl
def rodin_accept(fileset: FileSet, settings: Settings):
    """Refuse a set before it costs anything. Whoever dropped it reads the reason and the advice."""
    for file in fileset.files:
        if file.size > settings.most_megabytes * 1e6:
            return Refusal(f"{file.name} is too large", advice="Export it with fewer details, and drop the set again.")
    return None


@hookimpl
def rodin_process(job: Job, directory: Path, settings: Settings):
    """Change a result before it is published. `directory` is a copy of its own: raise, and nothing has happened."""
    (directory / "NOTE.txt").write_text(f"{job.name}: {settings.note}\\n", encoding="utf-8")
    print("this line is shown by `rodin-watchd show`")
    return {"note": settings.note}  # facts for the receipt


# Other hooks: rodin_configure, rodin_options, rodin_delivered, rodin_failed, rodin_held, rodin_chosen, rodin_waiting,
# rodin_service.
# A function names only the arguments that it wants. `rodin-watchd plugins try $name --hook HOOK` tries each of them.
''')

TEST: Final = Template('''\
"""$name at work. Run it with: $run"""
$imports
import pytest

from rodin_watchd.testing import set_keys

PLUGIN = $plugin


def test_it_writes_the_note(rodin_plugin, rodin_job, rodin_result):
    """The plugin runs as in the service: in a process of its own, on a finished result."""
    plugin = rodin_plugin(PLUGIN, note="hello")
    facts = plugin.call("rodin_process", job=rodin_job, directory=rodin_result)
    assert facts == {"note": "hello"}
    assert (rodin_result / "NOTE.txt").read_text() == "suzi: hello\\n"


def test_a_set_has_a_note_of_its_own(rodin_plugin, rodin_job, rodin_result):
    """What its TOML file says goes over the config."""
    own = set_keys("$name", '[plugins.$name]\\nnote = "by Anna"')
    plugin = rodin_plugin(PLUGIN, note="hello")
    assert plugin.call("rodin_process", own=own, job=rodin_job, directory=rodin_result) == {"note": "by Anna"}


def test_it_refuses_large_files(rodin_plugin, rodin_fileset, rodin_inputs):
    """With advice; a small one passes."""
    refusal = rodin_plugin(PLUGIN, most_megabytes=0).call("rodin_accept", fileset=rodin_fileset, directory=rodin_inputs)
    assert "too large" in refusal["reason"]
    assert refusal["advice"]
    assert rodin_plugin(PLUGIN).call("rodin_accept", fileset=rodin_fileset, directory=rodin_inputs) is None


HOOKS = ["rodin_accept", "rodin_process"]  # those that it has


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_can_be_called(hook, rodin_plugin, rodin_arguments):
    """With a sample of what the service gives it: sets, results, events; of a new model, too."""
    plugin = rodin_plugin(PLUGIN)
    assert set(plugin.hooks) == set(HOOKS)
    for kind in ("texture", "generate"):
        plugin.call(hook, **rodin_arguments(hook, kind))
''')

PROJECT: Final = Template("""\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$project"
version = "0.1.0"
description = "What $name does, in one line"
readme = "README.md"
requires-python = ">=3.11"
# license = "…"  # yours to choose: an SPDX expression, such as "MIT"; its text goes into a file LICENSE
dependencies = ["rodin-watchd"]  # and what the plugin imports besides it

[project.optional-dependencies]
test = ["pytest", "rodin-watchd[emulator]"]

# Here the service finds the plugin: its name, and the module. A package may have several.
[project.entry-points."$group"]
$name = "$module"

[tool.hatch.build.targets.wheel]
packages = ["src/$module"]

[tool.pytest.ini_options]
addopts = ["-p", "rodin_watchd.testing"]  # the fixtures
testpaths = ["tests"]
""")

README: Final = Template("""\
# $project

What $name does, in one line: a plugin of rodin-watchd.

## Install it

The package goes into the environment of the service. A service that is installed in `/opt/rodin-watchd`:

    uv build --wheel
    /opt/rodin-watchd/bin/pip install dist/*.whl
    systemctl restart rodin-watchd

It is in use as soon as it is installed. The config may have its table:

```toml
[plugins.$name]
note = "textured by the studio"
```

## Work on it

In a virtual environment of your own:

    pip install -e '.[test]'
    pytest
    rodin-watchd init studio
    rodin-watchd plugins try $name --config studio/config.toml

The test starts the plugin as the service does, with a sample set and the emulated vendor: nothing is paid. `plugins try` does the
same with one hook.

## Licence

Choose one: its text goes into a file `LICENSE`, its name into `pyproject.toml`.
""")


def write_plugin(name: str, folder: Path) -> Iterator[Path]:
    """Write a plugin in a single file, and its test, and yield their paths.

    Raises CommandRefusedError for a bad name, or for what is there.
    """
    words = {
        "run": f"pytest -p rodin_watchd.testing test_{name}.py",
        "imports": "\nfrom pathlib import Path\n",
        "plugin": f'Path(__file__).with_name("{name}.py")',
    }
    yield from _write(name, folder, {f"{name}.py": PLUGIN, f"test_{name}.py": TEST}, words)


def write_package(name: str, folder: Path) -> Iterator[Path]:
    """Write a plugin as a package in a folder of its own, with its test, and yield the paths of its files.

    Raises CommandRefusedError for a bad name, or for what is there.
    """
    project = "-".join(("rodin-watchd-plugin", *filter(None, name.split("_"))))
    module = f"rodin_watchd_plugin_{name}"
    words = {"project": project, "module": module, "run": "pytest", "imports": "", "plugin": f'"{module}"'}
    texts = {
        "pyproject.toml": PROJECT,
        "README.md": README,
        f"src/{module}/__init__.py": PLUGIN,
        f"tests/test_{name}.py": TEST,
    }
    yield from _write(name, folder / project, texts, words)


def _write(name: str, folder: Path, texts: Mapping[str, Template], words: Mapping[str, str]) -> Iterator[Path]:
    if name in RESERVED or not NAME.fullmatch(name):
        raise CommandRefusedError(
            f"A plugin cannot be called “{name}”.", advice="Use small letters, digits and _, beginning with a letter."
        )
    if there := [path for path in map(folder.joinpath, texts) if path.exists()]:
        raise CommandRefusedError(f"{there[0]} is there already.", advice="Choose another name, or another folder.")
    for place, template in texts.items():
        path = folder / place
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o755)  # whatever the umask is: a folder that others may write is refused
        with path.open("x", encoding="utf-8") as file:
            file.write(template.substitute(words, name=name, group=GROUP))
        path.chmod(0o644)  # one that others may write would not be loaded
        yield path
