"""What `check` says of the page in the browser."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cli_stage import Stage
from strangers import IS_ROOT, as_nobody, public_folder
from web_stage import TOKEN, VIEWER_TOKEN, configured, free_address

from rodin_watchd.cli.check.page import page_findings
from rodin_watchd.cli.systemd import user_unit
from rodin_watchd.config import WebSection, load_config
from rodin_watchd.errors import ConfigError
from rodin_watchd.settings import CREDENTIALS_VARIABLE
from rodin_watchd.web.access import NO_TOKEN, TOKEN_CREDENTIAL, VIEWER_CREDENTIAL, Tokens, credentials_in, find_tokens

UNITS = [
    unit
    for unit in (Path(__file__).parents[2] / "systemd").rglob("*.service")
    if "rodin-watchd run" in unit.read_text()
]  # a worker has no page


def findings(stage: Stage) -> list[tuple[str, str]]:
    """Return what is found, with its verdict."""
    return [(found.verdict.value, found.text) for found in page_findings(stage.config, load_config(stage.config))]


def test_a_page_that_can_run_is_in_order(tmp_path: Path) -> None:
    """Who may use it is said, and that its port is free; of one that is not wanted nothing is said."""
    stage, address = Stage(tmp_path / "root"), free_address()
    assert findings(stage) == []
    configured(stage, address, enabled=True)
    assert findings(stage) == [
        ("ok", f"http://{address}/ is for everybody on this machine."),
        ("ok", f"http://{address}/ is free."),
    ]


def test_a_port_of_another_program_is_a_problem(tmp_path: Path) -> None:
    """Before the service starts."""
    stage = Stage(tmp_path / "root")
    with socket.create_server(("127.0.0.1", 0)) as other:
        configured(stage, f"127.0.0.1:{other.getsockname()[1]}", enabled=True)
        assert findings(stage)[1][0] == "problem"


def test_a_page_that_would_be_open_is_a_problem(tmp_path: Path) -> None:
    """With the words that the page itself would refuse to start with."""
    stage = Stage(tmp_path / "root")
    configured(stage, "0.0.0.0:8770", enabled=True)
    with pytest.raises(ConfigError, match="there is no login"):
        findings(stage)


def secret(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    path.write_text(f"{text}\n")
    path.chmod(0o600)


def unit_of(stage: Stage, home: Path, patch: pytest.MonkeyPatch) -> Path:
    """Install the project's own unit of a user for the stage; return where its token belongs."""
    patch.setenv("HOME", str(home))
    patch.delenv(CREDENTIALS_VARIABLE, raising=False)
    unit = home / ".config" / "systemd" / "user" / "rodin-watchd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(user_unit(("rodin-watchd",), stage.config))
    token = home / ".config" / "rodin-watchd" / "web-token"
    token.parent.mkdir()
    return token


def test_the_token_of_the_unit_is_found_from_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its file nobody logs in; with it the page may be for other machines; what the page would refuse is told."""
    stage = Stage(tmp_path / "root")
    token = unit_of(stage, tmp_path, monkeypatch)
    configured(stage, "0.0.0.0:8770", enabled=True)
    with pytest.raises(ConfigError, match="there is no login"):
        findings(stage)
    secret(token, TOKEN)
    assert findings(stage)[0] == ("ok", "http://0.0.0.0:8770/ is for who logs in.")
    secret(token.with_name("web-viewer-token"), TOKEN)
    with pytest.raises(ConfigError, match="are the same"):
        findings(stage)


@pytest.mark.skipif(not IS_ROOT, reason="only root may run processes of two users")
def test_a_token_that_only_the_service_sees_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a user who may not read it, it is not missing."""
    with public_folder() as home:
        stage = Stage(home / "root")
        token = unit_of(stage, home, monkeypatch)
        configured(stage, "0.0.0.0:8770", enabled=True)
        secret(token, TOKEN)
        hidden = f"Not visible from here: systemd shows {token} only to the service."
        assert as_nobody(lambda: findings(stage))[0] == ("warning", hidden)


def test_the_credentials_of_a_unit_may_be_missing(tmp_path: Path) -> None:
    """What SetCredential= says is there then; any other text that is no token is refused."""
    lines = [line for unit in UNITS for line in unit.read_text().splitlines()]
    for name in (TOKEN_CREDENTIAL, VIEWER_CREDENTIAL):
        assert lines.count(f"SetCredential={name}:{NO_TOKEN}") == len(UNITS)
        secret(tmp_path / name, NO_TOKEN)
    given = credentials_in({CREDENTIALS_VARIABLE: str(tmp_path)})
    assert find_tokens(WebSection(), given) == Tokens()
    secret(tmp_path / VIEWER_CREDENTIAL, VIEWER_TOKEN)
    assert find_tokens(WebSection(), given) == Tokens(looks=VIEWER_TOKEN)
    secret(tmp_path / TOKEN_CREDENTIAL, "")
    with pytest.raises(ConfigError, match="one line of at least 16 plain characters: the credential rodin-web-token"):
        find_tokens(WebSection(), given)
