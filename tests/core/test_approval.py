"""Approval: when a crowd is one, what is held, and what a person lets go on."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from rodin_watchd.core.approval import Found, Gate, GateKey, Pass

WINDOW = 10.0
modest = settings(max_examples=200, deadline=None)
names = st.sampled_from([f"{folder}set-{n}" for folder in ("", "a/", "a/b/") for n in range(5)])


def looked(gate: Gate, present: str, now: float, limit: int = 2, version: str = "v1") -> Gate:
    """Return the gate after a look at sets of one letter each, whose files are settled."""
    return gate.looked(dict.fromkeys(present, Found(version, settled=True)), now, WINDOW, limit)


def stored(verdicts: Mapping[str, Pass], version: str = "v1") -> Gate:
    """Return the gate of a run before."""
    return Gate.stored({GateKey(name, version): verdict for name, verdict in verdicts.items()}, 0.0)


def approved(gate: Gate, folder: str | None) -> Gate:
    """Return the gate when all that is held now was seen."""
    return gate.approved(folder, gate.by_key.keys())


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


def looked_idle(gate: Gate, present: str, now: float) -> Gate:
    """Return the gate after a look while nothing is taken."""
    return gate.looked(dict.fromkeys(present, Found("v1", settled=True)), now, WINDOW, 2, idle=True)


def test_what_comes_while_nothing_is_taken_counts_together() -> None:
    """However slowly, and also with what comes right after; what had passed before stays passed."""
    gate = looked(looked(Gate(), "ab", 0.0), "ab", 20.0)
    for number, present in enumerate(("abc", "abcd", "abcd")):
        gate = looked_idle(gate, present, 100.0 + number * 60)
        assert gate.held == []
    assert sorted(looked_idle(gate, "abcde", 300.0).held) == list("cde")
    assert sorted(looked(gate, "abcde", 300.0).held) == list("cde")
    assert looked(gate, "abcd", 1000.0).held == []
    assert sorted(looked(looked(gate, "abcd", 1000.0), "cde", 1009.0).held) == list("cde")
    assert looked(looked(gate, "abcd", 1000.0), "cde", 1011.0).held == []


def test_the_whole_crowd_of_a_pause_is_held() -> None:
    """Also those that come long after the first were held; but an older crowd that still waits makes no new one."""
    gate = looked(Gate(), "abc", 0.0)
    for number in range(5):
        gate = looked_idle(gate, "abcdefgh"[: 4 + number], 100.0 + number * 60)
    assert sorted(gate.held) == list("abcdefgh")
    older = looked_idle(looked_idle(looked(Gate(), "abc", 0.0), "abcd", 100.0), "abcde", 160.0)
    assert sorted(looked(older, "abcde", 200.0).held) == list("abc")


def test_what_is_held_stays_held_until_approved() -> None:
    """Time does not approve, nor does a smaller crowd."""
    gate = looked(looked(Gate(), "abc", 0.0), "a", 1000.0)
    assert gate.held == ["a"]
    assert looked(approved(gate, None), "a", 2000.0).held == []


def test_absence_approves_nothing() -> None:
    """What is held stays held under its name, however long it is away; it does not wait for approval meanwhile."""
    gate = looked(looked(Gate(), "abc", 0.0), "", 6.0)
    assert (gate.held, approved(gate, None)) == ([], gate)
    assert sorted(looked(gate, "abc", 12.5).held) == ["a", "b", "c"]
    kept = Gate.stored(gate.by_key, 0.0)
    gate = looked(looked(kept, "b", 100.0), "", 1000.0)
    assert looked(gate, "a", 5000.0).held == ["a"]
    assert looked(gate, "a", 5000.0, version="v2").held == ["a"]
    assert looked(approved(looked(gate, "a", 5000.0), None), "a", 5001.0).held == []


def test_one_set_that_is_held_comes_back_from_a_single_look_of_absence() -> None:
    """Also where every set needs an approval, and when it comes back after the window."""
    gate = looked(looked(looked(Gate(), "a", 0.0, limit=0), "", 6.0, limit=0), "a", 12.5, limit=0)
    assert gate.held == ["a"]


def test_a_set_that_passed_and_comes_back_comes_then() -> None:
    """It counts as a new one, however long ago it had come for the first time."""
    gate = looked(looked(Gate(), "ab", 0.0), "ab", 11.0)
    assert set(gate.verdicts.values()) == {Pass.PASSED}
    gate = looked(gate, "", 12.0)
    assert sorted(looked(gate, "abc", 13.0).held) == ["a", "b", "c"]
    early = looked(looked(Gate(), "ab", 0.0), "", 9.0)
    assert sorted(looked(early, "abc", 11.0).held) == ["a", "b", "c"]


def test_after_a_restart_verdicts_hold_and_what_had_passed_is_no_crowd() -> None:
    """Only what is new to the journal counts."""
    kept = stored({"a": Pass.PASSED, "b": Pass.PASSED, "c": Pass.PASSED, "d": Pass.HELD})
    gate = looked(kept, "abcde", 0.0)
    assert gate.held == ["d"]
    assert looked(kept, "abcdefg", 0.0).held == ["d", *sorted("efg")] or sorted(
        looked(kept, "abcdefg", 0.0).held
    ) == list("defg")


def test_folders_are_approved_with_all_below() -> None:
    """A folder is no other one that begins with its letters; a name is one set; "." is the inbox itself."""
    gate = stored(dict.fromkeys(["a/x", "a/b/y", "ab/z", "x", "odd\n/w"], Pass.HELD))
    assert sorted(approved(gate, "a").held) == ["ab/z", "odd\n/w", "x"]
    assert sorted(approved(gate, "a/x").held) == ["a/b/y", "ab/z", "odd\n/w", "x"]
    assert "x" not in approved(gate, ".").held
    assert len(approved(gate, ".").held) == 4
    assert "odd\n/w" not in approved(gate, "odd\\n").held
    assert approved(gate, None).held == []
    assert approved(gate, "nowhere") == gate
    assert approved(stored({"Mo\u0308bel/x": Pass.HELD}), "m\u00f6bel").held == []  # however it was typed


def test_other_files_under_the_name_of_a_held_set_were_not_seen() -> None:
    """They stay held, as a set of their own: who approves what was there before does not approve them."""
    gate = looked(Gate(), "abc", 0.0)
    seen = gate.by_key.keys()
    gate = looked(gate, "abc", 1.0, version="v2")
    assert sorted(gate.held) == ["a", "b", "c"]
    assert gate.approved(None, seen) == gate
    assert approved(gate, None).held == []


def test_other_files_under_the_name_of_a_set_that_passed_are_new() -> None:
    """A thousand sets with the names of approved ones are a crowd; one such set is none."""
    gate = approved(looked(Gate(), "abcd", 0.0), None)
    assert sorted(looked(gate, "abcd", 100.0, version="v2").held) == ["a", "b", "c", "d"]
    assert looked(gate, "abcd", 100.0).held == []
    once = gate.looked({"a": Found("v2", settled=True), "b": Found("v1", settled=True)}, 100.0, WINDOW, 2)
    assert (once.held, "a" in once.verdicts, once.verdicts["b"]) == ([], False, Pass.PASSED)


def test_a_set_that_was_replaced_counts_twice() -> None:
    """Sets that are taken and dropped again under the same names within one rescan are as many as they are."""
    gate = looked(Gate(), "ab", 0.0)
    assert looked(gate, "ab", 1.0).held == []
    assert sorted(looked(gate, "ab", 1.0, version="v2").held) == ["a", "b"]


def test_a_set_may_be_approved_while_it_is_copied() -> None:
    """Its files grow at each look: it is one set all the time, and keeps its verdict, also when it has settled."""
    gate = Gate()
    for number in range(3):
        gate = gate.looked(dict.fromkeys("abc", Found(f"growing-{number}", settled=False)), number, WINDOW, 2)
    assert sorted(gate.held) == ["a", "b", "c"]
    gate = approved(gate, None)
    gate = looked(gate, "abc", 5.0)
    assert gate.held == []
    assert gate.by_key == {GateKey(name, "v1"): Pass.PASSED for name in "abc"}


@modest
@given(
    st.lists(st.tuples(st.dictionaries(names, st.sampled_from(["v1", "v2", ""])), st.floats(0, 30)), max_size=20),
    st.integers(0, 5),
)
def test_what_is_stored_is_what_is_known(looks: list[tuple[dict[str, str], float]], limit: int) -> None:
    """The changes of each look, applied one after the other, give the verdicts; and no more than the limit slip through."""
    gate, kept, now, held_before = Gate(), dict[GateKey, Pass](), 0.0, set[str]()
    for present, passed in looks:
        now += passed
        found = {name: Found(version or f"growing-{now}", settled=bool(version)) for name, version in present.items()}
        after = gate.looked(found, now, WINDOW, limit)
        changes = after.changes_from(gate)
        for key in changes.gone:
            del kept[key]
        for before, settled in changes.settled:
            kept[settled] = kept.pop(before)
        kept.update(changes.new)
        gate = after
        assert kept == gate.by_key
        assert set(gate.held) <= present.keys()
        held = {key.name for key, verdict in kept.items() if verdict is Pass.HELD}
        assert gate.verdicts.keys() - held <= present.keys()
        assert held >= held_before
        held_before = held
        assert Gate.stored(kept, now).by_key == kept
        fresh = [n for n in present if gate.arrived[n].at > now - WINDOW and gate.verdicts.get(n) is not Pass.HELD]
        assert len(fresh) <= limit
