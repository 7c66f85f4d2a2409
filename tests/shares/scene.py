"""The scene for real clients: a service as a process, and real servers that share its inbox, on loopback and without root's ports."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import tomli_w
from workshop import KEY, Vendor, emulated

from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.config import load_config
from rodin_watchd.model import Job, State
from rodin_watchd.settings import journal_path

USER, PASSWORD = "nobody", "share-1"
"""Who drops files by the file server: another user than the service's."""

READY_SECONDS = 60.0
CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Drop:
    """A file that a client sends: from `source` to `target`, with a pause after the first half."""

    target: Path
    source: Path
    pause_seconds: float

    @property
    def name(self) -> str:
        """Its name in the inbox."""
        return self.target.name

    @property
    def halves(self) -> tuple[bytes, bytes]:
        """What comes before the pause, and what comes after it."""
        data = self.source.read_bytes()
        return data[: len(data) // 2], data[len(data) // 2 :]

    @property
    def slow(self) -> int:
        """So many bytes in a second that the client needs several seconds."""
        return max(1024, self.source.stat().st_size // 6)

    def rest(self) -> None:
        """Pause as the client does."""
        time.sleep(self.pause_seconds)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Scene:
    """The inbox, its servers, and room for the clients. Each server starts when a client asks for it first."""

    def __init__(self, home: Path, base_url: str, watcher: str = "native") -> None:
        """Write the service's config, with the quiet times as they are by default."""
        self.home, self.root = home, home / "root"
        self.inbox = self.root / "inbox"
        self.inbox.mkdir(parents=True)
        for folder in (home, self.root):
            folder.chmod(0o755)
        self.inbox.chmod(0o777)
        self.stack, self._lock = contextlib.ExitStack(), threading.RLock()
        config = {
            "api": {"base_url": base_url, "requests_per_minute": 10_000, "max_in_flight": 64},
            "intake": {"watcher": watcher, "sidecar_wait_seconds": 0},
            "polling": {"min_seconds": 1, "max_seconds": 2},
        }
        self.config = self.root / "config.toml"
        self.config.write_text(tomli_w.dumps(config))

    # ---- the service --------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Start the service."""
        command = [sys.executable, "-m", "rodin_watchd", "run", "--config", str(self.config)]
        log = self.stack.enter_context((self.home / "service.log").open("w"))
        environment = {**os.environ, "RODIN_API_KEY": KEY}
        self._run(subprocess.Popen(command, env=environment, stderr=log, stdin=subprocess.DEVNULL))
        self.until(lambda: "drop sets into" in (self.home / "service.log").read_text(), "the service")

    def jobs(self) -> list[Job]:
        """Return all jobs but those whose set went back into the inbox."""
        with contextlib.closing(JournalReader(journal_path(load_config(self.config), os.environ))) as journal:
            return [job for job in journal.jobs() if job.state is not State.RETURNED]

    # ---- servers ------------------------------------------------------------------------------------------------------

    def _run(self, process: subprocess.Popen[bytes]) -> None:
        self.stack.callback(_end, process)

    def _started(self, command: list[str], port: int) -> int:
        log = self.stack.enter_context((self.home / f"{Path(command[0]).name}-{port}.log").open("wb"))
        self._run(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True))
        self.until(partial(_listens, port), command[0])
        return port

    @staticmethod
    def until(is_so: Callable[[], bool], what: str) -> None:
        """Wait until something is there."""
        end = time.monotonic() + READY_SECONDS
        while not is_so():
            assert time.monotonic() < end, f"{what} did not come"
            time.sleep(0.05)

    def server(self, name: str) -> int:
        """Return the port of a server; start it if it does not run."""
        with self._lock:
            if name not in self._ports:
                folder = self.home / name
                folder.mkdir()
                self._ports[name] = self._starters[name](folder, free_port())
            return self._ports[name]

    @property
    def _starters(self) -> dict[str, Callable[[Path, int], int]]:
        return {
            "smbd": self._smbd,
            "sshd": self._sshd,
            "rsyncd": self._rsyncd,
            "rclone": self._rclone,
            "nginx": self._nginx,
            "download": self._download,
        }

    @cached_property
    def _ports(self) -> dict[str, int]:
        return {}

    def _smbd(self, folder: Path, port: int) -> int:
        """Start Samba with a share for another user than the service's."""
        places = dict.fromkeys(
            (
                *("private dir", "lock directory", "state directory", "cache directory", "pid directory"),
                *("ncalrpc dir", "binddns dir", "usershare path"),
            ),
            folder,
        )
        text = "\n".join(
            [
                "[global]",
                *(f"{word} = {place}" for word, place in places.items()),
                *(
                    f"smb ports = {port}",
                    "interfaces = 127.0.0.1",
                    "bind interfaces only = yes",
                    "disable spoolss = yes",
                ),
                *(
                    f"passdb backend = tdbsam:{folder}/passdb.tdb",
                    "load printers = no",
                    "server role = standalone server",
                ),
                *("map to guest = never", "log level = 1", f"log file = {folder}/log"),
                *("[inbox]", f"path = {self.inbox}", "read only = no", "create mask = 0664"),
            ]
        )
        config = folder / "smb.conf"
        config.write_text(text)
        command = ["smbpasswd", "-c", str(config), "-s", "-a", USER]
        subprocess.run(command, input=f"{PASSWORD}\n{PASSWORD}\n", text=True, check=True, capture_output=True)
        return self._started(["smbd", "-F", "--no-process-group", "-s", str(config), "--debug-stdout"], port)

    def _sshd(self, folder: Path, port: int) -> int:
        """Start OpenSSH for a key of our own."""
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        lines = [
            *(
                f"Port {port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {folder}/host",
                f"PidFile {folder}/pid",
                "UsePAM no",
            ),
            *(f"AuthorizedKeysFile {folder}/user.pub", "StrictModes no", "PermitRootLogin yes", "MaxStartups 500"),
            "Subsystem sftp internal-sftp",
        ]
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")
        return self._started([shutil.which("sshd") or "", "-D", "-e", "-f", str(folder / "sshd_config")], port)

    def ssh(self) -> list[str]:
        """Return the options with which a client of OpenSSH reaches the server."""
        port = self.server("sshd")
        words = (f"Port={port}", f"IdentityFile={self.home}/sshd/user", "StrictHostKeyChecking=no", "BatchMode=yes")
        own = (f"UserKnownHostsFile={self.home}/sshd/known", "LogLevel=ERROR", "IdentitiesOnly=yes")
        return [part for word in (*words, *own) for part in ("-o", word)]

    def _rsyncd(self, folder: Path, port: int) -> int:
        lines = [f"port = {port}", "address = 127.0.0.1", "use chroot = no", f"pid file = {folder}/pid", "uid = root"]
        lines += ["gid = root", "[inbox]", f"path = {self.inbox}", "read only = no"]
        (folder / "rsyncd.conf").write_text("\n".join(lines) + "\n")
        return self._started(["rsync", "--daemon", "--no-detach", f"--config={folder}/rsyncd.conf"], port)

    def _rclone(self, folder: Path, port: int) -> int:
        config = f"--config={folder}/rclone.conf"
        return self._started(["rclone", "serve", "webdav", config, f"--addr=127.0.0.1:{port}", str(self.inbox)], port)

    def _nginx(self, folder: Path, port: int) -> int:
        temporary = " ".join(
            f"{word}_temp_path {folder}/{word};" for word in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
        )
        text = f"""
            worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; daemon off; user root;
            events {{ worker_connections 500; }}
            http {{
                access_log off; {temporary} client_max_body_size 100m; client_body_timeout 300s;
                server {{
                    listen 127.0.0.1:{port}; root {self.inbox};
                    location / {{ dav_methods PUT DELETE MKCOL COPY MOVE; dav_access user:rw group:rw all:r; }}
                }}
            }}
        """
        (folder / "nginx.conf").write_text(text)
        return self._started(
            ["nginx", "-e", f"{folder}/first.log", "-p", str(folder), "-c", str(folder / "nginx.conf")], port
        )

    def _download(self, _folder: Path, port: int) -> int:
        """Start a server that stalls in the middle of each file."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), partial(_Stalling, self))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        return port

    def offered(self, drop: Drop) -> str:
        """Return the address of a file on the server that stalls."""
        port = self.server("download")
        self.offers[drop.name] = drop
        return f"http://127.0.0.1:{port}/{drop.name}"

    @cached_property
    def offers(self) -> dict[str, Drop]:
        """What can be downloaded, by name."""
        return {}

    def folder(self, name: str) -> Path:
        """Return a folder of the scene, for a client."""
        folder = self.home / "clients" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def sshfs(self) -> Path:
        """Return the inbox as sshfs shows it."""
        with self._lock:
            place = self.folder("sshfs")
            subprocess.run(["sshfs", *self.ssh(), f"root@127.0.0.1:{self.inbox}", str(place)], check=True)
            self.stack.callback(subprocess.run, ["umount", "-l", str(place)], check=False)
        return place

    def mount_sshfs(self, folder: Path, place: Path) -> subprocess.Popen[bytes]:
        """Mount a folder by sshfs, and return the process that a test may kill."""
        process = subprocess.Popen(["sshfs", "-f", *self.ssh(), f"root@127.0.0.1:{folder}", str(place)])
        self.stack.callback(subprocess.run, ["umount", "-l", str(place)], check=False, capture_output=True)
        self._run(process)
        self.until(lambda: place.is_mount() or process.poll() is not None, "the mount of sshfs")
        return process

    def unmount(self, place: Path) -> None:
        """Unmount what may be dead."""
        subprocess.run(["umount", "-l", str(place)], check=True)


class _Stalling(http.server.BaseHTTPRequestHandler):
    """Gives the first half of a file, pauses, and gives the rest."""

    def __init__(self, scene: Scene, *args: object) -> None:
        self._scene = scene
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        drop = self._head()
        first, second = drop.halves
        self.wfile.write(first)
        self.wfile.flush()
        drop.rest()
        self.wfile.write(second)

    def _head(self) -> Drop:
        drop = self._scene.offers[self.path.strip("/")]
        self.send_response(200)
        self.send_header("Content-Length", str(len(drop.source.read_bytes())))
        self.end_headers()
        return drop

    def log_message(self, *_words: object) -> None:
        pass


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server, and the processes of its session."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def scene(home: Path) -> Iterator[tuple[Scene, Vendor]]:
    """Give a scene whose service runs, and the vendor that it pays."""
    with emulated() as vendor:
        there = Scene(home, vendor.emulator.base_url)
        with there.stack:
            there.serve()
            yield there, vendor
