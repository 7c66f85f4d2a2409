"""`init`: makes what is missing, changes nothing that is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import jsonschema
from cli_stage import PROGRAM, environment

from rodin_watchd.adapters.spool.mounts import mark_text
from rodin_watchd.cli.setup import make
from rodin_watchd.config import load_config
from rodin_watchd.core.layout import MARK
from rodin_watchd.core.mounts import Mark
from rodin_watchd.core.sidecar import Sidecar, read_preset, read_sidecar


def init(folder: Path, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `init` for a folder."""
    return subprocess.run(
        [*PROGRAM, "init", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_init_makes_the_folders_and_a_config_that_holds(tmp_path: Path) -> None:
    """All folders are there, the config is valid as it is, and its schema lies where the config says."""
    root = tmp_path / "deep" / "er"
    run = init(root, tmp_path)
    assert run.returncode == 0, run.stderr
    assert {path.name for path in root.iterdir() if path.is_dir()} == {
        "inbox",
        "outbox",
        "failed",
        "archive",
        ".rodin-watchd",
    }
    config = load_config(root / "config.toml")
    assert config.folders.root == root
    schema = re.match(r"#:schema (\S+)\n", (root / "config.toml").read_text())
    assert schema
    jsonschema.Draft202012Validator.check_schema(json.loads((root / schema[1]).read_text()))
    jsonschema.validate({"prompt": "oak"}, json.loads((root / ".rodin-watchd" / "sidecar.schema.json").read_text()))


def test_init_tells_the_next_steps(tmp_path: Path) -> None:
    """How to give the key, how to check and run, and where to drop is printed, with names to copy."""
    root = tmp_path / "with space"
    told = init(root, tmp_path).stdout
    assert "RODIN_API_KEY" in told
    assert f"rodin-watchd run --config '{root}/config.toml'" in told
    assert f"{root}/inbox" in told


def test_init_again_changes_nothing_and_says_so(tmp_path: Path) -> None:
    """A second run leaves every byte as it was, and names the files that it left alone."""
    root = tmp_path / "root"
    init(root, tmp_path)
    (root / "config.toml").write_text("# mine\n")
    before = contents(root)
    run = init(root, tmp_path)
    assert run.returncode == 0
    assert contents(root) == before
    assert f"kept        {root}/config.toml" in run.stdout
    assert "made  " not in run.stdout


def test_init_mends_what_is_missing_only(tmp_path: Path) -> None:
    """A folder that is missing is made; the others are left alone."""
    root = tmp_path / "root"
    init(root, tmp_path)
    (root / "outbox").rmdir()
    run = init(root, tmp_path)
    assert [line.split()[1] for line in run.stdout.splitlines() if line.startswith("made")] == [str(root / "outbox")]


def test_init_does_not_write_through_a_link(tmp_path: Path) -> None:
    """A config.toml that is a dangling link is left alone; nothing appears where it points."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "config.toml").symlink_to(tmp_path / "elsewhere.toml")
    run = init(root, tmp_path)
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "elsewhere.toml").exists()
    assert f"kept        {root}/config.toml" in run.stdout


def test_init_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    """Below a file no folder can be made: two lines, exit code 1."""
    (tmp_path / "file").write_text("")
    run = init(tmp_path / "file" / "root", tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith(f"Error: {tmp_path}/file/root cannot be made: Not a directory.")
    assert len(run.stderr.splitlines()) == 2


def test_the_example_of_a_sidecar_asks_for_nothing(tmp_path: Path) -> None:
    """Copied into the inbox as it is, it changes no option; every key in it is explained."""
    make(tmp_path / "shop")
    text = (tmp_path / "shop" / "sidecar.example.toml").read_bytes()
    assert read_sidecar(text, "chair.toml") == Sidecar()
    assert all(f"# {key} = ".encode() in text for key in ("prompt", "seed", "resolution", "model", "image"))


def test_init_refuses_a_folder_in_the_inbox_of_another_service(tmp_path: Path) -> None:
    """What is dropped there would be in two inboxes; nothing is made."""
    inbox = tmp_path / "one" / "inbox"
    assert init(inbox.parent, tmp_path).returncode == 0
    (inbox / MARK).write_text(mark_text(Mark("1234", "inbox")))
    run = init(inbox / "team", tmp_path)
    assert run.returncode != 0
    assert f"{inbox}/team lies in {inbox}, which is a folder of another service" in run.stderr
    assert not (inbox / "team").exists()


def test_init_makes_a_folder_for_new_models_when_asked(tmp_path: Path) -> None:
    """By a preset that says so: the folder's name alone means nothing. What stands there is not changed."""
    root = tmp_path / "srv"
    assert init(root, tmp_path).returncode == 0
    assert not (root / "inbox/generate").exists()
    preset = root / "inbox/generate/_folder.toml"
    assert init(root, tmp_path, "--generate").returncode == 0
    assert read_preset(preset.read_bytes(), "x").kind == "generate"
    schema = preset.read_text().splitlines()[0].removeprefix("#:schema ")
    assert (preset.parent / schema).resolve() == root / ".rodin-watchd/sidecar.schema.json"
    preset.write_text("seed = 1\n")
    init(root, tmp_path, "--generate")
    assert preset.read_text() == "seed = 1\n"
