"""Plugins at work in the daemon: every hook, what goes wrong in one, and what a restart repeats."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workshop import Vendor, Workshop, emulated, image, model, workshop

from rodin_watchd.errors import Fault, PluginLoadError
from rodin_watchd.log_lines import fields_of
from rodin_watchd.model import HookRun, State

TELLS = """
import json
from rodin_watchd.v1 import hookimpl
from pathlib import Path

def note(**said):
    with Path({log!r}).open("a") as file:
        file.write(json.dumps(said) + chr(10))
"""


@contextmanager
def plugged(
    tmp_path: Path, vendor: Vendor, code: str, *, table: dict[str, Any] | None = None, **settings: object
) -> Iterator[Workshop]:
    """Give a workshop with one plugin, whose `note` writes a line that `notes` reads."""
    folder = tmp_path / "plugins"
    folder.mkdir(exist_ok=True, mode=0o755)
    (folder / "plug.py").write_text(TELLS.format(log=str(tmp_path / "log")) + code)
    plugins = {"folders": [str(folder)], **settings, **({"plug": table} if table else {})}
    with workshop(tmp_path, vendor.emulator.base_url, plugins=plugins) as shop:
        yield shop


def notes(tmp_path: Path) -> list[dict[str, Any]]:
    """Return what the plugin noted."""
    log = tmp_path / "log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def runs_of(shop: Workshop) -> list[HookRun]:
    """Return the calls for the only job."""
    return shop.store.runs_of([shop.job("chair").id])


def receipt(shop: Workshop, name: str = "chair") -> dict[str, Any]:
    """Return a delivered set's receipt."""
    return tomllib.loads(shop.path(f"outbox/{name}/job.toml").read_text())


PROCESS = """
@hookimpl
def rodin_process(job, directory):
    note(hook="process", job=job.id, files=sorted(p.name for p in directory.iterdir()))
    (directory / "extra").mkdir()
    (directory / "extra" / "thumb.txt").write_text("made by a plugin")
    next(directory.glob("*.webp")).unlink()
    return {"made": ["extra/thumb.txt"], "bytes": 16}
"""


def test_a_plugin_changes_the_result(tmp_path: Path, vendor: Vendor) -> None:
    """What it adds and removes is what is published; the receipt lists the files that are there, and its facts."""
    with plugged(tmp_path, vendor, PROCESS) as shop:
        shop.drop_set("chair")
        shop.idle()
        folder = shop.path("outbox/chair")
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        told = receipt(shop)
        assert {result["name"] for result in told["results"]} | {"job.toml"} == there
        assert "extra/thumb.txt" in there
        assert not any(name.endswith(".webp") for name in there)
        assert told["plugins"]["plug"] == {"made": ["extra/thumb.txt"], "bytes": 16}
        assert [(run.hook, run.outcome) for run in runs_of(shop)] == [("rodin_process", "done")]
        assert not (shop.root / ".rodin-watchd" / "work" / shop.job("chair").id).exists()


FAILING = """
@hookimpl
def rodin_process(job, directory):
    note(hook="process")
    for path in directory.iterdir():
        path.write_text("spoilt")
    print("about to fail")
    raise RuntimeError("no such mesh")
"""


def test_a_failing_plugin_costs_its_own_work_only(tmp_path: Path, vendor: Vendor) -> None:
    """It is tried again; then the plain result is delivered, untouched, and the receipt says what is missing."""
    with plugged(tmp_path, vendor, FAILING, tries=2) as shop:
        shop.drop_set("chair")
        shop.idle()
        assert len(notes(tmp_path)) == 2
        told = receipt(shop)
        assert "RuntimeError: no such mesh" in told["plugins"]["plug"]["failed"]
        assert "plug.py:" in told["plugins"]["plug"]["failed"]
        for result in told["results"]:
            assert shop.path(f"outbox/chair/{result['name']}").stat().st_size == result["bytes"]
        assert [(run.outcome, run.output.strip()) for run in runs_of(shop)] == [("failed", "about to fail")]
        assert "about to fail" in "\n".join(e.message for e in shop.store.events(shop.job("chair").id))
        assert vendor.charges == 1


def test_a_required_plugin_fails_the_job_and_loses_nothing(tmp_path: Path, vendor: Vendor) -> None:
    """The report says which plugin and why; the results that were paid for lie beside it; `retry` costs nothing."""
    with plugged(tmp_path, vendor, FAILING, tries=1, table={"required": True}) as shop:
        shop.drop_set("chair")
        shop.idle()
        job = shop.job("chair")
        assert job.state is State.FAILED
        report = shop.path(f"{job.place}/REPORT.txt").read_text()
        assert "no such mesh" in report
        assert "0.5 credits" in report
        assert any(p.suffix == ".glb" for p in shop.path(f"{job.place}/results").iterdir())
        shop.path("plugins/plug.py").write_text(
            "from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_service(): pass\n"
        )
        shop.restart()
        shop.command("retry", job=job.id)
        shop.idle()
        assert shop.job("chair").state is State.ARCHIVED
        assert vendor.charges == 1


NOTIFIES = """
@hookimpl
def rodin_delivered(job, directory, event):
    note(hook="delivered", id=event.id, attempt=event.attempt, files=len(list(directory.iterdir())), place=job.place)
    if event.attempt == 1:
        raise ConnectionError("no line")

@hookimpl
def rodin_failed(job, event):
    note(hook="failed", code=job.problem.code, message=event.message)

@hookimpl
def rodin_service(event):
    note(hook="service", kind=event.kind)
"""


def test_people_are_told_at_least_once_with_one_id(tmp_path: Path, vendor: Vendor) -> None:
    """A call that fails is made again after a wait, with the same event id; the job is delivered meanwhile."""
    with plugged(tmp_path, vendor, NOTIFIES) as shop:
        shop.drop_set("chair")
        shop.idle()
        assert shop.job("chair").state is State.ARCHIVED
        shop.until(lambda: len(notes(tmp_path)) == 2)
        first, second = notes(tmp_path)
        assert (first["id"], first["attempt"]) == (second["id"], 1)
        assert second["attempt"] == 2
        assert first["place"] == "outbox/chair"
        assert first["files"] > 1
        shop.until(lambda: [run.outcome for run in runs_of(shop)] == ["done"])


def test_each_line_of_a_plugin_names_its_set(tmp_path: Path, vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    """Beside the job, in fields of their own: for whoever looks for a set in the log."""
    caplog.set_level("INFO", "rodin_watchd")
    with plugged(tmp_path, vendor, NOTIFIES) as shop:
        shop.drop_set("oak/chair")
        shop.idle()
        job = shop.job("chair")
    told = [vars(record) for record in caplog.records if vars(record).get("action") == "plugin"]
    assert {(line["job"], line["set"]) for line in told} == {(job.id, "oak/chair")}


def test_what_is_owed_survives_a_crash(tmp_path: Path, vendor: Vendor) -> None:
    """A call that was not recorded is made by the next start, one that was is not made again."""
    with plugged(tmp_path, vendor, NOTIFIES) as shop:
        shop.drop_set("chair")
        shop.idle()
        assert [n["attempt"] for n in notes(tmp_path)] == [1]
        shop.restart()
        shop.until(lambda: len(notes(tmp_path)) == 2)
        shop.until(lambda: [run.outcome for run in runs_of(shop)] == ["done"])
        shop.restart()
        shop.idle()
        assert [n["attempt"] for n in notes(tmp_path)] == [1, 2]
        assert len({n["id"] for n in notes(tmp_path)}) == 1


def test_a_failure_is_told_with_its_cause(tmp_path: Path, vendor: Vendor) -> None:
    """The hook gets the job with its problem, after the report was written."""
    with plugged(tmp_path, vendor, NOTIFIES) as shop:
        shop.drop("chair.obj", b"v 1 2 3\n")
        shop.drop("chair.png", b"no image at all")
        shop.idle()
        [told] = notes(tmp_path)
        assert told["code"] == shop.job("chair").problem.code  # type: ignore[union-attr]


ACCEPTS = """
SET_KEYS = ["limit"]

@hookimpl
def rodin_accept(fileset, directory, settings):
    note(hook="accept", files=sorted(p.name for p in directory.iterdir()), limit=settings["limit"])
    if len(fileset.files) > 5 or fileset.name == "ugly":
        return "it is ugly"

@hookimpl
def rodin_options(job, options):
    return {"seed": 7, "prompt": "worn " + options.get("prompt", "oak")}
"""


def test_a_plugin_refuses_a_set_before_anything_is_sent(tmp_path: Path, vendor: Vendor) -> None:
    """The report repeats its words, and nothing was charged."""
    with plugged(tmp_path, vendor, ACCEPTS, table={"limit": 3}) as shop:
        shop.drop_set("ugly")
        shop.idle()
        job = shop.job("ugly")
        assert job.state is State.FAILED
        assert "The plugin plug refused the set: it is ugly" in shop.path(f"{job.place}/REPORT.txt").read_text()
        assert vendor.charges == 0
        assert notes(tmp_path)[0] == {"hook": "accept", "files": ["ugly.obj", "ugly.png"], "limit": 3}


ADVISES = """
from rodin_watchd.v1 import Refusal

@hookimpl
def rodin_accept(fileset, settings):
    return Refusal(settings["reason"], settings["advice"])
"""


def test_a_refusal_has_the_plugins_own_advice(tmp_path: Path, vendor: Vendor) -> None:
    """Wherever a refusal is read: by the artist, by whoever runs the service, by programs; in place of ours."""
    told = {"reason": "no texture coordinates", "advice": "Unwrap it, or write `unwrap = true` into NAME.toml."}
    with plugged(tmp_path, vendor, ADVISES, table=told) as shop:
        shop.drop_set("chair", "seed = 3\n")
        shop.idle()
        advice = "Unwrap it, or write `unwrap = true` into chair.toml."
        assert f"What to do: {advice}" in " ".join(shop.report("chair").split())
        assert f"{advice} See failed/chair/REPORT.txt" in shop.page()
        assert shop.report_data("chair")["problem"]["advice"] == advice
        assert f"What to do: {advice}" in shop.told("show", "chair")
        shown = json.loads(shop.at_terminal("show", "chair", "--json").output)
        assert shown["problem"]["advice"] == advice
        assert shown["problem"]["message"] == "The plugin plug refused the set: no texture coordinates."
        assert vendor.charges == 0


def test_a_hostile_refusal_stays_on_its_line(tmp_path: Path, vendor: Vendor) -> None:
    """Escape sequences, turned text and line ends are shown and do nothing; too long a text is cut."""
    hostile = "\x1b[2J\u202egnp.exe\nFAILED: nothing\r\nWho can act: nobody\x00" + "x" * 9000
    with plugged(tmp_path, vendor, ADVISES, table={"reason": hostile, "advice": hostile}) as shop:
        shop.drop_set("chair")
        shop.idle()
        for text in (shop.report("chair"), shop.page(), shop.at_terminal("show", "chair").output):
            assert all(line.isprintable() for line in text.splitlines())
            assert not any(line.startswith(("FAILED: nothing", "Who can act: nobody")) for line in text.splitlines())
        problem = shop.report_data("chair")["problem"]
        assert max(len(problem["message"]), len(problem["advice"])) < 1100


@pytest.mark.parametrize("answer", ["Refusal('')", "Refusal('no', advice=3)", "7", "{'why': 'no'}"])
def test_an_answer_that_is_no_refusal_is_a_fault_of_the_plugin(tmp_path: Path, vendor: Vendor, answer: str) -> None:
    """It is asked again, nothing is sent, and the set fails without blame for its files."""
    code = f"from rodin_watchd.v1 import Refusal\n@hookimpl\ndef rodin_accept(fileset):\n    return {answer}\n"
    with plugged(tmp_path, vendor, code) as shop:
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.FAILED))
        problem = shop.job("chair").problem
        assert problem
        assert (problem.code, problem.fault) == ("plugin-failed", Fault.OWNER)
        assert "rodin_accept returned" in problem.message
        assert vendor.charges == 0


def test_a_repeated_step_and_a_failed_set_name_the_plugin_in_the_log(
    tmp_path: Path, vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    """A step that is tried again, a set that a plugin refuses, and a plugin that is set aside: each line has its fields."""
    caplog.set_level("INFO", "rodin_watchd")
    code = """
@hookimpl
def rodin_accept(fileset):
    return "it is ugly" if fileset.name == "ugly" else None

@hookimpl
def rodin_process(job, directory):
    raise RuntimeError("no such mesh")
"""
    with plugged(tmp_path, vendor, code, tries=2, failures_before_rest=2) as shop:
        shop.drop_set("ugly")
        shop.drop_set("chair")
        shop.idle()
    found = {line["action"]: line for line in map(fields_of, caplog.records) if "plugin" in line}
    repeated, failing, aside = found["repeated"], found["failing"], found["plugin-aside"]
    assert (repeated["plugin"], repeated["hook"], repeated["attempt"]) == ("plug", "rodin_process", 1)
    assert "RuntimeError: no such mesh" in str(repeated["cause"])
    assert (failing["hook"], failing["code"]) == ("rodin_accept", "plugin-refused")
    assert failing["cause"] == "The plugin plug refused the set: it is ugly."
    assert (aside["plugin"], aside["hook"], aside["code"]) == ("plug", "rodin_process", "plugin-failed")


def test_a_plugin_chooses_options_before_they_are_frozen(tmp_path: Path, vendor: Vendor) -> None:
    """They are what is sent, and part of the fingerprint; the sidecar's settings for the plugin win over the config's."""
    with plugged(tmp_path, vendor, ACCEPTS, table={"limit": 3}) as shop:
        shop.drop("chair.toml", b'prompt = "pine"\n[plugins.plug]\nlimit = 4\n')
        shop.drop_set("chair")
        shop.idle()
        assert dict(shop.job("chair").options) == {"prompt": "worn pine", "seed": 7}
        assert receipt(shop)["options"] == {"prompt": "worn pine", "seed": 7}
        assert notes(tmp_path)[0]["limit"] == 4


def test_a_plugin_that_cannot_be_imported_stops_the_start(tmp_path: Path, vendor: Vendor) -> None:
    """One line names file, line and cause; with `optional = true` the service starts without it and says so."""
    broken = "import nothing_of_this_name\n"
    cause = r"No module named 'nothing_of_this_name' \(.*/plug\.py:\d+\)"
    with pytest.raises(PluginLoadError, match=cause), plugged(tmp_path, vendor, broken):
        pass
    with plugged(tmp_path, vendor, broken, table={"optional": True}) as shop:
        shop.drop_set("chair")
        shop.idle()
        kinds = [event.kind for event in shop.store.service_events()]
        assert kinds == ["plugin-left-out"]


def test_a_plugin_that_fails_in_a_row_is_set_aside_and_comes_back(tmp_path: Path, vendor: Vendor) -> None:
    """Said once; not called while it rests; called again later, and its return is said, too."""
    code = """
@hookimpl
def rodin_process(job, directory):
    note(hook="process", job=job.name)
    if not Path(LOG).with_name("mended").exists():
        raise RuntimeError("broken")
""".replace("LOG", repr(str(tmp_path / "log")))
    with plugged(tmp_path, vendor, code, tries=1, failures_before_rest=2, rest_seconds=600) as shop:
        for name in ("one", "two", "three"):
            shop.drop_set(name)
            shop.idle()
        assert [n["job"] for n in notes(tmp_path)] == ["one", "two"]
        assert "not called for a while" in receipt(shop, "three")["plugins"]["plug"]["failed"]
        assert "The plugin plug keeps failing in rodin_process and is not called for a while" in shop.status()
        (tmp_path / "mended").touch()
        shop.hands.seconds += 700
        shop.drop_set("four")
        shop.idle()
        assert receipt(shop, "four")["plugins"]["plug"] == {}
        kinds = [event.kind for event in reversed(shop.store.service_events())]
        assert kinds == ["plugin-aside", "plugin-back"]


HELD = """
@hookimpl
def rodin_held(job, event):
    note(hook="held", id=job.id, code=job.problem.code, event=event.kind)
"""


def test_a_held_job_is_told(tmp_path: Path) -> None:
    """Once, when it is held, with what is known."""
    with emulated("lost-answer@1") as vendor, plugged(tmp_path, vendor, HELD) as shop:
        shop.drop_set("chair")
        shop.until(lambda: bool(notes(tmp_path)) and [run.outcome for run in runs_of(shop)] == ["done"])
        job = shop.job("chair")
        assert notes(tmp_path) == [{"hook": "held", "id": job.id, "code": "unknown-outcome", "event": "held"}]
        shop.restart()
        shop.idle()
        assert len(notes(tmp_path)) == 1


WAITS = """
@hookimpl
def rodin_waiting(waiting, event):
    note(hook="waiting", name=waiting.name, files=list(waiting.files), id=event.id)
"""


def test_a_set_that_lacks_a_file_for_long_is_told(tmp_path: Path, vendor: Vendor) -> None:
    """Once for each state of its files, also over a restart; not before `pair_minutes`."""
    with plugged(tmp_path, vendor, WAITS) as shop:
        shop.drop("chair.obj", b"v 1 2 3\n")
        shop.idle()
        shop.hands.seconds += 500
        shop.idle()
        assert notes(tmp_path) == []
        shop.hands.seconds += 200
        shop.idle()
        [told] = notes(tmp_path)
        assert (told["name"], told["files"]) == ("chair", ["chair.obj"])
        shop.restart()
        shop.hands.seconds += 800
        shop.idle()
        assert len(notes(tmp_path)) == 1


CONFIGURED = """
@hookimpl
def rodin_configure(settings):
    note(hook="configure", settings=dict(settings))
    if "bad" in settings:
        raise ValueError("bad is not good")

@hookimpl
def rodin_service(event):
    pass
"""


def test_a_plugin_gets_ready_at_the_start(tmp_path: Path, vendor: Vendor) -> None:
    """With its table; if it cannot, the service does not start."""
    with plugged(tmp_path, vendor, CONFIGURED, table={"colour": "red"}):
        assert notes(tmp_path) == [{"hook": "configure", "settings": {"colour": "red"}}]
    table = {"bad": 1}
    with pytest.raises(PluginLoadError, match="bad is not good"), plugged(tmp_path, vendor, CONFIGURED, table=table):
        pass


def test_a_set_with_wrong_settings_for_a_plugin_is_refused(tmp_path: Path, vendor: Vendor) -> None:
    """Before it is paid for, by the plugin's own model; a plugin that is not there is refused by name and line."""
    code = """
from pydantic import BaseModel
class Settings(BaseModel, extra="forbid"):
    size: int = 3
    run: str = ""
SET_KEYS = {"size"}
@hookimpl
def rodin_service(event, settings):
    pass
"""
    with plugged(tmp_path, vendor, code) as shop:
        shop.drop_set("chair", "[plugins.plug]\nsize = 'large'\n")
        shop.drop_set("table", "[plugins.plugg]\nsize = 3\n")
        shop.drop_set("thief", "[plugins.plug]\nrun = 'rm'\n")
        shop.idle()
        assert set(shop.states().values()) == {State.FAILED}
        assert "run: a set may change only size" in shop.report("thief")
        assert "[plugins.plug]" in shop.report("chair")
        assert "size" in shop.report("chair")
        assert "line 1" in shop.report("table")
        assert "did you mean plug?" in shop.report("table")
        assert vendor.charges == 0


def test_what_was_told_can_be_told_again(tmp_path: Path, vendor: Vendor) -> None:
    """`plugins rerun`: the same event id, a fresh count of attempts; nothing to repeat is said."""
    with plugged(tmp_path, vendor, NOTIFIES) as shop:
        shop.drop_set("chair")
        shop.idle()
        shop.until(lambda: [run.outcome for run in runs_of(shop)] == ["done"])
        answer = shop.command("rerun", job=shop.job("chair").id, plugin="plug")
        assert (answer["ok"], answer["message"]) == (True, "rodin_delivered is called again: plug.")
        shop.until(lambda: len(notes(tmp_path)) == 4)
        assert len({n["id"] for n in notes(tmp_path)}) == 1
        assert not shop.command("rerun", job=shop.job("chair").id, plugin="other")["ok"]


def test_a_plugin_that_fills_the_disk_is_ended(tmp_path: Path, vendor: Vendor) -> None:
    """In the middle, with its working copy thrown away; the plain result is delivered."""
    code = """
import time
@hookimpl
def rodin_process(job, directory):
    for number in range(1000):
        (directory / f"part{number}").write_bytes(bytes(500_000))
        time.sleep(0.002)
    time.sleep(1000)
"""
    with plugged(tmp_path, vendor, code, tries=1, table={"disk_megabytes": 3}) as shop:
        shop.drop_set("chair")
        shop.idle()
        assert "wrote more than 3 MB" in receipt(shop)["plugins"]["plug"]["failed"]
        assert not any("part" in name for name in shop.found("outbox"))


def test_a_restart_does_not_repeat_what_was_recorded(tmp_path: Path, vendor: Vendor) -> None:
    """Two plugins on one result: the first has done its work when the second fails and the service is killed."""
    second = """
@hookimpl
def rodin_process(job, directory):
    if not Path(LOG).with_name("mended").exists():
        raise RuntimeError("broken")
    (directory / "second").write_text((directory / "first").read_text() + " and second")
""".replace("LOG", repr(str(tmp_path / "log")))
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    (folder / "zebra.py").write_text(TELLS.format(log=str(tmp_path / "log")) + second)
    first = """
@hookimpl
def rodin_process(job, directory):
    note(hook="process")
    (directory / "first").write_text("first")
"""
    with plugged(tmp_path, vendor, first, tries=20) as shop:
        shop.drop_set("chair")
        shop.until(lambda: shop.actions(shop.job("chair")).count("plugin") >= 2 if shop.jobs() else False)
        shop.restart(between=(tmp_path / "mended").touch)
        shop.idle()
        assert shop.path("outbox/chair/second").read_text() == "first and second"
        assert len(notes(tmp_path)) == 1


def test_safe_mode_starts_without_plugins(tmp_path: Path, vendor: Vendor) -> None:
    """Sets with settings for a plugin are not refused; nothing is called."""
    with plugged(tmp_path, vendor, NOTIFIES) as shop:
        shop.crash()
        shop.start(safe_mode=True)
        shop.drop_set("chair", "[plugins.plug]\nloud = true\n")
        shop.idle()
        assert shop.job("chair").state is State.ARCHIVED
        assert notes(tmp_path) == []
        assert [event.kind for event in shop.store.service_events()] == ["safe-mode"]


def test_a_plugin_that_is_set_aside_holds_up_no_other(tmp_path: Path, vendor: Vendor) -> None:
    """However many calls it is owed."""
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    broken = "from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_service():\n    raise OSError('no line')\n"
    (folder / "broken.py").write_text(broken)
    told = """
@hookimpl
def rodin_service(event):
    note(message=event.message)
"""
    with plugged(tmp_path, vendor, told, failures_before_rest=1, rest_seconds=80_000) as shop:
        for number in range(100):
            shop.daemon.parts.job_store.report("test", f"number {number}", 1000.0)
        wanted = {f"number {number}" for number in range(100)}
        shop.until(lambda: {note["message"] for note in notes(tmp_path)} >= wanted)
        assert shop.event_kinds().count("plugin-aside") == 1


def test_a_set_refused_for_its_settings_is_told_without_them(tmp_path: Path, vendor: Vendor) -> None:
    """The plugin whose settings were wrong hears of the failure all the same, with the config's own table."""
    code = """
from pydantic import BaseModel
class Settings(BaseModel, extra="forbid"):
    size: int = 3
SET_KEYS = {"size"}
@hookimpl
def rodin_failed(job, settings):
    note(name=job.name, size=settings.size)
"""
    with plugged(tmp_path, vendor, code) as shop:
        shop.drop_set("chair", "[plugins.plug]\nsize = 'large'\n")
        shop.idle()
        assert notes(tmp_path) == [{"name": "chair", "size": 3}]
        assert [run.outcome for run in runs_of(shop)] == ["done"]


TELLS_WHOM = """
from pydantic import BaseModel
class Settings(BaseModel, extra="forbid"):
    whom: str = "all"
    size: int = 3
SET_KEYS = {"whom", "size"}

@hookimpl
def rodin_failed(job, settings):
    note(name=job.name, whom=settings.whom)

@hookimpl
def rodin_waiting(waiting, settings):
    note(name=waiting.name, whom=settings.whom)
"""


def test_a_failure_is_told_by_the_sets_own_settings(tmp_path: Path, vendor: Vendor) -> None:
    """Of its own TOML file and of the folder's, whatever was wrong: with an image, with another line of the TOML file, both."""
    with plugged(tmp_path, vendor, TELLS_WHOM) as shop:
        shop.drop("props/_folder.toml", b'[plugins.plug]\nwhom = "props"\n')
        shop.drop("image.toml", b'[plugins.plug]\nwhom = "anna"\n')
        shop.drop("props/image2.png", b"no image at all")
        shop.drop("props/image2.obj", b"v 1 2 3\n")
        shop.drop("image.png", b"no image at all")
        shop.drop("image.obj", b"v 1 2 3\n")
        shop.drop_set("line", 'sed = 7\n[plugins.plug]\nwhom = "ben"\n[plugins.none]\nx = 1\n')
        shop.drop_set("wrong", '[plugins.plug]\nwhom = "cleo"\nsize = "large"\n')
        shop.idle()
        told = {note["name"]: note["whom"] for note in notes(tmp_path)}
        assert told == {"image": "anna", "image2": "props", "line": "ben", "wrong": "all"}
        assert {run.outcome for job in shop.jobs() for run in shop.store.runs_of([job.id])} == {"done"}
        assert vendor.charges == 0


def test_a_set_that_waits_is_told_by_its_own_settings(tmp_path: Path, vendor: Vendor) -> None:
    """Of its own TOML file over the folder's."""
    with plugged(tmp_path, vendor, TELLS_WHOM) as shop:
        shop.drop("props/_folder.toml", b'[plugins.plug]\nwhom = "props"\n')
        shop.drop("props/lamp.obj", model("lamp"))
        shop.drop("props/chair.obj", model("chair"))
        shop.drop("props/chair.toml", b'[plugins.plug]\nwhom = "anna"\n')
        shop.idle()
        shop.hands.seconds += 24 * 3600.0
        shop.until(lambda: len(notes(tmp_path)) == 2)
        assert {note["name"]: note["whom"] for note in notes(tmp_path)} == {"chair": "anna", "lamp": "props"}


def test_a_date_in_the_settings_refuses_the_set(tmp_path: Path, vendor: Vendor) -> None:
    """TOML knows more than plugins can be told: its line and what to do are in the report, and nothing else stops."""
    with plugged(tmp_path, vendor, NOTIFIES) as shop:
        shop.drop_set("chair", "[plugins.plug]\nsince = 2024-05-01\n")
        shop.drop_set("table", "[plugins.plug]\nsize = inf\n")
        shop.idle()
        assert "line 2: plugins.plug.since contains a date" in shop.report("chair")
        assert "plugins.plug.size contains a number that is not finite" in shop.report("table")


SPOILS = {
    "removed": "shutil.rmtree(directory)",
    "replaced": "shutil.rmtree(directory); directory.write_text('x')",
    "linked": "shutil.rmtree(directory); directory.symlink_to('/etc')",
    "named": "open(os.fsencode(directory) + b'/\\xff.txt', 'w').close()",
    "ours": "(directory / 'JOB.toml').write_text('x')",
    "piped": "os.mkfifo(directory / 'pipe')",
    "pointed": "(directory / 'passwd').symlink_to('/etc/passwd')",
    "emptied": "[path.unlink() for path in directory.iterdir()]",
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
def test_what_a_plugin_does_to_its_copy_costs_its_work_alone(tmp_path: Path, vendor: Vendor, spoil: str) -> None:
    """The plain result is delivered, whole; the receipt says what was wrong."""
    code = f"""
import os, shutil
@hookimpl
def rodin_process(job, directory):
    {spoil}
"""
    with plugged(tmp_path, vendor, code, tries=2) as shop:
        shop.drop_set("chair")
        shop.idle()
        told = receipt(shop)
        assert told["plugins"]["plug"]["failed"]
        assert {result["name"] for result in told["results"]} == shop.found("outbox/chair") - {"job.toml"}
        assert {result["name"] for result in told["results"]} >= {"preview.webp"}


def test_nothing_of_a_failed_call_reaches_the_next(tmp_path: Path, vendor: Vendor) -> None:
    """Neither a process that it started nor a thread that goes on writing."""
    code = """
import os, subprocess, sys, threading, time
GO_ON = "import sys, time\\nwhile True:\\n    open(sys.argv[1], 'a').write('x')\\n    time.sleep(0.001)"

@hookimpl
def rodin_process(job, directory):
    note(hook="process")
    if len(Path(LOG).read_text().splitlines()) == 1:
        subprocess.Popen([sys.executable, "-c", GO_ON, str(directory / "junk")], start_new_session=True)
        while not (directory / "junk").exists():
            time.sleep(0.001)
        raise ValueError("first")
    late = (directory / "late").open("w", buffering=1)
    threading.Thread(target=lambda: [late.write("x") or time.sleep(0.001) for _ in range(5000)], daemon=True).start()
""".replace("LOG", repr(str(tmp_path / "log")))
    with plugged(tmp_path, vendor, code, tries=3) as shop:
        shop.drop_set("chair")
        shop.idle()
        assert "junk" not in shop.found("outbox/chair")
        for result in receipt(shop)["results"]:
            data = shop.path(f"outbox/chair/{result['name']}").read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (result["bytes"], result["sha256"])


def test_a_plugin_is_not_told_of_its_own_setting_aside(tmp_path: Path, vendor: Vendor) -> None:
    """Each hook is set aside by itself: what works goes on, and what fails is said once."""
    code = """
@hookimpl
def rodin_delivered(job):
    raise OSError("no line")

@hookimpl
def rodin_service(event):
    note(kind=event.kind)
"""
    with plugged(tmp_path, vendor, code, failures_before_rest=1, rest_seconds=60) as shop:
        shop.drop_set("chair")
        shop.idle()
        for _ in range(5):
            shop.hands.seconds += 100
            shop.idle()
        assert [event.kind for event in shop.store.service_events()] == ["plugin-aside"]
        assert notes(tmp_path) == []


def test_trouble_of_a_plugin_is_not_the_artists_fault(tmp_path: Path, vendor: Vendor) -> None:
    """A plugin that cannot get ready for a while holds a set with settings for it back, and does not refuse it."""
    code = """
SET_KEYS = {"size"}
@hookimpl
def rodin_configure(settings):
    if Path(LOG).with_name("away").exists():
        raise ConnectionError("mail server away")

@hookimpl
def rodin_failed(job):
    raise ValueError("ends the process")
""".replace("LOG", repr(str(tmp_path / "log")))
    with plugged(tmp_path, vendor, code) as shop:
        (tmp_path / "away").touch()
        shop.drop("bad.obj", b"v 1 2 3\n")
        shop.drop("bad.png", b"no image at all")
        shop.idle()
        shop.drop_set("chair", "[plugins.plug]\nsize = 3\n")
        shop.until(lambda: "chair" in shop.states() and shop.job("chair").attempts > 0)
        (tmp_path / "away").unlink()
        shop.idle()
        assert shop.job("chair").state is State.ARCHIVED


CHOSEN = """
import tomllib

@hookimpl
def rodin_chosen(job, directory, event):
    said = tomllib.loads((directory / "job.toml").read_text())["job"]
    note(variant=job.variant, chosen=[job.chosen, said["chosen"]], kind=event.kind, id=event.id)
"""


def test_a_choice_is_announced_when_the_receipt_has_it(tmp_path: Path, vendor: Vendor) -> None:
    """Of the job that is chosen, and of the one that is not any more; also by a rerun, with the same id."""
    with plugged(tmp_path, vendor, CHOSEN) as shop:
        shop.drop("chair.obj", model("chair"))
        shop.drop("chair.png", image("chair"))
        shop.drop("chair.toml", b"seeds = [1, 2]\n")
        shop.idle()
        numbers = {job.batch.label: job.id for job in shop.jobs() if job.batch}
        for label in ("seed-1", "seed-2"):
            assert shop.command("choose", job=numbers[label])["ok"]
            shop.idle()
        found = sorted((one["variant"], one["kind"], *one["chosen"]) for one in notes(tmp_path))
        assert found == [
            ("seed-1", "chosen", True, True),
            ("seed-1", "unchosen", False, False),
            ("seed-2", "chosen", True, True),
        ]
        answer = shop.command("rerun", job=numbers["seed-2"])
        assert answer == {"ok": True, "message": "rodin_chosen is called again: plug."}
        shop.idle()
        ids = [one["id"] for one in notes(tmp_path) if one["variant"] == "seed-2"]
        assert len(ids) == 2
        assert len(set(ids)) == 1
