"""Approval: when a crowd is one, what is held, and what a person lets go on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.core.approval import Gate, Pass

WINDOW = 10.0
modest = settings(max_examples=200, deadline=None)
names = st.sampled_from([f"{folder}set-{n}" for folder in ("", "a/", "a/b/") for n in range(5)])


def looked(gate: Gate, present: str, now: float, limit: int = 2) -> Gate:
    """Return the gate after a look at sets of one letter each."""
    return gate.looked(present, now, WINDOW, limit)


def test_the_limit_itself_passes() -> None:
    """Two may come at once."""
    assert looked(Gate(), "ab", 0.0).held == []
    assert sorted(looked(Gate(), "abc", 0.0).held) == ["a", "b", "c"]


def test_what_comes_within_one_rescan_counts_together() -> None:
    """However often the inbox is looked at, and also what was taken meanwhile."""
    gate = looked(Gate(), "a", 0.0)
    gate = looked(gate, "ab", 4.0)
    gate = looked(gate, "b", 5.0)  # `a` was taken
    gate = looked(gate, "bc", 6.0)
    assert sorted(gate.held) == ["b", "c"]


def test_what_comes_slowly_passes() -> None:
    """Each in a rescan of its own; and what has passed is not held later."""
    gate = Gate()
    for number, present in enumerate(("a", "ab", "abc", "abcd", "abcde")):
        gate = looked(gate, present, number * 6.0)
    assert gate.held == []
    gate = looked(gate, "abcdevwxyz", 60.0)
    assert sorted(gate.held) == list("vwxyz")


def test_what_is_held_stays_held_until_approved() -> None:
    """Time does not approve, nor does a smaller crowd."""
    gate = looked(looked(Gate(), "abc", 0.0), "a", 1000.0)
    assert gate.held == ["a"]
    assert looked(gate.approved(None), "a", 2000.0).held == []


def test_a_set_that_is_gone_is_forgotten() -> None:
    """One of its name that comes later is a new one."""
    gate = looked(looked(Gate(), "abc", 0.0), "", 1.0)
    assert gate.verdicts == {}
    assert looked(gate, "a", 100.0).held == []


def test_after_a_restart_verdicts_hold_and_what_had_passed_is_no_crowd() -> None:
    """Only what is new to the journal counts."""
    kept = Gate({"a": Pass.PASSED, "b": Pass.PASSED, "c": Pass.PASSED, "d": Pass.HELD})
    gate = looked(kept, "abcde", 0.0)
    assert gate.held == ["d"]
    assert looked(kept, "abcdefg", 0.0).held == ["d", *sorted("efg")] or sorted(
        looked(kept, "abcdefg", 0.0).held
    ) == list("defg")


def test_folders_are_approved_with_all_below() -> None:
    """A folder is no other one that begins with its letters; a name is one set; "." is the inbox itself."""
    gate = Gate(dict.fromkeys(["a/x", "a/b/y", "ab/z", "x", "odd\n/w"], Pass.HELD))
    assert sorted(gate.approved("a").held) == ["ab/z", "odd\n/w", "x"]
    assert sorted(gate.approved("a/x").held) == ["a/b/y", "ab/z", "odd\n/w", "x"]
    assert "x" not in gate.approved(".").held
    assert len(gate.approved(".").held) == 4
    assert "odd\n/w" not in gate.approved("odd\\n").held
    assert gate.approved(None).held == []
    assert gate.approved("nowhere") == gate
    assert Gate({"Mo\u0308bel/x": Pass.HELD}).approved("m\u00f6bel").held == []  # however it was typed


@modest
@given(st.lists(st.tuples(st.sets(names), st.floats(0, 30)), max_size=20), st.integers(0, 5))
def test_what_is_stored_is_what_is_known(looks: list[tuple[set[str], float]], limit: int) -> None:
    """The changes of each look, applied one after the other, give the verdicts; and no more than the limit slip through."""
    gate, stored, now = Gate(), dict[str, str](), 0.0
    for present, passed in looks:
        now += passed
        after = gate.looked(present, now, WINDOW, limit)
        for name, verdict in after.changes_from(gate).items():
            stored.pop(name, None)
            if verdict:
                stored[name] = verdict
        gate = after
        assert stored == {name: verdict.value for name, verdict in gate.verdicts.items()}
        assert gate.verdicts.keys() <= present
        fresh = [
            name for name in present if gate.arrived[name] > now - WINDOW and gate.verdicts.get(name) is not Pass.HELD
        ]
        assert len(fresh) <= limit
