"""How much memory processes have: what counts against a plugin's limit.

Addresses are not counted: Node.js, Java, Go and Blender reserve many times what they use. Neither are pages of files that are
only read, which the kernel takes back whenever it needs them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

_OWN: Final = ("status", frozenset({b"RssAnon", b"RssShmem", b"VmSwap"}))
_SHARES: Final = ("smaps_rollup", frozenset({b"Pss_Anon", b"Pss_Shmem", b"SwapPss"}))
"""proc(5): fields in KiB. A page that processes share is counted whole in each one's `status`; in `smaps_rollup`, which
costs the kernel a walk over all pages, each has its share of it."""


def used_bytes(pids: Collection[int], most: int) -> int:
    """Return how much memory processes have together, swapped out or not; what has ended has none.

    Up to `most`, the number may count pages that they share more than once. Above, it counts each page once.
    """
    total = sum(_sum(pid, *_OWN) or 0 for pid in pids)
    return total if total <= most else sum(_sum(pid, *_SHARES) or _sum(pid, *_OWN) or 0 for pid in pids)


def _sum(pid: int, table: str, fields: frozenset[bytes]) -> int | None:
    """Return the sum of some fields of a process, in bytes; None where it cannot be read."""
    with contextlib.suppress(OSError):
        lines = (line.partition(b":") for line in Path("/proc", str(pid), table).read_bytes().splitlines())
        return sum(int(value.split()[0]) << 10 for name, _, value in lines if name in fields)
    return None
