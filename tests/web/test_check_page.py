"""What `check` says of the page in the browser."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from cli_stage import Stage
from web_stage import configured, free_address

from rodin_watchd.cli.check.page import page_findings
from rodin_watchd.config import load_config
from rodin_watchd.errors import ConfigError


def findings(stage: Stage) -> list[tuple[str, str]]:
    """Return what is found, with its verdict."""
    return [(found.verdict.value, found.text) for found in page_findings(load_config(stage.config))]


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
