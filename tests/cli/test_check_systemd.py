"""`check` about the walls of the unit that serves a config: folders that systemd keeps read-only are told before the start."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_stage import Stage, environment
from test_check import found
from test_doctor import set_up

from rodin_watchd.cli.check.service import folder_walls, may_write, textfile_walls
from rodin_watchd.cli.systemd import SINGLE, TEMPLATE, units_of
from rodin_watchd.config import load_config

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a folder outside /dev, where the tests' folders may be: ProtectSystem=strict closes nothing below that."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


def packaged(tmp_path: Path, name: str = SINGLE) -> Path:
    """Install the project's own unit, with its configs in another folder; return where units lie."""
    place, configs = tmp_path / "units", tmp_path / "etc"
    place.mkdir()
    configs.mkdir()
    (place / name).write_text((UNITS / name).read_text().replace("/etc/rodin-watchd/", f"{configs}/"))
    return place


def drop_in(place: Path, unit: str, text: str) -> None:
    """Write a drop-in, after those that are there."""
    folder = place / f"{unit}.d"
    folder.mkdir(exist_ok=True)
    (folder / f"{len(list(folder.iterdir()))}.conf").write_text(f"[Service]\n{text}\n")


def told(place: Path, config: Path, sections: str) -> list[tuple[str, str]]:
    """Return text and advice of each finding about a config with these sections."""
    config.write_text(sections)
    loaded = load_config(config)
    findings = [*folder_walls(config, loaded, [place]), *textfile_walls(config, loaded, [place])]
    assert {finding.verdict for finding in findings} <= {"problem"}
    return [(finding.text, finding.advice) for finding in findings]


def test_another_root_than_the_units_is_a_problem(tmp_path: Path) -> None:
    """The packaged unit may write its own root and state; another root is named with the lines that open it, and they do."""
    place, config = packaged(tmp_path), tmp_path / "etc" / "config.toml"
    assert told(place, config, '[folders]\nroot = "/srv/rodin-watchd"\nstate = "/var/lib/rodin-watchd"\n') == []
    [(text, advice)] = told(place, config, '[folders]\nroot = "/mnt/my textures"\nstate = "/var/lib/rodin-watchd"\n')
    assert text.startswith("rodin-watchd.service may not write /mnt/my textures (folders.root): ")
    assert "`systemctl edit rodin-watchd.service`" in advice
    lines = re.findall("`([^`]*)`", advice)[1:]
    assert lines == ["[Service]", 'ReadWritePaths="-/mnt/my textures"']
    drop_in(place, SINGLE, lines[1])
    assert told(place, config, config.read_text()) == []


def test_a_template_beside_the_unit_serves_other_configs(tmp_path: Path) -> None:
    """Both come with the package; the config of the single one is no instance's."""
    place, config = packaged(tmp_path), tmp_path / "etc" / "config.toml"
    template = (UNITS / TEMPLATE).read_text()
    (place / TEMPLATE).write_text(template.replace("/etc/rodin-watchd/", f"{config.parent}/"))
    assert told(place, config, '[folders]\nroot = "/srv/rodin-watchd"\nstate = "/var/lib/rodin-watchd"\n') == []


def test_state_and_textfile_are_compared_too(tmp_path: Path) -> None:
    """Each has a finding of its own; the place of a textfile that the documentation names is opened by its line there."""
    place, config = packaged(tmp_path), tmp_path / "etc" / "config.toml"
    sections = """\
[folders]
root = "/srv/rodin-watchd"
state = "/var/lib/rodin-watchd-2"
[metrics]
textfile = "/var/lib/prometheus/node-exporter/rodin-watchd.prom"
"""
    (state, textfile) = told(place, config, sections)
    assert "/var/lib/rodin-watchd-2 (folders.state)" in state[0]
    assert "/var/lib/prometheus/node-exporter (metrics.textfile)" in textfile[0]
    line = "ReadWritePaths=-/var/lib/prometheus/node-exporter"
    assert f"`{line}`" in textfile[1]
    assert f"\n{line}\n" in (UNITS.parent / "docs" / "health.md").read_text()
    drop_in(place, SINGLE, line)
    assert [text for text, _ in told(place, config, sections)] == [state[0]]


def test_an_instance_has_its_own_walls(tmp_path: Path) -> None:
    """The template's are filled in with the name of the config file; an instance with drop-ins may have any config file."""
    place = packaged(tmp_path, TEMPLATE)
    (tmp_path / "etc" / "pine.toml").write_text("[folders]\nroot = 5\n")  # another one's mistake
    oak, elm = tmp_path / "etc" / "oak.toml", tmp_path / "my elm.toml"
    own = '[folders]\nroot = "/srv/rodin-watchd-oak"\nstate = "/var/lib/rodin-watchd/oak"\n'
    assert told(place, oak, own) == []
    [(text, advice)] = told(place, oak, own.replace("rodin-watchd-oak", "rodin-watchd-pine"))
    assert text.startswith("rodin-watchd@oak.service may not write /srv/rodin-watchd-pine (folders.root)")
    assert "`systemctl edit rodin-watchd@oak.service`" in advice
    drop_in(place, "rodin-watchd@elm.service", f'ExecStart=\nExecStart=/opt/r run --config "{elm}"')
    [(text, _)] = told(place, elm, '[folders]\nroot = "/srv/elm"\n')
    assert text.startswith("rodin-watchd@elm.service may not write /srv/elm ")


def test_a_root_in_a_home_needs_another_line(tmp_path: Path) -> None:
    """ProtectHome= of the packaged unit hides homes whatever ReadWritePaths= says, so its line is told beside."""
    place, config = packaged(tmp_path), tmp_path / "etc" / "config.toml"
    [(_, advice)] = told(place, config, '[folders]\nroot = "/home/nobody-here/textures"\n')
    lines = re.findall("`([^`]*)`", advice)[1:]
    assert lines == ["[Service]", "ReadWritePaths=-/home/nobody-here/textures", "ProtectHome=no"]


@pytest.mark.parametrize(
    ("lines", "folder", "writable"),
    [
        ("", "/mnt/a", True),
        ("ProtectSystem=full", "/mnt/a", True),
        ("ProtectSystem=strict", "/mnt/a", False),
        ("ProtectSystem=strict\nProtectSystem=", "/mnt/a", True),
        ("ProtectSystem=strict", "/dev/mqueue/a", True),
        ("ProtectSystem=strict\nReadWritePaths=/x -+/mnt/a", "/mnt/a/b", True),
        ("ProtectSystem=strict\nReadWritePaths=+/mnt/a", "/mnt/ab", False),
        ("ProtectSystem=strict\nReadWritePaths=/mnt/a\nReadWritePaths=/mnt/b", "/mnt/a", True),
        ("ProtectSystem=strict\nReadWritePaths=/mnt/a\nReadWritePaths=\nReadWritePaths=/mnt/b", "/mnt/a", False),
        ("ProtectSystem=strict\nReadWritePaths=/mnt/b \\\n  /mnt/a", "/mnt/a", True),
        ("ProtectSystem=strict\n# ReadWritePaths=/mnt/a", "/mnt/a", False),
        ("ProtectSystem=strict\nStateDirectory=x y/z:w", "/var/lib/y/z", True),
        ("ProtectSystem=strict\nStateDirectory=x", "/var/lib/y", False),
        ("ProtectSystem=strict\nRuntimeDirectory=x", "/run/x", True),
        ("ProtectSystem=strict\nReadWritePaths=/mnt/%i %S/p%%", "/mnt/a-b", True),
        ("ProtectSystem=strict\nReadWritePaths=/mnt/%I", "/mnt/a/b", True),
        ("ProtectSystem=strict\nReadWritePaths=%S/p%%", "/var/lib/p%", True),
        ("ProtectSystem=strict\nReadWritePaths=%t/%N", "/run/rodin-watchd@a-b", True),
    ],
)
def test_what_a_unit_leaves_writable(tmp_path: Path, lines: str, folder: str, *, writable: bool) -> None:
    """As systemd.exec(5) has it: lists grow, an empty line takes them back, prefixes and specifiers are read."""
    (tmp_path / TEMPLATE).write_text(f"[Service]\nExecStart=/usr/bin/r run --config {tmp_path}/%i.toml\n{lines}\n")
    [unit] = units_of(tmp_path / "a-b.toml", [tmp_path])
    assert may_write(unit, Path(folder)) is writable


def test_a_link_is_followed(tmp_path: Path) -> None:
    """A root that is a symbolic link is where it leads to, as for systemd."""
    (tmp_path / SINGLE).write_text(
        f"[Service]\nExecStart=/r run --config {tmp_path}/c.toml\nProtectSystem=strict\nReadWritePaths={tmp_path}/link\n"
    )
    (tmp_path / "link").symlink_to(tmp_path / "real")
    [unit] = units_of(tmp_path / "c.toml", [tmp_path])
    assert (may_write(unit, tmp_path / "real"), may_write(unit, tmp_path / "other")) == (True, False)


def test_check_tells_of_the_walls_and_says_ok_without(stage: Stage, tmp_path: Path) -> None:
    """The command finds the unit of its config file: folders and textfile are problems until a drop-in opens them."""
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    set_up(stage, f'[metrics]\ntextfile = "{metrics}/x.prom"\n')
    home = tmp_path / "home"
    place = home / ".config" / "systemd" / "user"
    place.mkdir(parents=True)
    (place / SINGLE).write_text(
        f'[Service]\nProtectSystem=strict\nExecStart=/usr/bin/rodin-watchd run --config "{stage.config}"\n'
    )
    stage.environment = environment(HOME=str(home), RODIN_API_KEY="k" * 8)
    findings = found(stage, "--offline")
    for name, folder in (("folders", stage.root), ("metrics", metrics)):
        assert findings[name]["verdict"] == "problem"
        assert f" may not write {folder} " in findings[name]["text"]
        assert "`systemctl --user edit rodin-watchd.service`" in findings[name]["advice"]
    drop_in(place, SINGLE, f"ReadWritePaths={stage.root} {metrics}")
    findings = found(stage, "--offline")
    assert {findings[name]["verdict"] for name in ("folders", "metrics")} == {"ok"}
    shutil.rmtree(place)
    assert found(stage, "--offline")["folders"]["verdict"] == "ok"
