"""Faults on request: the grammar."""

from __future__ import annotations

import pytest

from rodin_watchd.emulator.faults import EmulatedFault, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lost-answer", EmulatedFault("lost-answer")),
        ("lost-answer@1", EmulatedFault("lost-answer", first=1, times=1)),
        ("status-503=3", EmulatedFault("status-503", times=3)),
        ("status-503=3@5", EmulatedFault("status-503", first=5, times=3)),
        ("submit-429=120@2", EmulatedFault("submit-429", "120", first=2, times=1)),
        ("submit-429", EmulatedFault("submit-429")),
        ("unknown-status=a@b@4", EmulatedFault("unknown-status", "a@b", first=4, times=1)),
        ("evil-name=empty", EmulatedFault("evil-name", "empty")),
        ("charged-429", EmulatedFault("charged-429")),
        ("charged-429=CODE@2", EmulatedFault("charged-429", "CODE", first=2, times=1)),
        ("late-charge=1.5:429", EmulatedFault("late-charge", "1.5:429")),
        ("status-interim=3@1", EmulatedFault("status-interim", "3", first=1, times=1)),
    ],
)
def test_the_grammar(text: str, fault: EmulatedFault) -> None:
    """NAME, =VALUE and @N are read as documented."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lost-anwser", "Did you mean 'lost-answer'"),
        ("", "There is no fault ''"),
        ("zzz", "Allowed: balance-429"),
        ("lost-answer@0", "N from 1"),
        ("lost-answer@x", "N from 1"),
        ("lost-answer=0", "how many calls"),
        ("lost-answer=x", "how many calls"),
        ("status-slow=long", "makes no sense"),
        ("status-slow=-1", "makes no sense"),
        ("status-slow=nan", "makes no sense"),
        ("submit-429=a\x7fb", "makes no sense"),
        ("evil-name=nice", "one of traversal"),
        ("late-charge=soon", "makes no sense"),
        ("late-charge=5:200", "makes no sense"),
        ("submit-interim=0", "makes no sense"),
        ("status-redirect=200", "makes no sense"),
        ("consumed=-1", "makes no sense"),
        ("consumed=nan", "makes no sense"),
    ],
)
def test_wrong_faults_are_told(text: str, message: str) -> None:
    """What is wrong with a fault is said, with the names allowed."""
    with pytest.raises(ValueError, match=r"fault|VALUE") as raised:
        parse_fault(text)
    assert message in str(raised.value)


def test_strikes_are_counted_from_the_first() -> None:
    """A fault strikes from its first turn on, as often as it should."""
    fault = EmulatedFault("status-503", first=3, times=2)
    assert [turn for turn in range(1, 10) if fault.strikes(turn)] == [3, 4]
    assert [turn for turn in range(1, 5) if EmulatedFault("status-503", first=2).strikes(turn)] == [2, 3, 4]
