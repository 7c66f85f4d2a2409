"""Where `check` and `balance` find the key that systemd gives the service, and what they say where they may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_stage import KEY, Stage, environment, running
from strangers import IS_ROOT, as_nobody, public_folder
from test_check import found

from rodin_watchd.cli.systemd import SINGLE, TEMPLATE, credential_of
from rodin_watchd.config import CREDENTIAL_NAME
from rodin_watchd.emulator.server import Emulator

UNIT = """\
[Service]
ExecStart=
ExecStart=/usr/bin/rodin-watchd run --config "{config}"
LoadCredential=other:/etc/other
LoadCredential=rodin-api-key:%E/rodin-watchd/api-key
"""


def installed(stage: Stage, home: Path) -> Path:
    """Install a unit that serves the stage, have its commands see it, and no other key; return where its key belongs."""
    unit = home / ".config" / "systemd" / "user" / SINGLE
    unit.parent.mkdir(parents=True)
    unit.write_text(UNIT.format(config=stage.config))
    stage.environment = environment(HOME=str(home))
    key = home / ".config" / "rodin-watchd" / "api-key"
    key.parent.mkdir()
    return key


def test_the_key_of_the_unit_is_found_from_a_shell(served: Stage, tmp_path: Path) -> None:
    """Before and while the service runs: whoever may read the source of its credential needs no other key."""
    key = installed(served, tmp_path)
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    findings = found(served)
    assert (findings["key"]["verdict"], findings["balance"]["verdict"]) == ("ok", "ok")
    assert served.data("balance")["credits"] == 100
    alias = tmp_path / "alias.toml"
    alias.symlink_to(served.config)
    assert credential_of(alias, CREDENTIAL_NAME, [tmp_path / ".config" / "systemd" / "user"]) is not None


def test_a_missing_or_open_source_is_a_problem(stage: Stage, tmp_path: Path) -> None:
    """What would keep the unit from starting is told as such."""
    key = installed(stage, tmp_path)
    finding = found(stage, "--offline")["key"]
    assert (finding["verdict"], "No such file" in finding["text"]) == ("problem", True)
    key.write_text(KEY)
    key.chmod(0o644)
    finding = found(stage, "--offline")["key"]
    assert (finding["verdict"], f"chmod o-rw {key}" in finding["advice"]) == ("problem", True)


@pytest.mark.skipif(not IS_ROOT, reason="only root may run processes of two users")
def test_a_key_that_only_the_service_sees_is_a_warning(vendor: Emulator) -> None:
    """To a user who may not read the source, the key is not missing; `balance` is not asked for, which is a warning, too."""
    with public_folder() as home:
        stage = Stage(home / "share", vendor.base_url)
        key = installed(stage, home)
        key.write_text(KEY)
        key.chmod(0o600)
        stage.told_here("check", "--offline")
        told = as_nobody(lambda: stage.told_here("check", "--json").output)
    findings = {finding["name"]: finding for finding in json.loads(told)["checks"]}
    for name in ("key", "balance"):
        assert findings[name]["verdict"] == "warning"
        assert findings[name]["text"] == f"Not visible from here: systemd shows {key} only to the service."
        assert "as root" in findings[name]["advice"]


def test_a_running_service_has_a_key(served: Stage, tmp_path: Path) -> None:
    """Without a unit that tells where its key is from, that of a running service is not visible, and not missing."""
    credential = tmp_path / "rodin-api-key"
    credential.write_text(KEY)
    credential.chmod(0o600)
    served.environment = environment(CREDENTIALS_DIRECTORY=str(tmp_path))
    with running(served):
        served.environment = environment()
        findings = found(served)
    assert {findings[name]["verdict"] for name in ("key", "balance")} == {"warning"}
    assert findings["key"]["text"] == "Not visible from here: the running service has a key."
    assert found(served)["key"]["verdict"] == "problem"


def test_a_unit_is_read_with_its_drop_ins(tmp_path: Path) -> None:
    """Drop-ins of all folders count, in the order of their names, those of an instance as well as those of its template."""
    packaged, admin = tmp_path / "usr", tmp_path / "etc"
    for place in (packaged, admin / f"{SINGLE}.d", admin / "rodin-watchd@oak.service.d"):
        place.mkdir(parents=True)
    (packaged / SINGLE).write_text(UNIT.format(config="/etc/rodin-watchd/config.toml"))
    (packaged / TEMPLATE).write_text(UNIT.format(config="/etc/rodin-watchd/%i.toml"))
    folders = (admin, packaged)
    usual = Path("/etc/rodin-watchd/api-key")
    assert credential_of(Path("/etc/rodin-watchd/config.toml"), CREDENTIAL_NAME, folders) == usual
    assert credential_of(Path("/etc/rodin-watchd/pine.toml"), CREDENTIAL_NAME, folders) == usual
    assert credential_of(Path("/srv/pine.toml"), CREDENTIAL_NAME, folders) is None
    (admin / f"{SINGLE}.d" / "10-key.conf").write_text(
        "[Service]\nLoadCredential=\nLoadCredential = rodin-api-key:/k%%1\n"
    )
    assert credential_of(Path("/etc/rodin-watchd/config.toml"), CREDENTIAL_NAME, folders) == Path("/k%1")
    (admin / "rodin-watchd@oak.service.d" / "10-installed.conf").write_text(
        "[Service]\nExecStart=\nExecStart=/opt/r run --config '/srv/my oak.toml'\n"
    )
    assert credential_of(Path("/srv/my oak.toml"), CREDENTIAL_NAME, folders) == usual
    assert credential_of(Path("/etc/rodin-watchd/oak.toml"), CREDENTIAL_NAME, folders) is None
    (admin / f"{SINGLE}.d" / "20-none.conf").write_text("[Service]\nLoadCredential=\n")
    assert credential_of(Path("/etc/rodin-watchd/config.toml"), CREDENTIAL_NAME, folders) is None
