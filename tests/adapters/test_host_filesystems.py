"""What kind of filesystem a folder lies on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rodin_watchd.adapters.host import Filesystem, filesystem_of, holding, mounted_below, parse_mountinfo

MOUNTINFO = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:50 / /srv rw,relatime shared:2 master:3 propagate_from:1 - xfs /dev/vdb rw
41 40 0:51 / /srv/the\040share rw,relatime - cifs //server/a\040share rw
42 40 0:52 / /srv/back\134slash\011tab\012line rw,relatime - nfs4 server:/x rw
43 27 0:53 / /mnt/auto rw,relatime - autofs systemd-1 rw
44 43 0:54 / /mnt/auto rw,relatime - nfs server:/y rw
"""


def mount_line(mount_point: str, kind: str = "ext4", optional: str = "") -> str:
    """Write a mountinfo line as the kernel does."""
    escaped = "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in mount_point)
    return f"36 35 98:0 / {escaped} rw,noatime {optional}- {kind} /dev/root rw\n"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", Filesystem("ext4", network=False, mount_point="/")),
        ("/home/a", Filesystem("ext4", network=False, mount_point="/")),
        ("/srv", Filesystem("xfs", network=False, mount_point="/srv")),
        ("/srv/the share/in", Filesystem("cifs", network=True, mount_point="/srv/the share")),
        ("/srv/the share two", Filesystem("xfs", network=False, mount_point="/srv")),
        ("/srvx", Filesystem("ext4", network=False, mount_point="/")),
        ("/srv/back\\slash\ttab\nline/x", Filesystem("nfs4", network=True, mount_point="/srv/back\\slash\ttab\nline")),
    ],
)
def test_longest_mount_point_wins(path: str, expected: Filesystem) -> None:
    """A path lies on the filesystem whose mount point is the longest whole-component prefix."""
    assert holding(parse_mountinfo(MOUNTINFO), path) == expected


def test_later_mount_covers_an_earlier_one() -> None:
    """Of two mounts on one point the later one is what programs see."""
    assert holding(parse_mountinfo(MOUNTINFO), "/mnt/auto/x").kind == "nfs"


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/srv", {"the share": "cifs", "back\\slash\ttab\nline": "nfs4"}),
        ("/mnt", {"auto": "nfs"}),
        ("/mnt/auto", {}),
        ("/sr", {}),
        (
            "/",
            {
                "proc": "proc",
                "srv": "xfs",
                "srv/the share": "cifs",
                "srv/back\\slash\ttab\nline": "nfs4",
                "mnt/auto": "nfs",
            },
        ),
    ],
)
def test_what_is_mounted_below(path: str, below: dict[str, str]) -> None:
    """By the path relative to it; of two mounts on one point the later one."""
    assert {at: found.kind for at, found in mounted_below(parse_mountinfo(MOUNTINFO), path).items()} == below


def test_a_later_mount_covers_what_is_below_it() -> None:
    """Also what was mounted deeper, and all that was mounted before its place was covered."""
    lines = [
        mount_line("/srv/in/a"),
        mount_line("/srv/in/a/b"),
        mount_line("/srv/in/ab"),
        mount_line("/srv/in/a", "xfs"),
    ]
    assert {at: found.kind for at, found in mounted_below(parse_mountinfo("".join(lines)), "/srv/in").items()} == {
        "ab": "ext4",
        "a": "xfs",
    }
    lines.append(mount_line("/srv"))
    assert mounted_below(parse_mountinfo("".join(lines)), "/srv/in") == {}


@pytest.mark.parametrize(
    "kind",
    [
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse", "fuse.sshfs", "fuse.rclone", "9p", "virtiofs", "ceph"),
        *("vboxsf", "vmhgfs", "afs", "glusterfs", "lustre", "davfs", "ocfs2", "fakeowner"),
    ],
)
def test_network_kinds(kind: str) -> None:
    """Every kind that other machines may write to counts as a network filesystem."""
    assert parse_mountinfo(mount_line("/x", kind)) == (Filesystem(kind, network=True, mount_point="/x"),)


@pytest.mark.parametrize(
    "kind", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "fuse.fuse-overlayfs", "nfsd", "fusectl"]
)
def test_local_kinds(kind: str) -> None:
    """Disks of this machine do not count as network filesystems, whatever their names begin with."""
    assert parse_mountinfo(mount_line("/x", kind)) == (Filesystem(kind, network=False, mount_point="/x"),)


@pytest.mark.parametrize("line", ["", "garbage", "1 2 3 4 5 6", "1 2 3 4 /x rw shared:1", "1 2 3 4 /x rw -"])
def test_other_lines_are_passed_over(line: str) -> None:
    """A line that is not of the documented form hides nothing that follows it."""
    assert [found.mount_point for found in parse_mountinfo(line + "\n" + mount_line("/x"))] == ["/x"]


def test_no_mount_at_all_is_unknown() -> None:
    """Without any mount above it a path is on an unknown filesystem, not on a network."""
    assert holding((), "/x") == Filesystem("unknown", network=False, mount_point="")


@given(
    st.text(st.characters(exclude_characters="\0", max_codepoint=0xDFFF), min_size=1, max_size=30),
    st.sampled_from(["", "shared:1 ", "shared:1 master:2 "]),
)
def test_any_mount_point_is_read_back(name: str, optional: str) -> None:
    """Whatever a mount point is called, also with lone surrogates, the parser gives the name back."""
    (found,) = parse_mountinfo(mount_line("/" + name, optional=optional))
    assert found.mount_point == "/" + name


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="mounts are read from Linux's /proc")
def test_real_mounts() -> None:
    """On this machine /proc is known for what it is, also through a symbolic link and for a path that is missing."""
    assert filesystem_of(Path("/proc/self/missing")) == Filesystem("proc", network=False, mount_point="/proc")


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="mounts are read from Linux's /proc")
def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    """What counts is where a link leads, not where it lies."""
    link = tmp_path / "link"
    link.symlink_to("/proc")
    assert filesystem_of(link).kind == "proc"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a tmpfs")
def test_mount_point_with_an_odd_name(tmp_path: Path) -> None:
    """A mounted tmpfs whose mount point holds a space, a carriage return and bytes that are not UTF-8 is found."""
    folder = tmp_path / os.fsdecode(b"a share\r\xff")
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        assert filesystem_of(folder / "x") == Filesystem("tmpfs", network=False, mount_point=str(folder))
    finally:
        subprocess.run(["umount", folder], check=True)
