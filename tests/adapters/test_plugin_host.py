"""Plugins in processes of their own: what goes wrong in a call costs that call, and nothing else."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from strangers import IS_ROOT, as_nobody, public_folder

from rodin_watchd.adapters.plugin_host import PluginCall, PluginHost, PluginSource, ProcessLimits, Ready, clean_environ
from rodin_watchd.adapters.plugin_host.finding import FoundPlugin, Origin, find
from rodin_watchd.errors import (
    PluginCrashedError,
    PluginError,
    PluginGreedyError,
    PluginLoadError,
    PluginMemoryError,
    PluginStartError,
    PluginTimeoutError,
)
from rodin_watchd.hooks.leftovers import descendants

LIMITS = ProcessLimits(memory_bytes=2 << 30, file_bytes=10_000_000, start_seconds=30.0)
EVENT = {"event": {"id": "1", "kind": "k", "at": 1.0, "message": "m"}}
ALL = "from rodin_watchd.v1 import hookimpl\nimport os, sys, time\n@hookimpl\ndef rodin_service(event, settings):\n"

Run = Callable[..., object]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[..., PluginHost]]:
    """Give a function that makes a host with one plugin, `plug`, of these lines of `rodin_service`."""
    with contextlib.ExitStack() as stack:

        def make(body: str, *, limits: ProcessLimits = LIMITS, workers: int = 2, head: str = ALL) -> PluginHost:
            path = tmp_path / "plug.py"
            path.write_text(head + "".join(f"    {line}\n" for line in body.splitlines()))
            ready = Ready(PluginSource("plug", path=str(path)), limits)
            host = PluginHost([ready], workers, clean_environ(os.environ, ()), tmp_path / "scratch")
            return stack.enter_context(contextlib.closing(host))

        yield make


def homes(scratch: Path) -> list[Path]:
    """Return the folders that hosts have made for their temporary files."""
    return [path for path in scratch.iterdir() if path.is_dir()]


def call(host: PluginHost, seconds: float = 30.0, watch: Callable[[], None] = lambda: None, **settings: object) -> str:
    """Call the hook, and return what was printed."""
    return host.call(PluginCall("plug", "rodin_service", EVENT, settings, seconds, watch=watch)).output


def test_a_process_serves_many_calls(hosts: Callable[..., PluginHost]) -> None:
    """It stays warm: the second call finds what the first one left in memory."""
    host = hosts("sys.count = getattr(sys, 'count', 0) + 1\nprint(sys.count)")
    assert [call(host), call(host), call(host)] == ["1\n", "2\n", "3\n"]


WRONG = [
    ("raise RuntimeError('oh')", PluginError, r"RuntimeError: oh \(.*plug\.py:6\)"),
    ("sys.exit(3)", PluginError, "SystemExit: 3"),
    ("os.abort()", PluginCrashedError, "SIGABRT"),
    ("import ctypes; ctypes.string_at(0)", PluginCrashedError, "SIGSEGV"),
    ("os._exit(4)", PluginCrashedError, "status 4"),
    ("return object()", PluginError, "not plain data"),
    ("return 'x' * 5_000_000", PluginError, "larger than"),
    ("open('big', 'wb').write(bytes(20_000_000))", PluginError, "File too large"),
    (
        "[os.write(n, b'\\xff' * 9) for n in range(3, 256) if 'socket' in os.path.realpath(f'/proc/self/fd/{n}')]",
        PluginCrashedError,
        "cannot be read",
    ),
]


@pytest.mark.parametrize(("body", "kind", "told"), WRONG, ids=[line[0][:20] for line in WRONG])
def test_what_goes_wrong_costs_the_call_alone(
    hosts: Callable[..., PluginHost], body: str, kind: type[PluginError], told: str
) -> None:
    """It is told in words; the next call works."""
    host = hosts(f"if settings.get('bad'):\n    {body}\nprint('fine')")
    with pytest.raises(kind, match=told):
        call(host, bad=True)
    assert call(host) == "fine\n"


GROWS = "kept = []\nwhile True: kept.append(b'x' * 4_000_000)"
GROWING = {
    "itself": GROWS,
    "a child": f"import subprocess\nsubprocess.run([sys.executable, '-c', {GROWS!r}])",
    "a grandchild": f"""import subprocess
child = "import subprocess; subprocess.run([{sys.executable!r}, '-c', sys.argv[1]], start_new_session=True)"
subprocess.run([sys.executable, '-c', f'import sys; {{child}}', {GROWS!r}])""",
}


@pytest.mark.parametrize("who", GROWING)
def test_a_call_that_takes_too_much_memory_is_ended(hosts: Callable[..., PluginHost], who: str) -> None:
    """With all that it started, whoever of them grows; the message has the limit, the advice has the key."""
    body = "".join(f"    {line}\n" for line in GROWING[who].splitlines())
    host = hosts(f"if settings['bad']:\n{body}print('fine')", limits=replace(LIMITS, memory_bytes=300 << 20))
    with pytest.raises(
        PluginMemoryError, match=r"more than 300 MB of memory \(`memory_megabytes` in its table\) and were ended"
    ):
        call(host, bad=True)
    assert descendants(os.getpid()) == []
    assert call(host, bad=False) == "fine\n"


def test_a_plugin_may_not_grow_between_two_calls(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """A thread that it has left there counts as well."""
    os.mkfifo(tmp_path / "alive")
    body = f"""
import threading
def grow():
    {GROWS.replace(chr(10), chr(10) + "    ")}
sys.alive = open({str(tmp_path / "alive")!r}, 'w')
threading.Thread(target=grow, daemon=True).start()
"""
    host = hosts(body, limits=replace(LIMITS, memory_bytes=300 << 20))
    thread = threading.Thread(target=call, args=(host,))
    thread.start()
    assert (tmp_path / "alive").read_text() == ""  # its end comes with the end of the process
    thread.join(30)
    assert not thread.is_alive()


def test_addresses_are_no_memory(hosts: Callable[..., PluginHost]) -> None:
    """Programs reserve many times what they use: Node.js, Java, Go, Blender."""
    reserved = (
        "import mmap\nkept = mmap.mmap(-1, 1 << 36, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 0)\nprint(len(kept) >> 30)"
    )
    assert call(hosts(reserved)) == "64\n"


def test_a_call_that_hangs_is_ended(hosts: Callable[..., PluginHost]) -> None:
    """With all that it started, also what left its session; what it printed is told."""
    body = """
print('before', flush=True)
if os.fork() == 0:
    os.setsid()
    time.sleep(1000)
time.sleep(1000)
"""
    host = hosts(body)
    with pytest.raises(PluginTimeoutError, match="longer than 1 seconds") as caught:
        call(host, seconds=1.0)
    assert caught.value.output == "before\n"
    assert descendants(os.getpid()) == []


def test_processes_that_a_call_leaves_behind_are_ended(hosts: Callable[..., PluginHost]) -> None:
    """The call counts, its stray does not live on; the next call gets a fresh process."""
    host = hosts("print(os.getpid(), flush=True)\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)")
    first, second = call(host), call(host)
    assert first != second
    assert descendants(os.getpid()) == []


def test_a_flood_of_output_is_bounded(hosts: Callable[..., PluginHost]) -> None:
    """The end of it is kept."""
    host = hosts("print('x' * 3_000_000)\nprint('the end')")
    told = call(host)
    assert told.endswith("xxx\nthe end\n")
    assert len(told) <= 16_384


def test_a_call_is_ended_when_the_watch_says_so(hosts: Callable[..., PluginHost]) -> None:
    """A plugin that fills the disk is stopped in the middle."""
    host = hosts("while True:\n    time.sleep(0.01)")

    def watch() -> None:
        raise PluginGreedyError

    with pytest.raises(PluginGreedyError):
        call(host, watch=watch)
    assert descendants(os.getpid()) == []


def test_a_flood_of_output_does_not_set_off_a_flood_of_looks(hosts: Callable[..., PluginHost]) -> None:
    """The watch looks now and then, and once at the end: it may have a whole folder to measure."""
    looks: list[None] = []
    host = hosts("print('x' * 3_000_000)")
    seconds = host.call(PluginCall("plug", "rodin_service", EVENT, {}, 30.0, watch=lambda: looks.append(None))).seconds
    assert 1 <= len(looks) <= 1 + seconds / 0.25


def test_a_plugin_may_import_what_begins_like_a_hook(hosts: Callable[..., PluginHost]) -> None:
    """Only functions are hooks."""
    assert call(hosts("print('fine')", head=f"import rodin_watchd.v1\nrodin_name = 'x'\n{ALL}")) == "fine\n"


def test_calls_run_side_by_side(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """Each waits for the other to be there: they can only end if both run at once."""
    body = f"""
name = settings['name']
open({str(tmp_path)!r} + '/' + name, 'w').close()
while len([f for f in os.listdir({str(tmp_path)!r}) if f in 'ab']) < 2:
    time.sleep(0.001)
"""
    host = hosts(body)
    threads = [threading.Thread(target=call, args=(host,), kwargs={"name": name}) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_the_environment_is_clean(hosts: Callable[..., PluginHost], monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no proxy, no credentials' folder; what the config passes on, but never the key."""
    secrets = {"RODIN_API_KEY": "k", "https_proxy": "http://u:p@h", "CREDENTIALS_DIRECTORY": "/run", "DISPLAY": ":0"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    host = hosts("print(sorted(os.environ))")
    told = call(host)
    assert not any(name in told for name in secrets)
    assert "PATH" in told
    assert "DISPLAY" in clean_environ(os.environ, ("DISPLAY", "RODIN_API_KEY"))
    assert "RODIN_API_KEY" not in clean_environ(os.environ, ("DISPLAY", "RODIN_API_KEY"))


BROKEN = [
    ("import nothing_of_this_name\n", r"No module named 'nothing_of_this_name' \(.*plug\.py:1\)"),
    ("x = (\n", r"SyntaxError: .*\(.*plug\.py:1\)"),
    ("x = 1\n", "implements no hook"),
    ("from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_proces(job): pass\n", "did you mean rodin_process"),
    ("from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_process(jobb): pass\n", "jobb"),
    ("raise SystemExit(1)\n", "SystemExit: 1"),
    ("raise KeyboardInterrupt\n", r"KeyboardInterrupt \(.*plug\.py:1\)"),
    ("from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodn_process(job): pass\n", "did you mean rodin_process"),
    ("from rodin_watchd.v1 import hookimpl\n@hookimpl(specname='rodin_x')\ndef a(job): pass\n", "no hook rodin_x"),
    ("def rodin_process(job): pass\n", "not marked with @hookimpl"),
    (
        "from rodin_watchd.v1 import hookimpl\n@hookimpl\ndef rodin_service(): pass\nSET_KEYS = 'x'\n",
        "SET_KEYS must be",
    ),
]


@pytest.mark.parametrize(("code", "told"), BROKEN, ids=[line[0][-30:] for line in BROKEN])
def test_a_plugin_that_cannot_be_loaded_says_why(hosts: Callable[..., PluginHost], code: str, told: str) -> None:
    """File, line and cause; a misspelt hook or argument is an error, not silence."""
    with pytest.raises(PluginError, match=told):
        hosts("", head=code).load("plug")


MODEL = """
from pydantic import BaseModel
from rodin_watchd.v1 import hookimpl
class Settings(BaseModel, extra="forbid"):
    size: int = 3
@hookimpl
def rodin_service(settings):
    print(settings.size * 2)
"""
SCHEMA = """
from rodin_watchd.v1 import hookimpl
SETTINGS_SCHEMA = {"properties": {"size": {"type": "integer"}}, "additionalProperties": False}
@hookimpl
def rodin_service(settings):
    print(settings.get("size", 3) * 2)
"""


@pytest.mark.parametrize("code", [MODEL, SCHEMA], ids=["model", "schema"])
def test_settings_are_checked_by_the_plugin(hosts: Callable[..., PluginHost], code: str) -> None:
    """By a pydantic model or a JSON schema; what is wrong is named."""
    host = hosts("", head=code)
    assert (call(host), call(host, size=5)) == ("6\n", "10\n")
    with pytest.raises(PluginError, match="size"):
        host.check("plug", {"size": "large"}, {}, 30.0)
    with pytest.raises(PluginError, match="sise"):
        host.check("plug", {"sise": 3}, {}, 30.0)


def test_closing_ends_a_call_under_way(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """The service can stop: whoever waits for the answer gets an error, and no process is left."""
    os.mkfifo(tmp_path / "begun")
    host = hosts(f"open({str(tmp_path / 'begun')!r}, 'w').close()\ntime.sleep(1000)")
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            call(host)
        except PluginError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    (tmp_path / "begun").open().close()
    host.close()
    thread.join(30)
    assert isinstance(raised[0], PluginCrashedError)
    assert descendants(os.getpid()) == []
    assert homes(tmp_path / "scratch") == []


def test_a_set_changes_only_what_the_plugin_lets_it(hosts: Callable[..., PluginHost]) -> None:
    """Whoever can drop a file must not decide what the service runs: without SET_KEYS nothing can be changed."""
    closed = hosts("", head=MODEL)
    with pytest.raises(PluginError, match="size: a set may change none of its keys"):
        closed.check("plug", {}, {"size": 4}, 30.0)
    opened = hosts("", head=f"{MODEL}\nSET_KEYS = {{'size'}}\n")
    opened.check("plug", {}, {"size": 4}, 30.0)
    with pytest.raises(PluginError, match="sise: a set may change only size"):
        opened.check("plug", {}, {"sise": 4}, 30.0)
    with pytest.raises(PluginError, match="may change"):
        opened.call(PluginCall("plug", "rodin_service", EVENT, {}, 30.0, {"sise": 4}))


def test_a_forked_process_answers_for_nobody(hosts: Callable[..., PluginHost]) -> None:
    """Each call gets its own answer, also when two processes come back from one hook."""
    host = hosts("print(settings['name'], flush=True)\nif settings['name'] == 'a':\n    os.fork()")
    assert "a" in call(host, name="a")
    assert call(host, name="b") == "b\n"
    assert call(host, name="c") == "c\n"
    host.close()
    assert descendants(os.getpid()) == []


def test_what_a_crashed_process_started_is_ended(hosts: Callable[..., PluginHost]) -> None:
    """Also what left its session before the crash."""
    host = hosts("if os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)\nos.abort()")
    with pytest.raises(PluginCrashedError, match="SIGABRT"):
        call(host)
    assert descendants(os.getpid()) == []


def test_temporary_files_are_bounded_and_do_not_stay(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """What a call leaves is removed; one that leaves too much is ended."""
    body = """
for number in range(settings['files']):
    open(os.environ['TMPDIR'] + f'/part{number}', 'wb').write(bytes(1_000_000))
    time.sleep(0.01)
if settings['files'] > 50:
    time.sleep(1000)
"""
    host = hosts(body)
    call(host, files=3)
    assert [path for home in homes(tmp_path / "scratch") for path in home.rglob("*") if path.is_file()] == []
    with pytest.raises(PluginGreedyError, match="temporary files"):
        call(host, files=60)


def test_closing_ends_a_process_that_is_starting(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """It does not go on to the call that it was started for."""
    os.mkfifo(tmp_path / "begun")
    head = f"import time\nopen({str(tmp_path / 'begun')!r}, 'w').close()\ntime.sleep(1000)\n"
    host = hosts("", head=head)
    raised: list[BaseException] = []

    def load() -> None:
        try:
            host.load("plug")
        except PluginError as error:
            raised.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    (tmp_path / "begun").open().close()
    host.close()
    thread.join(30)
    assert len(raised) == 1
    assert descendants(os.getpid()) == []


def test_each_call_begins_in_its_own_folder(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """Whatever the call before has made of the working directory."""
    gone = tmp_path / "gone"
    gone.mkdir()
    host = hosts(f"print(os.path.basename(os.getcwd()))\nif settings['away']:\n    os.chdir({str(gone)!r})")
    first = call(host, away=True)
    gone.rmdir()
    assert call(host, away=False) == first


def test_a_plugin_that_was_opened_to_all_is_not_started_again(tmp_path: Path) -> None:
    """Each new process looks at the file's rights again."""
    path = tmp_path / "plug.py"
    path.write_text(f"{ALL}    os.abort()\n")
    plugin = FoundPlugin(PluginSource("plug", path=str(path)), Origin.FILE)
    ready = Ready(plugin.source, LIMITS, {}, plugin.vet)
    with contextlib.closing(PluginHost([ready], 1, clean_environ(os.environ, ()), tmp_path / "scratch")) as host:
        with pytest.raises(PluginCrashedError):
            call(host)
        path.chmod(0o666)
        with pytest.raises(PluginError, match="chmod go-w"):
            call(host)


AWAY = """
home = os.environ['TMPDIR']
if settings['away'] == 'removed':
    os.rmdir(home)
if settings['away'] == 'link':
    os.rmdir(home)
    os.symlink(settings['elsewhere'], home)
print('fine')
"""


@pytest.mark.parametrize("away", ["removed", "link"])
def test_a_call_may_take_its_own_folder_away(hosts: Callable[..., PluginHost], tmp_path: Path, away: str) -> None:
    """It counts, the next one gets a fresh process; nothing is removed through a link that was put there."""
    kept = tmp_path / "elsewhere" / "kept"
    kept.parent.mkdir()
    kept.touch()
    host = hosts(AWAY)
    assert call(host, away=away, elsewhere=str(kept.parent)) == "fine\n"
    assert call(host, away="", elsewhere="") == "fine\n"
    assert kept.exists()


def test_a_machine_that_cannot_start_a_process_is_told(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """It costs the call; when the machine can again, so can the plugin."""
    host = hosts("print('fine')")
    (tmp_path / "scratch").touch()  # in the way of the folder for temporary files
    with pytest.raises(PluginStartError, match=r"plug: a foreign file or folder has the name .*/scratch; move it away"):
        call(host)
    (tmp_path / "scratch").unlink()
    assert call(host) == "fine\n"


def test_only_what_a_host_has_made_is_cleared(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """What a killed one left goes at the next start, nothing else in the folder does; one that no host made is not used."""
    scratch, mine = tmp_path / "scratch", tmp_path / "scratch" / "mine.py"
    scratch.mkdir()
    mine.touch()
    host = hosts("print('fine')")
    with pytest.raises(PluginStartError, match="a foreign file or folder"):
        call(host)
    assert mine.exists()
    mine.unlink()
    assert call(host) == "fine\n"
    mine.touch()
    (left,) = homes(scratch)
    (left / "half").touch()
    assert call(hosts("print('fine')")) == "fine\n"
    assert mine.exists()
    assert not left.exists()


@contextlib.contextmanager
def few_open_files(free: int) -> Iterator[None]:
    """Leave this process so many files to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(free):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_that_could_not_be_started_leaves_nothing(hosts: Callable[..., PluginHost], tmp_path: Path) -> None:
    """Neither its folder nor an open line: as many files can be opened afterwards."""
    host = hosts("if settings['bad']:\n    os.abort()\nprint('fine')")
    with pytest.raises(PluginCrashedError):
        call(host, bad=True)
    with few_open_files(3):  # two for the line, one too few for the pipe
        for _ in range(2):
            with pytest.raises(PluginStartError, match="Too many open files"):
                call(host, bad=False)
    assert [list(home.iterdir()) for home in homes(tmp_path / "scratch")] == [[]]
    assert call(host, bad=False) == "fine\n"


@pytest.mark.skipif(not IS_ROOT, reason="root reads every folder; only it can act as another user")
def test_a_folder_that_cannot_be_read_is_no_empty_folder() -> None:
    """A plugin that refuses sets is not left out in silence because somebody has closed its folder."""
    with public_folder() as home:
        folder = home / "plugins"
        folder.mkdir(mode=0o711)

        def look() -> str:
            with pytest.raises(PluginLoadError) as caught:
                find([folder])
            return caught.value.message

        assert as_nobody(look) == f"The plugins' folder {folder} cannot be read: Permission denied."
