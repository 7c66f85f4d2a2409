"""`command`: a program of the owner's, with the job on its standard input."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from refusing import refusal

from rodin_watchd.errors import PluginError
from rodin_watchd.testing import Arguments, Finished, OpenPlugin
from rodin_watchd.v1 import Event

PLUGIN = "rodin_watchd_plugins.command"
EVENT = Event("job-1", "delivered", 1000.0, "suzi: outbox/suzi")

SAVES = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"


def test_it_gets_the_job_as_json(rodin_plugin: OpenPlugin, rodin_finished: Finished, tmp_path: Path) -> None:
    """Arguments reach the program as they are, no shell between; the folder is named where it is asked for."""
    said = tmp_path / "it's $HOME; said.json"
    plugin = rodin_plugin(PLUGIN, run=[sys.executable, "-c", SAVES, str(said)])
    plugin.call("rodin_delivered", job=rodin_finished.job, directory=rodin_finished.directory, event=EVENT)
    told = json.loads(said.read_text())
    assert (told["moment"], told["event"]["id"], told["job"]["name"]) == ("delivered", "job-1", "suzi")
    assert told["directory"] == str(rodin_finished.directory)


def test_it_may_change_the_result_before_it_is_published(rodin_plugin: OpenPlugin, rodin_finished: Finished) -> None:
    """Its working directory is the working copy, {directory} its path; the receipt says that it ran."""
    code = "import sys, pathlib; pathlib.Path('mark').write_text(sys.argv[1])"
    plugin = rodin_plugin(PLUGIN, run=[sys.executable, "-c", code, "{directory}"], on=["process"])
    facts = plugin.call("rodin_process", job=rodin_finished.job, directory=rodin_finished.directory)
    assert facts == {"ran": sys.executable}
    assert (rodin_finished.directory / "mark").read_text() == str(rodin_finished.directory)


def test_a_failing_program_is_a_failing_call(rodin_plugin: OpenPlugin, rodin_finished: Finished) -> None:
    """Its exit code is told, and what it printed is kept; its arguments may hold a password and are not told."""
    code = "import sys; print('no licence', file=sys.stderr); sys.exit(3)"
    plugin = rodin_plugin(PLUGIN, run=[sys.executable, "-c", code, "hidden-word"])
    with pytest.raises(PluginError, match="exit status 3") as caught:
        plugin.call("rodin_delivered", job=rodin_finished.job, directory=rodin_finished.directory, event=EVENT)
    assert "no licence" in caught.value.output
    assert "hidden-word" not in f"{caught.value.message}{caught.value.trace}{caught.value.output}"


def test_a_program_that_is_killed_is_a_failing_call(rodin_plugin: OpenPlugin) -> None:
    """The signal is told."""
    plugin = rodin_plugin(PLUGIN, run=["sh", "-c", "kill -9 $$"], on=["service"])
    with pytest.raises(PluginError, match="sh ended with signal 9"):
        plugin.call("rodin_service", event=EVENT)


def test_a_failing_program_leaves_the_plugin_usable(rodin_plugin: OpenPlugin, tmp_path: Path) -> None:
    """The same event comes again, and the program gets it again, whether it reads it or not."""
    mark = tmp_path / "mark"
    plugin = rodin_plugin(
        PLUGIN, run=["sh", "-c", f'test -e "{mark}" || {{ touch "{mark}"; exit 1; }}'], on=["service"]
    )
    with pytest.raises(PluginError, match="exit status 1"):
        plugin.call("rodin_service", event=EVENT)
    plugin.call("rodin_service", event=EVENT)


@pytest.mark.parametrize("moment", ["failed", "held", "waiting", "service"])
def test_it_is_told_of_every_moment(
    moment: str, rodin_plugin: OpenPlugin, rodin_arguments: Arguments, tmp_path: Path
) -> None:
    """The event, and what it is about, where there is such a thing."""
    said = tmp_path / "said"
    plugin = rodin_plugin(PLUGIN, run=[sys.executable, "-c", SAVES, str(said)], on=[moment])
    about = rodin_arguments(f"rodin_{moment}")
    plugin.call(f"rodin_{moment}", **about)
    told = json.loads(said.read_text())
    assert (told["moment"], told["event"]["id"]) == (moment, about["event"].id)
    assert told.keys() - {"moment", "directory"} == about.keys() - {"directory"}


def test_it_runs_only_when_it_is_asked_to(rodin_plugin: OpenPlugin, rodin_finished: Finished, tmp_path: Path) -> None:
    """`on` names the moments."""
    plugin = rodin_plugin(PLUGIN, run=[sys.executable, "-c", SAVES, str(tmp_path / "said")], on=["failed"])
    plugin.call("rodin_delivered", job=rodin_finished.job, directory=rodin_finished.directory, event=EVENT)
    assert not (tmp_path / "said").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"run": ["no-such-program-anywhere"]}, "no-such-program-anywhere is not there"),
        ({"run": []}, "run: "),
        ({"run": ["true"], "when": "now"}, "when: "),
        ({"run": ["true"], "on": ["always"]}, "on.0: "),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], told: str) -> None:
    """At the check, by name."""
    assert re.search(told, refusal(PLUGIN, settings))
