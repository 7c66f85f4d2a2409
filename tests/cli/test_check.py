"""`check` and `balance`: each finding a line, problems by exit code, the key never shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_stage import KEY, Stage, a_job, environment

from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.server import Emulator


def found(stage: Stage, *options: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the findings of `check --json` by their names; the exit code is right, or the test fails."""
    run = stage.told("check", "--json", *options)
    data = json.loads(run.stdout)
    assert set(data) == {"ok", "checks"}
    assert all(set(finding) == {"name", "verdict", "text", "advice"} for finding in data["checks"])
    assert run.returncode == (0 if data["ok"] else 1)
    assert data["ok"] == all(finding["verdict"] != "problem" for finding in data["checks"])
    return {finding["name"]: finding for finding in data["checks"]}


def test_the_config_alone(stage: Stage) -> None:
    """With --config-only nothing else is looked at, not even for a key; a wrong file fails it."""
    stage.environment = environment()
    run = stage.told("check", "--config-only")
    assert (run.returncode, run.stdout) == (0, f"ok       config: {stage.config} is valid.\n")
    stage.config.write_text("colour = 3\n")
    run = stage.told("check", "--config-only")
    assert run.returncode == 1
    assert run.stdout.startswith("PROBLEM  config: ")
    assert "colour" in run.stdout


def test_all_in_order(served: Stage) -> None:
    """A service that is set up well has a line for each check, all ok, and what the balance pays."""
    for name in ("outbox", "failed", "archive", ".rodin-watchd/work"):
        (served.root / name).mkdir(parents=True)
    served.journaled(a_job())
    run = served.told("check")
    assert run.returncode == 0, run.stdout
    lines = run.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    names = [line.split()[1].rstrip(":") for line in lines]
    assert list(dict.fromkeys(names)) == [
        *("config", "folders", "outputs", "filesystem", "room", "watching", "inotify", "writers", "clock"),
        *("journal", "service", "unit", "key", "plugins", "balance"),
    ]
    assert "100 credits are left, which pay 200 textures or 200 new models." in run.stdout
    assert "1 jobs, schema" in run.stdout
    assert KEY not in run.stdout + run.stderr


def test_a_new_service_has_no_problem(served: Stage) -> None:
    """Before the first start folders and journal may be missing: a warning, no problem."""
    findings = found(served)
    assert findings["folders"]["verdict"] == "warning"
    assert "outbox" in findings["folders"]["text"]
    assert findings["journal"]["text"].startswith("No journal yet")
    assert findings["service"]["text"].startswith("Not running")


def test_offline_makes_no_call(stage: Stage) -> None:
    """With `--offline` a vendor that cannot be reached is no problem; without, it is."""
    assert "balance" not in found(stage, "--offline")
    finding = found(stage)["balance"]
    assert finding["verdict"] == "problem"
    assert "127.0.0.1:9" in finding["text"]


def test_a_broken_config_ends_the_checks(stage: Stage) -> None:
    """Nothing else can be checked without a config; its mistake is the only line."""
    stage.config.write_text("[api]\nmax_in_flight = 0\n")
    findings = found(stage)
    assert list(findings) == ["config"]
    assert "line 2" in findings["config"]["text"]


def test_a_missing_key_says_how_to_give_one(served: Stage) -> None:
    """Without a key the advice names the three ways; the other checks go on."""
    served.environment = environment()
    findings = found(served)
    assert findings["key"]["verdict"] == "problem"
    assert "RODIN_API_KEY" in findings["key"]["advice"]
    assert findings["watching"]["verdict"] == "ok"


def test_a_refused_key_is_a_problem_and_not_shown(served: Stage) -> None:
    """The vendor's no to the key is told without the key."""
    served.environment = environment(RODIN_API_KEY="this-key-is-wrong")
    run = served.told("check")
    assert run.returncode == 1
    assert "PROBLEM  balance: " in run.stdout
    assert "this-key-is-wrong" not in run.stdout + run.stderr


def test_a_missing_root_is_a_problem(stage: Stage, tmp_path: Path) -> None:
    """A share that is gone is told with what to do, and nothing breaks."""
    config = tmp_path / "config.toml"
    config.write_text(f'[folders]\nroot = "{tmp_path}/gone"\n[api]\nbase_url = "http://127.0.0.1:9"\n')
    shutil.copy(config, stage.config)
    findings = found(stage, "--offline")
    assert findings["folders"]["verdict"] == "problem"
    assert "rodin-watchd init" in findings["folders"]["advice"]
    assert "watching" not in findings


def test_a_damaged_journal_is_a_problem(stage: Stage) -> None:
    """Garbage in the journal's place is found."""
    stage.journaled()
    stage.journal.write_bytes(b"garbage" * 1000)
    finding = found(stage, "--offline")["journal"]
    assert finding["verdict"] == "problem"
    assert finding["advice"]


def test_a_running_service_is_named(stage: Stage) -> None:
    """Whoever holds the lock is told, with its process."""
    stage.journaled()
    with Lock(stage.root / ".rodin-watchd" / "lock"):
        assert "Running: host " in found(stage, "--offline")["service"]["text"]


@pytest.mark.parametrize(("left", "jobs", "verdict"), [("12.75", 25, "ok"), ("0.4", 0, "warning")])
def test_the_balance_in_jobs(left: str, jobs: int, verdict: str, tmp_path: Path) -> None:
    """`balance` says credits and how many jobs of each kind they pay; too few for any is a warning of `check`."""
    with Emulator(EmulatorSettings(balance=Decimal(left))) as vendor:
        stage = Stage(tmp_path / "root", vendor.base_url)
        assert stage.data("balance") == {"credits": float(left), "pays": {"texture": jobs, "generate": jobs}}
        words = f"{left} credits are left, which pay {jobs} textures or {jobs} new models.\n"
        assert stage.told("balance").stdout == words
        assert found(stage)["balance"]["verdict"] == verdict


def test_balance_without_a_vendor_is_told(stage: Stage) -> None:
    """A vendor that cannot be reached is exit code 1, in words."""
    run = stage.told("balance")
    assert run.returncode == 1
    assert run.stderr.startswith("Error: http://127.0.0.1:9/ cannot be reached")
    assert "`rodin-watchd emulator --port 9` starts the emulator there." in run.stderr
