"""A filesystem for tests that knows no folder again: each look-up of a name gives it another node, as some FUSE servers do.

What is watched is the node of one look-up, what is written is in the node of another: inotify reports nothing, though all files are
there. It shows a folder of this machine, and ends with its mount. Run as a process: `forgetful_fuse.py FOLDER PLACE TYPE`; it writes
a line when it is mounted. The protocol is fuse(4), the kernel's linux/fuse.h, version 7.31.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

_HEADER = struct.Struct("<IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, padding
_ANSWER = struct.Struct("<IiQ")  # length, error, unique
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_OPENED = struct.Struct("<QII")
_MOST_BYTES = 131_072
_SIZE, _MODE, _MTIME = 8, 1, 32  # setattr: which are valid


@contextlib.contextmanager
def forgetful(folder: Path, place: Path, kind: str = "fuse.fuse-overlayfs") -> Iterator[Path]:
    """Show a folder at another place by that filesystem, under the name of a type; it is unmounted at the end."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("only root may mount a filesystem, and needs /dev/fuse")
    for path in (folder, place):
        path.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, str(folder), str(place), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout
        if not server.stdout.readline():
            pytest.skip("mounting is not permitted here")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)
            server.kill()


class _Server:
    """Answers the kernel, one request after the other."""

    def __init__(self, folder: str, device: int) -> None:
        self._device = device
        self._paths = {1: folder}  # by node
        self._nodes = itertools.count(2)
        self._handles: dict[int, list[str]] = {}  # of open folders
        self._calls: Mapping[int, Callable[[int, bytes], bytes]] = {
            1: self._look_up,
            3: lambda node, _data: self._attributes(self._paths[node]),
            4: self._set_attributes,
            9: self._make_folder,
            10: self._unlink,
            11: self._remove_folder,
            12: lambda node, data: self._rename(node, data, 8),
            14: self._open,
            15: self._read,
            16: self._write,
            17: lambda _node, _data: struct.pack(
                "<QQQQQIIIIQQQ", 2**20, 2**20, 2**20, 2**20, 2**20, 4096, 255, *[0] * 5
            ),
            18: self._close,
            20: lambda _node, _data: b"",  # fsync
            25: lambda _node, _data: b"",  # flush
            26: lambda _node, _data: struct.pack(
                "<IIIIHHIIHHI7I", 7, 31, 65_536, 0, 12, 9, _MOST_BYTES, 1, 32, *[0] * 9
            ),
            27: self._open_folder,
            28: self._list,
            29: self._close_folder,
            30: lambda _node, _data: b"",  # fsync of a folder
            35: self._create,
            45: lambda node, data: self._rename(node, data, 16),
        }

    def serve(self) -> None:
        """Answer until the filesystem is unmounted."""
        while True:
            try:
                request = os.read(self._device, _MOST_BYTES + 65_536)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                continue
            _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
            if opcode in (2, 36, 42):  # forget, interrupt: no answer is expected
                continue
            failed, answer = 0, b""
            try:
                answer = self._calls[opcode](node, request[_HEADER.size :])
            except KeyError:
                failed = errno.ENOSYS
            except OSError as error:
                failed = error.errno or errno.EIO
            with contextlib.suppress(FileNotFoundError):  # whoever asked was interrupted
                os.write(self._device, _ANSWER.pack(_ANSWER.size + len(answer), -failed, unique) + answer)

    def _below(self, node: int, name: bytes) -> str:
        return os.path.join(self._paths[node], os.fsdecode(name.partition(b"\0")[0]))  # noqa: PTH118 - as short as its neighbours

    @staticmethod
    def _facts(path: str) -> bytes:
        found = os.lstat(path)
        times = [divmod(ns, 10**9) for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        sizes = (found.st_ino, found.st_size, found.st_blocks)
        owner = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0)
        return _ATTRIBUTES.pack(*sizes, *(s for s, _ in times), *(ns for _, ns in times), *owner)

    def _attributes(self, path: str) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._facts(path)

    def _entry(self, path: str) -> bytes:
        """Return the answer to a look-up: another node each time, which nobody may remember."""
        facts, node = self._facts(path), next(self._nodes)
        self._paths[node] = path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + facts

    def _look_up(self, node: int, data: bytes) -> bytes:
        return self._entry(self._below(node, data))

    def _set_attributes(self, node: int, data: bytes) -> bytes:
        valid, _, _, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode = struct.unpack_from("<IIQQQQQQIIII", data)
        path = self._paths[node]
        if valid & _SIZE:
            os.truncate(path, size)
        if valid & _MODE:
            os.chmod(path, stat.S_IMODE(mode))  # noqa: PTH101 - as short as its neighbours
        if valid & _MTIME:
            os.utime(path, ns=(atime * 10**9 + atime_ns, mtime * 10**9 + mtime_ns))
        return self._attributes(path)

    def _make_folder(self, node: int, data: bytes) -> bytes:
        path = self._below(node, data[8:])
        os.mkdir(path, struct.unpack_from("<I", data)[0])  # noqa: PTH102
        return self._entry(path)

    def _unlink(self, node: int, data: bytes) -> bytes:
        os.unlink(self._below(node, data))  # noqa: PTH108
        return b""

    def _remove_folder(self, node: int, data: bytes) -> bytes:
        os.rmdir(self._below(node, data))  # noqa: PTH106
        return b""

    def _rename(self, node: int, data: bytes, begin: int) -> bytes:
        old, new, *_ = data[begin:].split(b"\0")
        os.rename(self._below(node, old), self._below(struct.unpack_from("<Q", data)[0], new))  # noqa: PTH104
        return b""

    def _open(self, node: int, data: bytes) -> bytes:
        flags = struct.unpack_from("<I", data)[0] & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        return _OPENED.pack(os.open(self._paths[node], flags), 1, 0)

    def _create(self, node: int, data: bytes) -> bytes:
        flags, mode = struct.unpack_from("<II", data)
        path = self._below(node, data[16:])
        handle = os.open(path, flags | os.O_CREAT, mode)
        return self._entry(path) + _OPENED.pack(handle, 1, 0)

    @staticmethod
    def _read(_node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        return os.pread(handle, size, offset)

    @staticmethod
    def _write(_node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        return struct.pack("<II", os.pwrite(handle, data[40 : 40 + size], offset), 0)

    @staticmethod
    def _close(_node: int, data: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", data)[0])
        return b""

    def _open_folder(self, node: int, _data: bytes) -> bytes:
        names, handle = sorted(os.listdir(self._paths[node])), next(self._nodes)  # noqa: PTH208
        self._handles[handle] = names
        return _OPENED.pack(handle, 0, 0)

    def _list(self, node: int, data: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", data)
        answer = b""
        for number, name in enumerate(self._handles[handle][offset:], start=offset + 1):
            raw = os.fsencode(name)
            kind = os.lstat(f"{self._paths[node]}/{name}").st_mode >> 12
            entry = struct.pack("<QQII", number, number, len(raw), kind) + raw
            entry += bytes(-len(entry) % 8)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return answer

    def _close_folder(self, _node: int, data: bytes) -> bytes:
        del self._handles[struct.unpack_from("<Q", data)[0]]
        return b""


def _main(folder: str, place: str, kind: str) -> int:
    """Mount it and serve; exit code 1 where that is not permitted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"forgetful", os.fsencode(place), os.fsencode(kind), 0, options.encode()):
        return 1
    print("mounted", flush=True)  # noqa: T201 - for whoever started it
    _Server(folder, device).serve()
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
