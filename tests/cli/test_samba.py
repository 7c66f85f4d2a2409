"""A real Samba with the share of docs/shares.md: what an artist drops through it is taken, and what is published can be fetched."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_stage import KEY, PROGRAM, SAMPLES, Stage, by_user, environment
from strangers import IS_ROOT, public_folder

from rodin_watchd.emulator.server import Emulator

PAGE = Path(__file__).parents[2] / "docs" / "shares.md"
SERVICE, ARTIST, GROUP = 54_320, 54_343, 54_321
PASSWORD = "umbrella"  # noqa: S105 - of a server that lives for one test
TIMEOUT_SECONDS = 30.0

pytestmark = [
    pytest.mark.skipif(not IS_ROOT, reason="only root may run smbd and processes of several users"),
    *(
        pytest.mark.skipif(
            shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin") is None, reason=f"{tool} is missing"
        )
        for tool in ("smbd", "smbclient", "smbpasswd", "unshare", "setpriv")
    ),
]


def the_text() -> str:
    """Return the smb.conf of the page, to the letter."""
    return PAGE.read_text().partition("<!-- smb.conf: begin -->")[2].partition("```ini\n")[2].partition("```")[0]


@dataclass
class Samba:
    """A server that is the only one to see the artist, and `/srv/rodin`."""

    home: Path
    port: int
    stage: Stage

    def client(self, *commands: str) -> str:
        """Run commands of smbclient as the artist, and return what they print."""
        arguments = ["//127.0.0.1/rodin", "-p", str(self.port), "-U", f"anna%{PASSWORD}", "-s", "/dev/null"]
        done = subprocess.run(
            ["smbclient", *arguments, "-c", "; ".join(commands)],
            cwd=self.home,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
        return done.stdout + done.stderr

    def deliver(self) -> str:
        """Have the service, which is a user of its own, work until nothing moves; return its log."""
        return subprocess.run(
            [*by_user(SERVICE, GROUP), *PROGRAM, "run", "--until-idle", "--config", str(self.stage.config)],
            umask=0o022,
            env=environment(RODIN_API_KEY=KEY, HOME="/nonexistent"),
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * TIMEOUT_SECONDS,
        ).stderr


def free_port() -> int:
    """Return a port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def serving(home: Path, text: str, base_url: str) -> Iterator[Samba]:
    """Serve a share by this smb.conf: in a mount namespace, where its path, its user and its group are what the page says."""
    stage = Stage(home / "share", base_url)
    for name in ("", "inbox", "outbox", "failed", "archive"):
        folder = stage.root / name
        folder.mkdir(exist_ok=True)
        os.chown(folder, SERVICE, GROUP)
        folder.chmod(0o2775)
    (home / "smb.conf").write_text(text)
    for name, line in (
        ("passwd", f"anna:x:{ARTIST}:{ARTIST}::/nonexistent:/usr/sbin/nologin\n"),
        ("group", f"artists:x:{GROUP}:anna\nanna:x:{ARTIST}:\n"),
    ):
        (home / name).write_text(Path("/etc", name).read_text() + line)
    for name in ("private", "run"):
        (home / name).mkdir()
    port = free_port()
    private = f"""[global]
        passdb backend = tdbsam:{home}/private/passdb.tdb
        private dir = {home}/private
        """
    (home / "private.conf").write_text(private)
    places = [
        f"--option={key}={home}/{name}"
        for key, name in (
            ("private dir", "private"),
            ("lock directory", "run"),
            ("state directory", "run"),
            ("cache directory", "run"),
            ("pid directory", "run"),
            ("ncalrpc dir", "run/ncalrpc"),
            ("log file", "run/log"),
        )
    ]
    options = [
        *places,
        f"--option=passdb backend=tdbsam:{home}/private/passdb.tdb",
        "--option=interfaces=lo",
        "--option=bind interfaces only=yes",
        "--option=disable spoolss=yes",
        f"--port={port}",
    ]
    script = f"""set -e
        mount --bind {home}/passwd /etc/passwd
        mount --bind {home}/group /etc/group
        mount -t tmpfs tmpfs /srv
        mkdir /srv/rodin
        mount --bind {stage.root} /srv/rodin
        printf '{PASSWORD}\\n{PASSWORD}\\n' | smbpasswd -c {home}/private.conf -s -a anna >/dev/null
        exec smbd --foreground --no-process-group --configfile={home}/smb.conf "$@" """
    server = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script, "sh", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # smbd ends its process group with itself
        env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    try:
        _await_port(server, port)
        yield Samba(home, port, stage)
    finally:
        server.terminate()
        server.communicate(timeout=TIMEOUT_SECONDS)


def _await_port(server: subprocess.Popen[bytes], port: int) -> None:
    pause = threading.Event()
    for _ in range(int(TIMEOUT_SECONDS / 0.05)):
        if server.poll() is not None:
            said = server.communicate()[0].decode()
            if "mount" in said:
                pytest.skip(f"a mount namespace is not possible here: {said}")
            raise AssertionError(said)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        pause.wait(0.05)
    raise AssertionError("smbd does not answer")


def drop(samba: Samba, folder: str, *names: str) -> str:
    """Lay a model and an image under these names into a new folder of the inbox."""
    puts = [f'put "{SAMPLES / sample}" "inbox/{folder}/{name}"' for name, sample in zip(names, SETS, strict=True)]
    return samba.client(f'mkdir "inbox/{folder}"', *puts)


SETS = ("bunny.glb", "matcap-a.png")


def test_the_share_of_the_page_has_its_sets_moved(vendor: Emulator) -> None:
    """An artist makes a folder, puts a set into it, and finds the result; nothing stays in the inbox, all is the group's."""
    with public_folder() as home, serving(home, the_text(), vendor.base_url) as samba:
        said = drop(samba, "chair", "chair.glb", "chair.png")
        made = samba.stage.inbox / "chair"
        rights = {path.name: (path.stat().st_mode & 0o7777, path.stat().st_gid) for path in (made, *made.iterdir())}
        assert rights == {"chair": (0o2775, GROUP), "chair.glb": (0o664, GROUP), "chair.png": (0o664, GROUP)}, said
        assert "delivered" in (log := samba.deliver()), log
        listing = samba.client("ls outbox\\chair\\chair\\*", "ls inbox\\*", "ls *")
        assert "job.toml" in listing
        assert "STATUS.txt" in listing
        assert ".rodin-watchd" not in listing
        assert not made.exists()
        assert "NT_STATUS" not in samba.client("get outbox\\chair\\chair\\job.toml receipt.toml")
        assert tomllib.loads((home / "receipt.toml").read_text())["job"]["set"] == "chair"


def test_a_share_by_samba_s_defaults_has_its_sets_copied(vendor: Emulator) -> None:
    """Without the masks of the page, folders are 2755: delivered once all the same, the originals stay, STATUS.txt says so."""
    text = "\n".join(line for line in the_text().splitlines() if "mask" not in line and "force" not in line)
    with public_folder() as home, serving(home, text, vendor.base_url) as samba:
        drop(samba, "chair", "chair.glb", "chair.png")
        made = samba.stage.inbox / "chair"
        assert made.stat().st_mode & 0o7777 == 0o2755
        assert "delivered" in (log := samba.deliver()), log
        again = samba.deliver()
        assert "delivered" not in again
        assert "failing" not in again
        assert {path.name for path in made.iterdir()} == {"chair.glb", "chair.png"}
        assert "done: the result is in outbox/chair/chair" in " ".join(
            (samba.stage.root / "STATUS.txt").read_text().split()
        )
        assert len(vendor.charges) == 1


NAMES = ("v1.", "trail ", "con", "AUX", "line\nend", "a:b", "what? *", "椅子" * 40, "plain")
"""Names that Linux and macOS can give to a folder, and Windows cannot show, but for the last ones."""


def test_results_of_odd_names_can_be_listed_and_fetched(vendor: Emulator) -> None:
    """No result is mangled for the client; receipts have the artist's spelling; what came through Samba mangled goes the same way."""
    with public_folder() as home, serving(home, the_text(), vendor.base_url) as samba:
        for number, name in enumerate(NAMES):
            folder = samba.stage.inbox / name
            folder.mkdir()
            for file, sample in zip(("chair.glb", "look.png"), SETS, strict=True):
                data = (SAMPLES / sample).read_bytes()
                (folder / file).write_bytes(data)
            (folder / "set.toml").write_text(f"seed = {number}\n")
            for path in (folder, *folder.iterdir()):
                os.chown(path, ARTIST, GROUP)
                path.chmod(0o2775 if path.is_dir() else 0o664)
        log = samba.deliver()
        there = {path.name for path in (samba.stage.root / "outbox").iterdir() if not path.name.startswith(".")}
        assert len(there) == len(NAMES), log
        listing = samba.client("ls outbox\\*")
        for name in there:
            assert f"  {name} " in listing, listing
            assert "NT_STATUS" not in (said := samba.client(f'get "outbox/{name}/job.toml" receipt.toml')), said
        spelled = {
            tomllib.loads((samba.stage.root / "outbox" / name / "job.toml").read_text())["job"]["set"] for name in there
        }
        assert spelled == set(NAMES)
        assert [path.name for path in samba.stage.inbox.iterdir() if not path.name.startswith(".")] == []
