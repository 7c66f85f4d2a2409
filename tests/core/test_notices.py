"""Which notices have not ended, by the events that the journal has."""

from __future__ import annotations

import pytest

from rodin_watchd.core.actions import SERVICE_ACTIONS
from rodin_watchd.core.notifications import NOTICE_KINDS, Notice, all_noticed, end_of, noticed
from rodin_watchd.model import ServiceEvent


def event(kind: str, subject: str = "x", code: str = "") -> ServiceEvent:
    """Return an event of the service."""
    return ServiceEvent(1.0, kind, f"{kind} happened.", subject, code)


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("paused", "resumed"),
        ("inquiry", "inquiry-ended"),
        ("low-balance", "balance-restored"),
        ("balance-doubted", "balance-believed"),
        ("crowd", "approved"),
        ("crowd", "crowd-ended"),
        ("plugin-aside", "plugin-back"),
    ],
)
def test_a_notice_ends_with_its_own_event(begins: str, ends: str) -> None:
    """Of its own subject; and the event that ends what has no cause any more ends it, too."""
    begun = all_noticed([event(begins), event(begins, "y"), event(ends, "y"), event("online")])
    assert begun.keys() == {Notice(begins, "x")}
    assert all_noticed([event(begins), event(ends)]) == {}
    [(notice, one)] = begun.items()
    assert noticed(begun, end_of(notice, one, 2.0)) == {}


def test_a_new_cause_of_a_pause_replaces_the_old_one() -> None:
    """It ends once; a plugin that is set aside from two hooks comes back to each."""
    assert all_noticed([event("paused", code="a"), event("paused", code="b"), event("resumed")]) == {}
    aside = all_noticed([event("plugin-aside"), event("plugin-aside"), event("plugin-back")])
    assert aside.keys() == {Notice("plugin-aside", "x")}
    assert noticed(aside, event("plugin-back")) == {}


def test_a_start_ends_what_was_paused_and_nothing_else() -> None:
    """What is durable goes on."""
    assert all_noticed([event("paused"), event("crowd"), event("started", "")]).keys() == {Notice("crowd", "x")}


def test_each_kind_is_in_the_table_of_actions() -> None:
    """People find each of them in the documents."""
    assert SERVICE_ACTIONS.keys() >= NOTICE_KINDS
