"""Writing a new plugin: commented, working, with its test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import Template

from rodin_watchd.adapters.plugin_host.finding import NAME, RESERVED
from rodin_watchd.errors import CommandRefusedError

PLUGIN = Template('''\
"""What $name does, in one line: `rodin-watchd plugins list` shows it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rodin_watchd.v1 import Job, hookimpl


class Settings(BaseModel):
    """The table [plugins.$name] of the config."""

    model_config = ConfigDict(extra="forbid")  # a misspelt key is told, not ignored

    note: str = Field(default="textured by the studio", description="What to write beside each result.")


SET_KEYS = {"note"}  # what a set's own TOML file may change, under the same [plugins.$name]; left out: nothing


@hookimpl
def rodin_process(job: Job, directory: Path, settings: Settings):
    """Change a result before it is published. `directory` is a copy of its own: raise, and nothing has happened."""
    (directory / "NOTE.txt").write_text(f"{job.name}: {settings.note}\\n", encoding="utf-8")
    print("this line is shown by `rodin-watchd show`")
    return {"note": settings.note}  # facts for the receipt


# Other hooks: rodin_accept, rodin_options, rodin_delivered, rodin_failed, rodin_held, rodin_waiting, rodin_service.
# A function names only the arguments that it wants.
''')

TEST = Template('''\
"""$name at work. Run it with: pytest -p rodin_watchd.testing test_$name.py"""

from pathlib import Path

PLUGIN = Path(__file__).with_name("$name.py")


def test_it_writes_the_note(rodin_plugin, rodin_job, rodin_result):
    """The plugin runs as in the service: in a process of its own, on a finished result."""
    plugin = rodin_plugin(PLUGIN, note="hello")
    facts = plugin.call("rodin_process", job=rodin_job, directory=rodin_result)
    assert facts == {"note": "hello"}
    assert (rodin_result / "NOTE.txt").read_text() == "suzi: hello\\n"
''')


def write_plugin(name: str, folder: Path) -> Iterator[Path]:
    """Write a plugin and its test, and yield their paths. Raises CommandRefusedError for a bad name, or what is there."""
    if name in RESERVED or not NAME.fullmatch(name):
        raise CommandRefusedError(
            f"A plugin cannot be called “{name}”.", advice="Use small letters, digits and _, beginning with a letter."
        )
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)  # whatever the umask is: a folder that others may write is refused
    texts = {folder / f"{name}.py": PLUGIN, folder / f"test_{name}.py": TEST}
    if there := [path for path in texts if path.exists()]:
        raise CommandRefusedError(f"{there[0]} is there already.", advice="Choose another name, or another folder.")
    for path, template in texts.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(template.substitute(name=name))
        path.chmod(0o644)  # one that others may write would not be loaded
        yield path
