"""The log of `run`: its formats, its fields, its levels."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cli_stage import KEY, Stage, environment

import rodin_watchd
from rodin_watchd.log_lines import fields_of, leads_to_journald

HAS_SYSTEMD = any(found.name == "systemd-python" for found in importlib.metadata.distributions())


PACKAGE = Path(rodin_watchd.__file__).parent
CALLS = {f"log.{name}" for name in ("debug", "info", "warning", "error", "critical", "exception", "log")}


def log_calls() -> list[tuple[str, ast.Call]]:
    """Return every call of a logger in the service's code, with its place."""
    paths = sorted({*PACKAGE.rglob("*.py")} - {*(PACKAGE / "emulator").rglob("*.py")})
    nodes = ((path, node) for path in paths for node in ast.walk(ast.parse(path.read_text())))
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path, node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS
    ]


def test_every_log_call_names_its_action() -> None:
    """No line of the service is without a word that programs can rely on."""
    calls = log_calls()
    assert len(calls) > 15
    assert [place for place, call in calls if "extra" not in {word.arg for word in call.keywords}] == []


def test_json_lines_have_action_job_and_set(served: Stage) -> None:
    """With --log-format json each line is an object; the lines of a set tell its job from the claim to the archive."""
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    run = served.told("run", "--until-idle", "--log-format", "json")
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert {"at", "level", "action", "message"} <= set.intersection(*(set(line) for line in lines))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["at"]) for line in lines)
    of_set = [line for line in lines if line.get("set") == "chair"]
    assert len({line["job"] for line in of_set}) == 1
    actions = [line["action"] for line in of_set]
    assert (actions[0], actions[-1]) == ("claimed", "archived")
    assert len(actions) == len(set(actions)), "one line for one state change"
    assert [line["action"] for line in lines if "job" not in line] == ["serving", "watching", "stopping", "stopped"]
    assert KEY not in run.stderr


def test_each_line_for_people_begins_with_its_action(served: Stage) -> None:
    """Time, level, action; nothing else begins a line."""
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    run = served.told("run", "--until-idle")
    shape = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    ([a-z]+)\b")
    found = [shape.match(line) for line in run.stderr.splitlines()]
    assert all(found), run.stderr
    assert [match[1] for match in found if match][:3] == ["serving", "watching", "claimed"]


@pytest.mark.parametrize(
    ("log_format", "first"),
    [
        ("human", "Error: There is no API key."),
        ("journal", "<2>ended: There is no API key."),
        ("json", '"level": "critical", "action": "ended", "message": "ended: There is no API key. '),
    ],
)
def test_a_start_that_is_refused_is_told_in_the_same_format(stage: Stage, log_format: str, first: str) -> None:
    """Wrong use keeps its exit code and comes without a traceback, whoever reads it."""
    stage.environment = environment()
    run = stage.told("run", "--log-format", log_format)
    assert run.returncode == 2
    assert first in run.stderr.splitlines()[0]


@pytest.mark.parametrize("matches", [True, False])
def test_journald_is_recognised_by_its_stream(stage: Stage, tmp_path: Path, *, matches: bool) -> None:
    """$JOURNAL_STREAM names the device and inode of standard error under journald; a redirected one is for people."""
    target = tmp_path / "stream"
    with target.open("wb") as stream:
        there = os.fstat(stream.fileno())
        name = f"{there.st_dev}:{there.st_ino + (not matches)}"
        assert leads_to_journald({"JOURNAL_STREAM": name}, stream.fileno()) is matches
        assert not leads_to_journald({}, stream.fileno())
        given = environment(JOURNAL_STREAM=name)
        subprocess.run(stage.command("run"), stderr=stream, env=given, cwd=stage.root, check=False, timeout=60)
    assert target.read_text().startswith("<2>ended: " if matches else "Error: ")


def test_a_warning_level_leaves_only_what_people_should_look_at(served: Stage) -> None:
    """`service.log_level` holds from the start; --verbose goes over it."""
    with served.config.open("a") as config:
        config.write('[service]\nlog_level = "warning"\n')
    served.drop("lamp.glb", "bunny.glb", "lamp.png", "suzi.glb")
    told = served.told("run", "--until-idle").stderr
    assert {line.split()[2] for line in told.splitlines()} == {"WARNING"}
    assert " lamp (job " in told
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    assert "DEBUG   call: " in served.told("run", "--until-idle", "--verbose").stderr


def test_a_library_is_the_action_of_its_lines() -> None:
    """Also what is not ours has a word."""
    record = logging.makeLogRecord({"name": "urllib3.connectionpool", "msg": "retrying"})
    assert fields_of(record) == {"action": "urllib3"}
    ours = logging.makeLogRecord({"name": "rodin_watchd", "action": "claimed", "job": "0123", "set": ""})
    assert fields_of(ours) == {"action": "claimed", "job": "0123"}


JOURNALD = """\
import logging, os, socket
os.makedirs("/run/systemd/journal", exist_ok=True)
journald = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journald.bind("/run/systemd/journal/socket")
journald.settimeout(10)
from rodin_watchd.log_lines import start_log
start_log("journal", {})
logging.getLogger("rodin_watchd").warning("held %s", "chair", extra={"action": "held", "job": "0123", "set": "oak/chair"})
print(journald.recv(65536).decode())
"""


@pytest.mark.skipif(not HAS_SYSTEMD, reason="the extra `systemd` is not installed")
@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare for a /run of its own"
)
def test_journald_gets_the_fields_apart() -> None:
    """With systemd-python journald's own socket gets JOB=, SET= and ACTION=, in a /run that only this test sees."""
    script = f"mount -t tmpfs none /run && exec {sys.executable} -c '{JOURNALD}'".replace("'\\''", "'")
    run = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    fields = set(run.stdout.splitlines())
    assert {"MESSAGE=held chair", "PRIORITY=4", "JOB=0123", "SET=oak/chair", "ACTION=held"} <= fields
    assert "SYSLOG_IDENTIFIER=rodin-watchd" in fields


def test_a_call_to_the_vendor_names_its_job(served: Stage) -> None:
    """Each but the question for the balance, which is nobody's, has the job and the set that it is for."""
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    run = served.told("run", "--until-idle", "--verbose", "--log-format", "json")
    calls = [line for line in map(json.loads, run.stderr.splitlines()) if line["action"] == "call"]
    assert len(calls) > 3
    nobodys = [line["message"] for line in calls if "job" not in line]
    assert all("balance" in message for message in nobodys)
    assert {line["set"] for line in calls if "job" in line} == {"chair"}


PLUGINS = {
    "dies": "import os; os._exit(3)",
    "hangs": "import time; time.sleep(60)",
    "raises": "raise ValueError('no such mesh')",
    "works": "return {'made': 1}",
}


def test_lines_about_plugins_have_fields(served: Stage) -> None:
    """Begin and end of each call with plugin, hook, attempt; the end with its duration, and a cause with its code."""
    folder = served.root / "plugins"
    folder.mkdir(mode=0o755)
    for name, code in PLUGINS.items():
        head = "from rodin_watchd.v1 import hookimpl\n\n@hookimpl\ndef rodin_process(job, directory):\n    "
        (folder / f"{name}.py").write_text(f"{head}{code}\n")
    (folder / "gone.py").write_text("import nothing_of_this_name\n")
    with served.config.open("a", encoding="utf-8") as config:
        config.write('[plugins]\nfolders = ["plugins"]\ntries = 1\n[plugins.hangs]\ntimeout_seconds = 1\n')
        config.write("[plugins.gone]\noptional = true\n")
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    run = served.told("run", "--until-idle", "--verbose", "--log-format", "json")
    about = [line for line in map(json.loads, run.stderr.splitlines()) if "plugin" in line]
    [left_out] = [line for line in about if line["plugin"] == "gone"]
    assert (left_out["action"], left_out["code"]) == ("plugin-left-out", "plugin")
    assert "No module named 'nothing_of_this_name'" in left_out["cause"]
    calls = [line for line in about if line["action"] == "plugin"]
    assert {(line["hook"], line["attempt"], line["set"]) for line in calls} == {("rodin_process", 1, "chair")}
    assert [line["plugin"] for line in calls if "duration" not in line] == sorted(PLUGINS)
    ends = {line["plugin"]: line for line in calls if "duration" in line}
    assert {name: line.get("code") for name, line in ends.items()} == {
        "dies": "plugin-crashed",
        "hangs": "plugin-timeout",
        "raises": "plugin-failed",
        "works": None,
    }
    assert "took longer than 1 seconds" in ends["hangs"]["cause"]
    assert 1.0 <= ends["hangs"]["duration"] < 60.0
    assert "status 3" in ends["dies"]["cause"]
    assert "ValueError: no such mesh" in ends["raises"]["cause"]
    assert "cause" not in ends["works"]
    assert all(isinstance(line["duration"], float) for line in ends.values())


FAULTS = """\
import sys, threading
from rodin_watchd.log_lines import start_log
start_log("json", {})

class Left:
    def __del__(self):
        raise ValueError("in a finalizer")

def broken(error):
    raise error

for error in (ValueError("in a thread"), SystemExit(3)):
    thread = threading.Thread(target=broken, args=(error,), name="step")
    thread.start()
    thread.join()
Left()
broken(KeyError("in the end"))
"""


def test_what_nothing_caught_is_a_line_like_all_others() -> None:
    """In a thread, in a finalizer, in the main thread: a fault with its traceback in one JSON object; a thread may exit."""
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=False, timeout=60)
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert run.returncode == 1
    assert [(line["level"], line["action"]) for line in lines] == [("error", "fault")] * 3
    words = ("in a thread", "in a finalizer", "in the end")
    assert [word in line["traceback"] for word, line in zip(words, lines, strict=True)] == [True] * 3
    assert lines[0]["message"] == "fault in thread step: ValueError"


RUN_AS_NOBODY = """\
import encodings.ascii, os, sys  # all that is loaded late: the interpreter may be closed to others
import rodin_watchd.cli.run, rodin_watchd.cli.main as program
os.setgroups([]); os.setgid(65534); os.setuid(65534)
program.main()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_config_that_cannot_be_read_is_told_in_the_same_format() -> None:
    """A named file without the right to read it is a line of the log, not a page on usage."""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # pytest closes its own to others
        Path(home).chmod(0o755)
        config = Path(home) / "config.toml"
        config.touch(mode=0o600)
        command = [sys.executable, "-c", RUN_AS_NOBODY, "run", "--config", str(config), "--log-format", "json"]
        run = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=60)
    [line] = map(json.loads, run.stderr.splitlines())
    assert (run.returncode, line["action"], line["level"]) == (2, "ended", "critical")
    assert f"{config} cannot be read: Permission denied" in line["message"]
