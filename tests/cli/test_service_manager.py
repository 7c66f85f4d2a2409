"""`run` under a service manager: a real socket, real signals, the real emulator."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cli_stage import CONFIG, Running, Stage, running
from lines import GatedLine

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator


@dataclass
class Manager:
    """Hears what a service says."""

    socket: socket.socket
    heard: list[str] = field(default_factory=list)

    def until(self, *patterns: str) -> None:
        """Listen until each pattern has fitted something that was heard from now on."""
        wanted, until = set(patterns), time.monotonic() + 60
        while wanted:
            assert time.monotonic() < until, f"{wanted} was not heard: {self.heard}"
            self.heard.append(self.socket.recv(4096).decode())
            wanted = {pattern for pattern in wanted if not re.search(pattern, self.heard[-1])}

    def rest(self) -> list[str]:
        """Return all that was heard, with what still lies there."""
        self.socket.setblocking(False)
        while True:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return self.heard


@contextmanager
def managed(stage: Stage, *arguments: str, watchdog_seconds: float = 40.0) -> Iterator[tuple[Running, Manager]]:
    """Run a service that tells a manager how it is."""
    address = f"@rodin-watchd-{os.getpid()}-{stage.root.parent.name}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(60)
        told = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(watchdog_seconds * 1e6))}
        stage.environment = {**stage.environment, **told}
        with running(stage, *arguments) as service:
            yield service, Manager(listener)


def slow_vendor(seconds: float) -> Emulator:
    """Return a vendor whose answer to a submit takes so long."""
    return Emulator(EmulatorSettings(preview_pixels=64, instant=True, faults=(parse_fault(f"submit-slow={seconds}"),)))


def rewrite(stage: Stage, more: str) -> None:
    """Change the config."""
    stage.config.write_text(CONFIG.format(base_url=stage.base_url) + more)


def test_the_manager_hears_how_the_service_is(tmp_path: Path) -> None:
    """READY once the journal is open, the counts in words, signs of life while nothing happens, STOPPING at the end.

    The counts are made once a second: the task takes longer.
    """
    settings = EmulatorSettings(preview_pixels=64, waiting_seconds=0.1, generating_seconds=2.0)
    with (
        Emulator(settings) as vendor,
        managed(served := Stage(tmp_path / "root", vendor.base_url), watchdog_seconds=0.4) as (service, manager),
    ):
        manager.until("^READY=1$")
        assert served.journal.exists()
        assert "STATUS=nothing to do" in manager.heard
        served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
        manager.until("^STATUS=1 running$")
        manager.until("^STATUS=nothing to do$")
        manager.until("^WATCHDOG=1$")
        manager.until("^WATCHDOG=1$")
        assert service.stop(signal.SIGTERM) == 0
        assert manager.rest().count("READY=1") == 1
        assert "STOPPING=1" in manager.heard


def test_no_sign_of_life_comes_from_a_loop_that_stands_still(served: Stage) -> None:
    """A frozen process is silent; it goes on as if nothing had been when it may."""
    with managed(served, watchdog_seconds=0.4) as (service, manager):
        manager.until("^READY=1$")
        service.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, service.process.pid, os.WSTOPPED | os.WNOWAIT)
        manager.rest()
        manager.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            manager.socket.recv(4096)
        service.process.send_signal(signal.SIGCONT)
        manager.until("^WATCHDOG=1$")
        assert service.stop() == 0


def test_a_good_config_takes_effect_while_jobs_are_at_work(tmp_path: Path) -> None:
    """SIGHUP in the middle of a submit: the answer is still taken, the set is paid once, and the new values hold."""
    with slow_vendor(0.8) as vendor:
        stage = Stage(tmp_path / "root", vendor.base_url)
        with managed(stage) as (service, manager):
            manager.until("^READY=1$")
            stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            service.until(" submitting chair ")
            rewrite(stage, '[defaults]\nseed = 77\n[service]\nlog_level = "debug"\n')
            service.process.send_signal(signal.SIGHUP)
            service.until("reloaded: defaults.seed, service.log_level")
            manager.until("^RELOADING=1\nMONOTONIC_USEC=[0-9]+$")
            manager.until("^READY=1$")
            service.until(" submitted chair ")
            service.until("DEBUG +call: POST ", " archived chair ")
            stage.drop("lamp.stl", "pmndrs.stl", "lamp.png", "matcap-a.png")
            service.until(" archived lamp ")
            assert service.stop() == 0
        assert stage.data("show", "lamp")["options"]["seed"] == 77
        assert "seed" not in stage.data("show", "chair")["options"]
        assert stage.data("status")["credits"]["total"] == 1.0
        assert "Traceback" not in "".join(service.lines)


def test_a_reload_in_the_middle_of_each_upload_frees_no_budget(tmp_path: Path) -> None:
    """SIGHUP while a set is being sent: with a budget for one set, three sets and their reloads pay one."""
    with (
        Emulator(EmulatorSettings(preview_pixels=64, instant=True)) as vendor,
        GatedLine(urlsplit(vendor.base_url).port or 0) as line,
    ):
        stage = Stage(tmp_path / "root", line.base_url)
        rewrite(stage, "[budget]\nper_day_credits = 0.5\n")
        with running(stage) as service:
            reloads = {"one": " uploading one ", "two": "budget of 0.5 credits is spent", "three": ""}
            for number, (name, line_of_log) in enumerate(reloads.items()):
                stage.drop(f"{name}.glb", "suzi.glb", f"{name}.png", "matcap-a.png")
                (stage.inbox / f"{name}.toml").write_text(f"seed = {number}\n")
                if line_of_log:
                    service.until(line_of_log)
                rewrite(stage, f"[budget]\nper_day_credits = 0.5\nlow_balance = {number}\n")
                service.process.send_signal(signal.SIGHUP)
                service.until("reloaded: ")
                if name == "one":
                    line.gate.set()
                    service.until(" archived one ")
            assert service.stop() == 0
        assert stage.told("run", "--until-idle").returncode == 1, "two sets wait for another day"
        assert len(vendor.ledger()["charges"]) == 1
        assert stage.data("status")["budget"]["spent"] == 0.5


def test_a_bad_config_is_refused_and_the_old_one_stays(served: Stage) -> None:
    """Each mistake is a line of the log, the status says so, and sets go on; the mended file is taken."""
    with managed(served) as (service, manager):
        manager.until("^READY=1$")
        rewrite(served, "[budget]\nper_day_credit = 5\n[service]\nstop_seconds = -1\n")
        service.process.send_signal(signal.SIGHUP)
        service.until(
            *(f"reload-refused: .*{told}" for told in ("per_day_credit", "stop_seconds", "Correct the lines"))
        )
        assert sum("reload-refused" in line for line in service.lines) == 2
        refused = "^STATUS=nothing to do; the new configuration was refused, see the log$"
        manager.until("^READY=1$", refused)
        served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
        service.until(" archived chair ")
        rewrite(served, "[budget]\nper_day_credits = 5\n")
        service.process.send_signal(signal.SIGHUP)
        service.until("reloaded: budget.per_day_credits")
        manager.until("^STATUS=nothing to do$")
        served.config.unlink()
        service.process.send_signal(signal.SIGHUP)
        service.until("reload-refused: .* cannot be read")
        assert service.stop() == 0


def test_what_is_held_open_cannot_change(served: Stage, tmp_path: Path) -> None:
    """Another root, state folder or lease needs a restart, and the log says so; another key that is none, too."""
    with running(served) as service:
        rewrite(served, f'[folders]\nroot = "{tmp_path}/other"\nstate = "{tmp_path}/state"\n')
        service.process.send_signal(signal.SIGHUP)
        service.until("reload-refused: folders.root and folders.state cannot change while the service runs")
        rewrite(served, "[plugins.nobody]\n")
        service.process.send_signal(signal.SIGHUP)
        service.until("reload-refused: There is no plugin nobody")
        rewrite(served, "")
        service.process.send_signal(signal.SIGHUP)
        service.until("reloaded: nothing changed")
        assert service.stop() == 0


PLUGIN = """\
import os
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_delivered(job, directory):
    print(sorted(name for name in os.environ if name.startswith(("NOTIFY", "WATCHDOG"))))
"""


def test_a_plugin_comes_with_a_reload_and_cannot_speak_for_the_service(served: Stage) -> None:
    """A plugin that the new config names is loaded at once; it never sees the manager's socket, even where it is passed on."""
    served.install("teller", PLUGIN)
    with managed(served) as (service, manager):
        manager.until("^READY=1$")
        names = '["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]'
        rewrite(served, f'[plugins]\nfolders = ["own"]\npass_environment = {names}\n[plugins.teller]\n')
        service.process.send_signal(signal.SIGHUP)
        service.until("reloaded: .*plugins.teller")
        assert "STATUS=nothing to do; loads the new configuration" in manager.rest()
        manager.socket.settimeout(60)
        served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
        service.until("plugin teller: rodin_delivered done")
        assert service.stop() == 0
    events = json.dumps(served.data("show", "chair")["events"])
    assert "[]" in events
    assert "NOTIFY" not in events


SLOW = """\
from rodin_watchd.v1 import hookimpl

open("{gate}").read()

@hookimpl
def rodin_delivered(job):
    pass
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_the_service_goes_on_while_a_plugin_is_loaded(served: Stage, stopped: bool) -> None:
    """Sets come through with the old configuration, and it can be stopped at once; the new one holds when all is loaded."""
    gate = served.root / "gate"
    os.mkfifo(gate)
    served.install("slow", SLOW.format(gate=gate))
    with running(served) as service:
        rewrite(served, '[plugins]\nfolders = ["own"]\n')
        service.process.send_signal(signal.SIGHUP)
        with gate.open("w"):  # the plugin is being loaded now, and waits
            served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            service.until(" archived chair ")
            if stopped:
                assert service.stop() == 0
                return
        service.until("reloaded: plugins.folders")
        served.drop("lamp.stl", "pmndrs.stl", "lamp.png", "matcap-a.png")
        service.until("plugin slow: rodin_delivered done")
        assert service.stop() == 0


MODES = """\
from rodin_watchd.v1 import hookimpl

@hookimpl
def rodin_process(job, directory):
    return {"mode": oct(directory.stat().st_mode & 0o777)}
"""


def test_folders_have_their_mode_from_the_start(served: Stage) -> None:
    """`output.mode` holds when a folder is made, for a sandbox may forbid to change it; the journal stays as closed as it was."""
    served.install("moder", MODES)
    rewrite(served, '[output]\nmode = "0644"\n[plugins]\nfolders = ["own"]\n')
    served.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    run = served.told("run", "--until-idle", umask=0o077)
    assert run.returncode == 0, run.stderr
    assert 'mode = "0o755"' in (served.root / "outbox" / "chair" / "job.toml").read_text()
    assert served.journal.stat().st_mode & 0o777 == 0o600


def test_the_end_waits_for_an_answer_that_may_cost_money(tmp_path: Path) -> None:
    """With no time at all for the end, a submit whose last bytes are sent is still heard, and more time is asked for."""
    with slow_vendor(0.8) as vendor:
        stage = Stage(tmp_path / "root", vendor.base_url)
        rewrite(stage, "[service]\nstop_seconds = 0\n")
        with managed(stage) as (service, manager):
            stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            service.until(" submitting chair ")
            assert service.stop(signal.SIGTERM) == 0
            assert " submitted chair " in service.lines[-1]
            told = manager.rest()
            stopping = told[told.index("STOPPING=1") :]
            assert any(words.startswith("EXTEND_TIMEOUT_USEC=") for words in stopping)
            assert "STATUS=stopping: waits for 1 running step" in stopping
        assert [job["state"] for job in stage.data("list")] == ["submitted"]


def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    """Whoever cannot wait for a slow vendor says so again; Ctrl-C counts, too."""
    with slow_vendor(60) as vendor:
        stage = Stage(tmp_path / "root", vendor.base_url)
        with managed(stage) as (service, manager):
            stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            service.until(" submitting chair ")
            service.process.send_signal(signal.SIGTERM)
            manager.until("^STOPPING=1$")
            assert service.stop(signal.SIGINT) == -signal.SIGINT
        assert stage.data("status")["running"] is False
        assert " held chair " in stage.told("run", "--until-idle").stderr


FIRST = ("unshare", "--pid", "--fork", "--kill-child")
"""Runs a program as the first process of a namespace, as a container without an init does."""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_containers_first_process_heeds_the_second_signal_too(tmp_path: Path) -> None:
    """The kernel does not end such a process by default, pid_namespaces(7)."""
    with slow_vendor(60) as vendor:
        stage = Stage(tmp_path / "root", vendor.base_url)
        with running(stage, before=FIRST) as service:
            stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
            service.until(" submitting chair ")
            first = child_of(service.process.pid)
            os.kill(first, signal.SIGTERM)
            service.until("stopping")
            os.kill(first, signal.SIGTERM)
            assert service.process.wait(30) == 128 + signal.SIGTERM


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_containers_first_process_can_be_ended_while_it_waits_for_its_root(served: Stage) -> None:
    """Before there is anything to drain, the first signal ends it in order."""
    share = served.root / "share"
    (share / "inbox").mkdir(parents=True)
    rewrite(served, f'[folders]\nroot = "{share}"\nstate = "{served.root}/state"\n')
    served.told("run", "--until-idle")
    share.rename(served.root / "away")
    with running(served, before=FIRST, begun="root-away") as service:
        os.kill(child_of(service.process.pid), signal.SIGTERM)
        assert service.process.wait(30) == 0


def child_of(pid: int) -> int:
    """Return the only child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def test_a_closed_terminal_ends_the_service(served: Stage) -> None:
    """SIGHUP means reload, but where the terminal itself went away: then nobody can see it any more."""
    pid, terminal = os.forkpty()
    if not pid:
        os.execve(served.command("run")[0], served.command("run"), dict(served.environment))  # noqa: S606 - this program itself
    said = b""
    while b"drop sets into" not in said:
        said += os.read(terminal, 4096)
    os.kill(pid, signal.SIGHUP)
    while b"reloaded: nothing changed" not in said:
        said += os.read(terminal, 4096)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
