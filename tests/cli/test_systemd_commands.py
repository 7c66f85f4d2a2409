"""`install-service` and `uninstall-service` as far as no systemd is needed: what they would do, and what they refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from cli_stage import PROGRAM, environment

from rodin_watchd.cli.systemd import (
    InstallPaths,
    Put,
    Remove,
    Run,
    config_text,
    do_all,
    drop_in,
    folders_text,
    hidden_on_the_way,
    text_of,
    unit_files,
    user_unit,
)
from rodin_watchd.config import load_config
from rodin_watchd.errors import ConfigError, DiskError

PROJECT = Path(__file__).parents[2]


def told(home: Path, *arguments: str, code: int = 0) -> str:
    """Run a command in a home, expect its exit code, return what it printed."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        env=environment(HOME=str(home), XDG_CONFIG_HOME=""),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_users_dry_run_prints_everything(tmp_path: Path) -> None:
    """Folder, unit with its text, and commands are named; nothing is made."""
    printed = told(tmp_path, "install-service", "--user", "--dry-run", "--now")
    assert f"init {tmp_path}/rodin-watchd" in printed
    assert f"write   {tmp_path}/.config/systemd/user/rodin-watchd.service" in printed
    assert f"run --config {tmp_path}/rodin-watchd/config.toml" in printed
    assert "systemctl --user restart rodin-watchd.service" in printed
    words = ("--user", "--dry-run", "--config", f"{tmp_path}/other.toml", "--root", str(tmp_path))
    assert f"There is no {tmp_path}/other.toml" in told(tmp_path, "install-service", *words, code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_users_uninstall_names_what_it_would_remove(tmp_path: Path) -> None:
    """The unit goes; data is left alone, and that is said."""
    printed = told(tmp_path, "uninstall-service", "--user", "--dry-run")
    assert "systemctl --user disable --now rodin-watchd.service" in printed
    assert "Left alone" in printed


def test_a_home_is_refused_before_anything_is_told(tmp_path: Path) -> None:
    """The sandbox hides homes and /tmp: the mistake is told with both ways out."""
    printed = told(tmp_path, "install-service", "--dry-run", "--root", "/home/ann/textures", code=2)
    assert "/opt" in printed
    assert "--user" in printed


def test_a_link_into_a_home_is_named_with_its_target(tmp_path: Path) -> None:
    """Whatever on the way is the link: the interpreter, a folder above it, one link of several; or the home is only passed through."""
    home, opt = tmp_path / "home", tmp_path / "opt"
    for folder in (home / "ann/py/bin", opt / "env/bin", tmp_path / "usr"):
        folder.mkdir(parents=True)
    real = home / "ann/py/bin/python3.11"
    real.touch()
    (tmp_path / "usr/python").touch()
    (home / "ann/back").symlink_to(tmp_path / "usr/python")
    ways = {
        "env/bin/python": (str(real), f"by the link {opt}/env/bin/python", real),
        "env/bin/relative": ("../../../home/ann/py/bin/python3.11", f"by the link {opt}/env/bin/relative", real),
        "env/bin/python3": ("python", f"by the link {opt}/env/bin/python", real),
        "linked": (f"{home}/ann/py", f"by the link {opt}/linked", home / "ann/py"),
        "env/bin/through": (f"{home}/ann/back", f"by the link {opt}/env/bin/through", home / "ann/back"),
    }
    for name, (target, link, there) in ways.items():
        (opt / name).symlink_to(target)
        assert hidden_on_the_way(opt / name, [home]) == f"{opt}/{name} leads to {there} ({link}), in"
    assert hidden_on_the_way(opt / "linked/bin/python3.11", [home]).startswith(
        f"{opt}/linked/bin/python3.11 leads to {real} ("
    )
    assert hidden_on_the_way(real, [home]) == f"{real} lies in"
    (opt / "free").symlink_to("env/../../usr")
    (opt / "circle").symlink_to("circle")
    for free in ("free/python", "circle", "env/bin", "nothing"):
        assert hidden_on_the_way(opt / free, [home]) == ""


@pytest.mark.parametrize("name", ["../x", "a b", "-x", "a@b", "x" * 50])
def test_names_of_instances_are_plain(name: str) -> None:
    """A name that a unit or a path would have to escape is refused."""
    with pytest.raises(ConfigError, match="instance"):
        InstallPaths(name)


def test_a_config_that_is_there_is_not_contradicted(tmp_path: Path) -> None:
    """Another --root than the config's is a mistake, not a silent change."""
    (tmp_path / "config.toml").write_text('[folders]\nroot = "/srv/a"\n')
    printed = told(
        tmp_path, "install-service", "--user", "--dry-run", "--config", "config.toml", "--root", "/srv/b", code=2
    )
    assert "/srv/a" in printed


def test_the_config_is_valid_and_serves_the_folder(tmp_path: Path) -> None:
    """Root and state are named in it, whatever the path looks like; all else are the defaults."""
    for share in ("/srv/rodin-watchd", '/srv/a "b" \\c'):
        file = tmp_path / "config.toml"
        file.write_text(config_text(Path(share), Path("/var/lib/rodin-watchd/x")))
        config = load_config(file)
        assert config.folders.root == Path(share)
        assert config.folders.state == Path("/var/lib/rodin-watchd/x")


def test_paths_mean_themselves_in_units() -> None:
    """Blanks, quotes, percent signs and dollars are written as systemd.service(5) and systemd.syntax(7) want them."""
    text = drop_in(("/opt/a b/rodin-watchd",), Path("/etc/100%.toml"), Path('/srv/$x "y"'))
    assert 'ExecStart="/opt/a b/rodin-watchd" run --config /etc/100%%.toml' in text
    assert "\nExecReload=\n" in text
    assert 'ExecReload="/opt/a b/rodin-watchd" check --config-only --config /etc/100%%.toml' in text
    assert 'ReadWritePaths="-/srv/$x \\"y\\""' in text
    own = user_unit(("/opt/r",), Path("/home/$x/c.toml"))
    assert own.count("ExecReload=") == 2
    assert own.count("--config /home/$$x/c.toml") == 2


def test_a_folder_elsewhere_keeps_its_mode() -> None:
    """The usual folder is the service's; another one is only made if it is missing, as the colons of tmpfiles.d(5) say."""
    usual = folders_text(InstallPaths(), Path("/etc/rodin-watchd/config.toml"), Path("/srv/rodin-watchd"))
    assert usual == text_of("rodin-watchd.tmpfiles")
    other = folders_text(InstallPaths("a"), Path("/etc/rodin-watchd/a.toml"), Path("/srv/my share"))
    assert 'd "/srv/my share/inbox" :2770 :rodin-watchd :rodin-watchd -' in other
    assert "z /etc/rodin-watchd/a.toml 0640 root rodin-watchd -" in other
    assert "/srv/rodin-watchd" not in other


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("systemd-tmpfiles"), reason="needs root and systemd-tmpfiles")
@pytest.mark.parametrize("name", ["my tex", 'a "b" \\c', "100% é"])
def test_folders_are_made_where_they_are_named(tmp_path: Path, name: str) -> None:
    """Whatever blanks, quotes and signs are in the path; systemd-tmpfiles itself reads it."""
    text = folders_text(InstallPaths(), Path("/etc/rodin-watchd/config.toml"), tmp_path / name)
    snippet = tmp_path / "snippet.conf"
    snippet.write_text(text.replace(":rodin-watchd", ":root").replace(" rodin-watchd -", " root -"))
    done = subprocess.run(["systemd-tmpfiles", "--create", f"--prefix={tmp_path}", str(snippet)], check=False)
    assert done.returncode == 0
    assert {path.name for path in (tmp_path / name).iterdir()} == {"inbox", "outbox", "failed", "archive"}


def test_acts_are_done_once_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is written, then left alone; removed with the folder of its drop-in; a command that fails says why."""
    place = tmp_path / "a.service.d" / "x.conf"
    do_all([Put(place, "text\n"), Put(place, "text\n"), Put(place, "other\n", keep=True)], dry=False)
    assert place.read_text() == "text\n"
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["write", "keep", "keep"]
    do_all([Put(place, "other\n"), Remove(place)], dry=True)
    assert place.read_text() == "text\n"
    do_all([Remove(place), Remove(place)], dry=False)
    assert list(tmp_path.iterdir()) == []
    do_all([Run(("sh", "-c", "exit 3"), required=False)], dry=False)
    with pytest.raises(DiskError, match="because"):
        do_all([Run(("sh", "-c", "echo because; exit 3"))], dry=False)


def test_the_wheel_brings_the_units(tmp_path: Path) -> None:
    """What is in the project's folder systemd/ is in the installed package, each file once and the same."""
    uv = shutil.which("uv", path=f"{Path(PROGRAM[0]).parent}:{os.environ['PATH']}")
    assert uv
    subprocess.run([uv, "build", "-q", "--wheel", "--out-dir", str(tmp_path), str(PROJECT)], check=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        inside = {
            name.removeprefix("rodin_watchd/units/"): built.read(name).decode()
            for name in built.namelist()
            if name.startswith("rodin_watchd/units/")
        }
    sources = {
        path.relative_to(PROJECT / "systemd").as_posix(): path.read_text()
        for path in (PROJECT / "systemd").rglob("*")
        if path.is_file()
    }
    assert inside == sources
    assert sorted(unit_files().values()) == sorted(sources.values())
