"""The table of real clients: each sends one file into the inbox, and pauses when about half of it is there.

A client that can be fed is fed in two halves. Another one gets a slow line, and is stopped (SIGSTOP) in the middle. A program that
only copies is held up by strace(1) before its second write.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from xml.etree import ElementTree as ET

from scene import PASSWORD, USER, Drop, Scene, free_port

Send: TypeAlias = Callable[[Scene, Drop], None]

BEGUN_SECONDS: Final = 20.0
LONG_PAUSE_SECONDS: Final = 40.0
"""Longer than every quiet time of the service."""

CLOSED_PAUSE_SECONDS: Final = 20.0
"""Of clients that close the file in between: what is closed and quiet for 30 s is complete, as far as anybody can know."""


FORMATS: Final = ("obj", "toml", "glb", "png")
"""What is sent: two formats whose content cannot show that it is complete, and two whose content can."""

TEXTS: Final = ("obj", "toml")
BIG: Final = ("obj", "glb", "png")
"""What does not fit into one buffer of a client."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client, the programs that it needs, and how it sends a file."""

    name: str
    needs: tuple[str, ...]
    send: Send
    pause_seconds: float = LONG_PAUSE_SECONDS
    formats: tuple[str, ...] = FORMATS

    @property
    def missing(self) -> list[str]:
        """Return the programs that are not on this machine."""
        return [program for program in self.needs if not shutil.which(program)]


# ---- three ways to pause ---------------------------------------------------------------------------------------------


def _run(command: Sequence[str], **options: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-1500:]}"


def _fed(command: Sequence[str], drop: Drop) -> None:
    """Run a program that reads the file from a pipe."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        first, second = drop.halves
        process.stdin.write(first)
        process.stdin.flush()
        drop.rest()
        process.stdin.write(second)
        process.stdin.close()
        told = process.stderr.read()
    assert process.returncode == 0, told


def _stopped(command: Sequence[str], drop: Drop) -> None:
    """Run a program with a slow line, and stop it when something of the file is there."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    _wait_until_begun(process, drop)
    time.sleep(2)
    assert process.poll() is None, f"{command[0]} was too fast"
    os.killpg(process.pid, signal.SIGSTOP)
    drop.rest()
    os.killpg(process.pid, signal.SIGCONT)
    told = process.communicate()[1]
    assert process.returncode == 0, told


def _wait_until_begun(process: subprocess.Popen[bytes], drop: Drop) -> None:
    """Wait until a file of this name, also a temporary one, is in the inbox; not for longer than a slow start."""
    end = time.monotonic() + BEGUN_SECONDS / 4
    while time.monotonic() < end and process.poll() is None:
        if any(drop.name in path.name for path in drop.target.parent.rglob("*")):
            return
        time.sleep(0.05)


def _held_up(command: Sequence[str], drop: Drop) -> None:
    """Run a program whose second write to the file comes late."""
    calls = "write,copy_file_range,sendfile,fallocate"
    delay = f"inject=write,copy_file_range,sendfile:delay_enter={int(drop.pause_seconds * 1e6)}:when=2"
    _run(
        [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-P",
            str(drop.target),
            "-e",
            f"trace={calls}",
            "-e",
            delay,
            *command,
        ]
    )


def _written(path: Path, drop: Drop, mode: str = "wb") -> None:
    """Write it in two halves without closing it."""
    first, second = drop.halves
    with path.open(mode) as file:
        file.seek(0)
        file.write(first)
        file.flush()
        drop.rest()
        file.write(second)


# ---- rsync, ssh ------------------------------------------------------------------------------------------------------


def _rsync(*options: str, by: str = "local") -> Send:
    def send(scene: Scene, drop: Drop) -> None:
        places = {
            "local": lambda: f"{scene.inbox}/",
            "ssh": lambda: f"root@127.0.0.1:{scene.inbox}/",
            "daemon": lambda: f"rsync://127.0.0.1:{scene.server('rsyncd')}/inbox/",
        }
        shell = ["-e", " ".join(["ssh", *scene.ssh()])] if by == "ssh" else []
        limit = f"--bwlimit={max(1, drop.slow // 1024)}"
        _stopped(["rsync", "-rt", "--no-whole-file", limit, *options, *shell, str(drop.source), places[by]()], drop)

    return send


def _rsync_broken_off(scene: Scene, drop: Drop) -> None:
    """Break it off, so that a part stays under the final name; later let it go on."""
    command = ["rsync", "-rt", "--partial", str(drop.source), f"{scene.inbox}/"]
    process = subprocess.Popen([*command, f"--bwlimit={max(1, drop.slow // 1024)}"], start_new_session=True)
    _wait_until_begun(process, drop)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    process.wait()
    drop.rest()
    _run(command)


def _scp(*options: str) -> Send:
    def send(scene: Scene, drop: Drop) -> None:
        limit = str(max(1, drop.slow * 8 // 1000))
        command = ["scp", *options, "-l", limit, *scene.ssh(), str(drop.source), f"root@127.0.0.1:{drop.target}"]
        _stopped(command, drop)

    return send


def _sftp(suffix: str) -> Send:
    def send(scene: Scene, drop: Drop) -> None:
        batch = scene.folder("sftp") / f"{drop.name}{suffix}.batch"
        rename = f'rename "{drop.target}{suffix}" "{drop.target}"\n' if suffix else ""
        batch.write_text(f'put "{drop.source}" "{drop.target}{suffix}"\n{rename}')
        limit = str(max(1, drop.slow * 8 // 1000))
        _stopped(["sftp", "-B", "4096", "-R", "1", "-l", limit, *scene.ssh(), "-b", str(batch), "root@127.0.0.1"], drop)

    return send


def _sshfs(scene: Scene, drop: Drop) -> None:
    _written(scene.sshfs / drop.name, drop)


# ---- SMB -------------------------------------------------------------------------------------------------------------


def _smbclient(scene: Scene, drop: Drop) -> None:
    place = ["//127.0.0.1/inbox", "-p", str(scene.server("smbd")), "-U", f"{USER}%{PASSWORD}"]
    _fed(["smbclient", *place, "-c", f"put - {drop.name}"], drop)


_SMB: Final = """
import sys, time, smbclient
place, source, port, user, password, pause, way = sys.argv[1:]
options = {"username": user, "password": password, "port": int(port)}
data = open(source, "rb").read()
half = len(data) // 2
with smbclient.open_file(place, "wb", buffering=0, share_access="rwd", **options) as file:
    if way == "explorer":
        smbclient.truncate(place, len(data), share_access="rwd", **options)
    else:
        folder, _, name = place.rpartition("\\\\")
        with smbclient.open_file(folder + "\\\\._" + name, "wb", **options) as beside:
            beside.write(bytes.fromhex("00051607000200004d6163204f532058") + bytes(4080))
    for part in (data[:half], data[half:]):
        view = memoryview(part)
        while view:
            view = view[file.write(view[:65536]) :]
        if part is not data[half:]:
            time.sleep(float(pause))
smbclient.utime(place, (1_700_000_000, 1_700_000_000), **options)
"""


def _smb(way: str) -> Send:
    def send(scene: Scene, drop: Drop) -> None:
        place = rf"\\127.0.0.1\inbox\{drop.name}"
        words = [place, str(drop.source), str(scene.server("smbd")), USER, PASSWORD, str(drop.pause_seconds), way]
        _run([sys.executable, "-c", _SMB, *words])

    return send


# ---- WebDAV, rclone --------------------------------------------------------------------------------------------------


def _put(server: str, *, empty_first: bool = False) -> Send:
    """Send by HTTP, with its length; as Windows and macOS do, after an empty file of the name."""

    def send(scene: Scene, drop: Drop) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", scene.server(server), timeout=300)
        if empty_first:
            connection.request("PUT", f"/{drop.name}", body=b"")
            assert connection.getresponse().read() is not None
        first, second = drop.halves
        connection.putrequest("PUT", f"/{drop.name}")
        connection.putheader("Content-Length", str(len(first) + len(second)))
        connection.endheaders(first)
        drop.rest()
        connection.send(second)
        answer = connection.getresponse()
        assert answer.status in (200, 201, 204), (answer.status, answer.read())
        connection.close()

    return send


def _put_by_curl(scene: Scene, drop: Drop) -> None:
    _fed(["curl", "-sSf", "-T", "-", f"http://127.0.0.1:{scene.server('rclone')}/{drop.name}"], drop)


def _rclone(scene: Scene, drop: Drop) -> None:
    limit = f"--bwlimit={drop.slow}B"
    command = [
        "rclone",
        f"--config={scene.folder('rclone')}/conf",
        limit,
        "--buffer-size=0",
        "--multi-thread-streams=0",
    ]
    _stopped([*command, "copyto", str(drop.source), str(drop.target)], drop)


# ---- downloads -------------------------------------------------------------------------------------------------------


def _aria2(allocation: str) -> Send:
    def send(scene: Scene, drop: Drop) -> None:
        options = [
            f"--file-allocation={allocation}",
            "--timeout=300",
            "--disk-cache=0",
            "-q",
            "--no-conf",
            "-x1",
            "-s1",
        ]
        _run(["aria2c", *options, "-d", str(scene.inbox), "-o", drop.name, scene.offered(drop)])

    return send


def _curl(scene: Scene, drop: Drop) -> None:
    _run(["curl", "-sSf", "-o", str(drop.target), scene.offered(drop)])


def _wget(scene: Scene, drop: Drop) -> None:
    _run(["wget", "-q", "-O", str(drop.target), "--timeout=300", scene.offered(drop)])


def _browser(suffix: str, *, empty_first: bool) -> Send:
    """Write under another name, rename when it is whole; Firefox makes an empty file of the final name first."""

    def send(_scene: Scene, drop: Drop) -> None:
        if empty_first:
            drop.target.touch()
        temporary = drop.target.with_name(drop.name + suffix)
        _written(temporary, drop)
        temporary.replace(drop.target)

    return send


# ---- Syncthing -------------------------------------------------------------------------------------------------------


def _syncthing_home(home: Path, folder: Path, kind: str) -> tuple[ET.Element, str, str]:
    """Make an instance with one folder, which speaks on loopback alone; return its config, its id and its address.

    With a low priority it would leave its process group.
    """
    _run(["syncthing", "generate", f"--home={home}", "--no-default-folder"])
    told = subprocess.run(["syncthing", f"--home={home}", "--device-id"], check=True, capture_output=True, text=True)
    root = ET.fromstring((home / "config.xml").read_text())  # noqa: S314 - written by the program that we test with
    options, address = _child(root, "options"), f"tcp://127.0.0.1:{free_port()}"
    no = (
        "globalAnnounceEnabled",
        "localAnnounceEnabled",
        "relaysEnabled",
        "natEnabled",
        "startBrowser",
        "crashReportingEnabled",
        "setLowPriority",
    )
    said = {**dict.fromkeys(no, "false"), "listenAddress": address, "limitBandwidthInLan": "true", "urAccepted": "-1"}
    for name, value in said.items():
        _child(options, name).text = value
    _child(_child(root, "gui"), "address").text = f"127.0.0.1:{free_port()}"
    attributes = {"id": "inbox", "path": str(folder), "type": kind, "fsWatcherEnabled": "true", "fsWatcherDelayS": "1"}
    ET.SubElement(root, "folder", attributes)
    (folder / ".stfolder").mkdir(exist_ok=True)
    return root, told.stdout.strip(), address


def _child(node: ET.Element, name: str) -> ET.Element:
    found = node.find(name)
    assert found is not None, name
    return found


def _syncthing(scene: Scene, drop: Drop) -> None:
    """Let one instance send to another one, which has the inbox; the sender is stopped in the middle."""
    homes = [scene.folder(f"{way}-{drop.name}") for way in ("sender", "receiver")]
    outgoing = scene.folder(f"outgoing-{drop.name}")
    made = [
        _syncthing_home(homes[0], outgoing, "sendonly"),
        _syncthing_home(homes[1], drop.target.parent, "receiveonly"),
    ]
    _child(_child(made[0][0], "options"), "maxSendKbps").text = str(drop.slow // 1024)
    for home, (root, _, _) in zip(homes, made, strict=True):
        for _, device, address in made:
            if root.find(f"device[@id='{device}']") is None:
                node = ET.SubElement(root, "device", {"id": device, "name": device[:7]})
                ET.SubElement(node, "address").text = address
            ET.SubElement(_child(root, "folder"), "device", {"id": device})
        (home / "config.xml").write_bytes(ET.tostring(root))
    shutil.copyfile(drop.source, outgoing / drop.name)
    temporary = drop.target.with_name(f".syncthing.{drop.name}.tmp")
    with contextlib.ExitStack() as stack:
        sender, _ = [
            stack.enter_context(_serving(["syncthing", "serve", "--no-restart", f"--home={home}"])) for home in homes
        ]
        scene.until(temporary.exists, str(temporary))
        os.killpg(sender.pid, signal.SIGSTOP)
        drop.rest()
        assert temporary.exists(), "Syncthing was too fast"
        os.killpg(sender.pid, signal.SIGCONT)
        scene.until(lambda: not temporary.exists(), drop.name)


@contextlib.contextmanager
def _serving(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# ---- this machine's programs -----------------------------------------------------------------------------------------


def _command(*words: str) -> Send:
    """Run a program that reads the file from its standard input, and gets its target as the last word."""
    return lambda _scene, drop: _fed([*words[:-1], words[-1].format(drop.target)], drop)


def _tar(scene: Scene, drop: Drop) -> None:
    archive = scene.folder("tar") / f"{drop.name}.tar"
    _run(["tar", "-C", str(drop.source.parent), "-cf", str(archive), drop.name])
    _fed(["tar", "-C", str(scene.inbox), "-xf", "-"], Drop(drop.target, archive, drop.pause_seconds))


def _unzip(scene: Scene, drop: Drop) -> None:
    archive = scene.folder("zip") / f"{drop.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(drop.source, drop.name)
    _held_up(["unzip", "-q", "-o", str(archive), "-d", str(scene.inbox)], drop)


def _cp(_scene: Scene, drop: Drop) -> None:
    _held_up(["cp", "--reflink=never", "--sparse=never", str(drop.source), str(drop.target)], drop)


def _mv(_scene: Scene, drop: Drop) -> None:
    elsewhere = Path("/dev/shm") / f"{os.getpid()}-{drop.name}"  # noqa: S108 - another filesystem
    shutil.copyfile(drop.source, elsewhere)
    _held_up(["mv", str(elsewhere), str(drop.target)], drop)


def _moved(scene: Scene, drop: Drop) -> None:
    """Move a file that is still written, as a sync program does from its cache."""
    cache = scene.folder("cache") / drop.name
    first, second = drop.halves
    with cache.open("wb") as file:
        file.write(first)
        file.flush()
        cache.rename(drop.target)
        drop.rest()
        file.write(second)


def _renamed(scene: Scene, drop: Drop) -> None:
    """Write in a cache, then move, as Dropbox does."""
    cache = scene.folder("cache") / drop.name
    _written(cache, drop)
    cache.rename(drop.target)


def _linked(scene: Scene, drop: Drop) -> None:
    """Give a temporary file its final name by a second link, write on, and remove the first name."""
    temporary = scene.folder("link") / drop.name
    first, second = drop.halves
    with temporary.open("wb") as file:
        file.write(first)
        file.flush()
        drop.target.hardlink_to(temporary)
        temporary.unlink()
        drop.rest()
        file.write(second)


def _vim(_scene: Scene, drop: Drop) -> None:
    """Save the first lines, and all of them after a pause: the swap file is there meanwhile."""
    saved = ["read {}", "1,20write!", "sleep {}", "write!", "qa!"]
    saved[0], saved[2] = saved[0].format(drop.source), saved[2].format(int(drop.pause_seconds))
    commands = [part for command in (f"edit {drop.target}", *saved) for part in ("-c", command)]
    _run(["vim", "-u", "NONE", "-N", "-es", *commands], stdin=subprocess.DEVNULL)


def _saved_by_rename(_scene: Scene, drop: Drop) -> None:
    """Save a part, then the whole by a temporary file and a rename, as most editors do."""
    drop.target.write_bytes(drop.halves[0])
    drop.rest()
    temporary = drop.target.with_name(f"{drop.name}~")
    temporary.write_bytes(drop.source.read_bytes())
    temporary.replace(drop.target)


def _saved_by_deleting(_scene: Scene, drop: Drop) -> None:
    """Save a part, then delete it and write the whole."""
    drop.target.write_bytes(drop.halves[0])
    drop.rest()
    drop.target.unlink()
    drop.target.write_bytes(drop.source.read_bytes())


def _saved_in_place(_scene: Scene, drop: Drop) -> None:
    """Save a part, then open and write it again, as nano does."""
    drop.target.write_bytes(drop.halves[0])
    drop.rest()
    drop.target.write_bytes(drop.source.read_bytes())


def _mapped(_scene: Scene, drop: Drop) -> None:
    """Set the full size first, as Windows does, and fill it later."""
    with drop.target.open("wb") as file:
        file.truncate(len(drop.source.read_bytes()))
    _written(drop.target, drop, "r+b")


_SSH: Final = ("sshd", "ssh", "ssh-keygen")

CLIENTS: Final = (
    Client("SMB: smbclient `put -`", ("smbd", "smbclient"), _smbclient),
    Client("SMB: size first (Windows Explorer)", ("smbd",), _smb("explorer")),
    Client("SMB: with `._` file (macOS Finder)", ("smbd",), _smb("finder")),
    Client("rsync", ("rsync",), _rsync()),
    Client("rsync --inplace", ("rsync",), _rsync("--inplace")),
    Client("rsync --append", ("rsync",), _rsync("--append")),
    Client("rsync --delay-updates", ("rsync",), _rsync("--delay-updates")),
    Client("rsync --partial-dir", ("rsync",), _rsync("--partial-dir=.rsync-partial")),
    Client("rsync --partial, broken off, resumed", ("rsync",), _rsync_broken_off),
    Client("rsync over ssh --inplace", ("rsync", *_SSH), _rsync("--inplace", by="ssh")),
    Client("rsync daemon --inplace", ("rsync",), _rsync("--inplace", by="daemon")),
    Client("scp", ("scp", *_SSH), _scp(), formats=BIG),
    Client("scp -O", ("scp", *_SSH), _scp("-O")),
    Client("sftp", ("sftp", *_SSH), _sftp("")),
    Client("sftp with .filepart", ("sftp", *_SSH), _sftp(".filepart")),
    Client("sshfs", ("sshfs", *_SSH), _sshfs),
    Client("WebDAV PUT to rclone", ("rclone",), _put("rclone")),
    Client("WebDAV PUT to rclone, empty file first", ("rclone",), _put("rclone", empty_first=True)),
    Client("WebDAV PUT by curl -T -", ("rclone", "curl"), _put_by_curl),
    Client("WebDAV PUT to nginx", ("nginx",), _put("nginx")),
    Client("Syncthing", ("syncthing",), _syncthing, formats=BIG),
    Client("rclone copy", ("rclone",), _rclone),
    *(
        Client(f"aria2 --file-allocation={how}", ("aria2c",), _aria2(how))
        for how in ("none", "prealloc", "trunc", "falloc")
    ),
    Client("curl -o", ("curl",), _curl),
    Client("wget -O", ("wget",), _wget),
    Client("browser: .crdownload, rename", (), _browser(".crdownload", empty_first=False)),
    Client("browser: .part, empty file first", (), _browser(".part", empty_first=True)),
    Client("cat from a pipe", ("sh",), _command("sh", "-c", 'cat >"{}"')),
    Client("cp from a pipe", ("cp",), _command("cp", "/dev/stdin", "{}")),
    Client("dd", ("dd",), _command("dd", "bs=64k", "status=none", "of={}")),
    Client("cp", ("cp", "strace"), _cp),
    Client("mv from another filesystem", ("mv", "strace"), _mv),
    Client("tar from a pipe", ("tar",), _tar),
    Client("unzip", ("unzip", "strace"), _unzip),
    Client("moved in, still written", (), _moved),
    Client("written in a cache, moved (Dropbox)", (), _renamed),
    Client("linked in, still written", (), _linked),
    Client("size first, filled later", (), _mapped),
    Client("vim, saved twice", ("vim",), _vim, formats=TEXTS),
    Client("editor that saves by rename", (), _saved_by_rename, CLOSED_PAUSE_SECONDS),
    Client("editor that deletes and writes", (), _saved_by_deleting, CLOSED_PAUSE_SECONDS),
    Client("editor that saves in place", (), _saved_in_place, CLOSED_PAUSE_SECONDS),
)
