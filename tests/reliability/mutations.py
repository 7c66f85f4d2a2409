"""Real data, damaged: bits flipped, bytes put in and taken out, lengths made absurd, ends cut, parts repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from hypothesis import strategies as st

NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1_000_000_000)
NEAR_BYTES = 600
"""Heads and tails hold what readers go by: most damage is done there."""


class Damage(NamedTuple):
    """One thing that is done to some bytes."""

    kind: str
    place: int  # from the beginning, or, below 0, from the end; taken modulo the length
    data: bytes
    size: int

    def done_to(self, data: bytes) -> bytes:
        """Return the bytes with this damage."""
        at = self.place % (len(data) or 1)
        before, after = data[:at], data[at:]
        return before + _DONE[self.kind](self, after)


_DONE: Mapping[str, Callable[[Damage, bytes], bytes]] = {
    "flip": lambda damage, after: bytes(byte ^ (1 << damage.size % 8) for byte in after[:1]) + after[1:],
    "write": lambda damage, after: damage.data + after[len(damage.data) :],
    "insert": lambda damage, after: damage.data + after,
    "delete": lambda damage, after: after[damage.size :],
    "cut": lambda _damage, _after: b"",
    "repeat": lambda damage, after: after[: damage.size] * 3 + after[damage.size :],
}


def numbers() -> st.SearchStrategy[bytes]:
    """Give numbers as formats write them, absurd ones among them."""
    order = st.sampled_from(["little", "big"])
    return st.builds(lambda n, way: n.to_bytes(4, way), st.sampled_from(NUMBERS) | st.integers(0, 2**32 - 1), order)


def damages() -> st.SearchStrategy[Damage]:
    """Give one damage."""
    places = st.integers(-NEAR_BYTES, NEAR_BYTES) | st.integers(-(10**6), 10**6)
    kinds = st.sampled_from(sorted(_DONE))
    return st.builds(Damage, kinds, places, numbers() | st.binary(min_size=1, max_size=40), st.integers(1, 5000))


class Wreck:
    """A damaged sample, which shows what was done to it instead of its bytes."""

    def __init__(self, name: str, done: Sequence[Damage], data: bytes) -> None:
        self.name = name
        self.done = done
        self.data = data

    def __repr__(self) -> str:
        return f"<{self.name}, {list(self.done)}>"


def damaged(samples: Mapping[str, bytes]) -> st.SearchStrategy[Wreck]:
    """Give a sample with up to six damages."""

    def wreck(name: str, done: Sequence[Damage]) -> Wreck:
        return Wreck(name, done, reduce(lambda data, damage: damage.done_to(data), done, samples[name]))

    return st.builds(wreck, st.sampled_from(sorted(samples)), st.lists(damages(), max_size=6))
