"""Reloading: another daemon on the same base, while the steps of the first go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from workshop import KEY, TIMEOUT_SECONDS, Hands, Vendor, Workshop, emulated, image, model

from rodin_watchd.adapters.systemd import Manager, Pulse
from rodin_watchd.config import Config
from rodin_watchd.core.budget import BUDGET_DAY
from rodin_watchd.core.pauses import PAUSES, Pause, stored_pauses
from rodin_watchd.errors import ConfigError, Lane, NoCreditsError
from rodin_watchd.log_lines import set_level
from rodin_watchd.model import State
from rodin_watchd.service.reload import Serving, changes, serving


class Reloaded(Workshop):
    """A workshop whose daemon can be exchanged."""

    service: Serving
    sections: Mapping[str, Mapping[str, Any]]
    reloads = 0

    def begin(self, stack: ExitStack) -> None:
        """Start a service instead of a bare daemon."""
        clock = self.hands.clock()
        self.service = stack.enter_context(serving(self.config, KEY, Pulse(Manager(), clock.monotonic), clock))
        self.daemon = self.service.daemon

    def reload(self, **sections: Mapping[str, Any]) -> list[Config]:
        """Read a config with these sections over the old; return those that were taken."""
        taken: list[Config] = []
        self.exchange(lambda: Reloaded(self.root, self.config.api.base_url, sections).config, taken.append)
        return taken

    def reload_alike(self, key: str = KEY) -> None:
        """Have everything made anew by a change that concerns nothing."""
        self.reloads += 1
        more = {**self.sections, "polling": {"min_seconds": 1 + self.reloads / 1e6}}
        self.exchange(lambda: Reloaded(self.root, self.config.api.base_url, more).config, lambda _config: None, key)

    def exchange(self, read: Callable[[], Config], take: Callable[[Config], None], key: str = KEY) -> None:
        """Have a reload done, and nothing else."""
        self.service.ask_reload()
        self.service.turn(lambda: (read(), key), take)
        if self.service.reloads:
            self.service.turn(lambda: (read(), key), take)  # waits until all is loaded
        self.daemon = self.service.daemon


@pytest.fixture
def shop(tmp_path: Path, vendor: Vendor) -> Iterator[Reloaded]:
    """Give a service that runs."""
    with ExitStack() as stack:
        shop = Reloaded(tmp_path, vendor.emulator.base_url, {})
        shop.hands = Hands()
        shop.begin(stack)
        yield shop


@pytest.mark.parametrize("state", [State.UPLOADING, State.SUBMITTING])
def test_an_upload_goes_on_over_a_reload(shop: Reloaded, vendor: Vendor, state: State) -> None:
    """Before or after its last bytes: the new daemon takes the old one's upload over, and it is paid once."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", state))
    first = shop.daemon
    assert shop.reload(api={"max_in_flight": 1}) != []
    assert shop.daemon is not first
    assert shop.service.config.api.max_in_flight == 1
    shop.idle()
    assert shop.states() == {"chair": State.ARCHIVED}
    assert (vendor.charges, vendor.uploads) == (1, 1)


def test_receipts_that_are_being_written_go_on_over_a_reload(shop: Reloaded) -> None:
    """The new daemon waits for the old one's thread, and notes what came of it; nothing is written by two at the same time."""
    shop.drop("chair.obj", model("chair"))
    shop.drop("chair.png", image("chair"))
    shop.drop("chair.toml", b"variants = 2\n")
    shop.idle()
    job = shop.jobs()[0]
    shop.leave("choose", job=job.id, **shop.seen("choose", {"job": job.id}))
    shop.until(lambda: shop.daemon.handover.receipts is not None, step_seconds=0.0)
    begun = shop.daemon.handover.receipts
    shop.reload(polling={"min_seconds": 1.5})
    assert shop.daemon.handover.receipts is begun
    shop.idle()
    assert shop.daemon.handover.receipts is None
    assert "chosen = true" in shop.path(f"{job.place}/job.toml").read_text()
    assert [event.action for event in shop.store.events(job.id)][-2:] == ["choose", "chosen"]


def test_the_old_tools_are_closed_when_nobody_uses_them(shop: Reloaded) -> None:
    """After the last step that began with them; not before."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    shop.reload(polling={"min_seconds": 1.5})
    [leaving] = [thread for thread in threading.enumerate() if thread.name == "leave"]
    assert leaving.is_alive()
    shop.idle()
    leaving.join(TIMEOUT_SECONDS)
    assert not leaving.is_alive()


def test_a_refusal_changes_nothing(shop: Reloaded, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever cannot be used, the daemon, its configuration and its plugins stay; each mistake is one line of the log."""

    def unreadable() -> Config:
        raise ConfigError("config.toml: line 3: no\nconfig.toml: line 5: no", advice="Mend it.")

    before = (shop.daemon, shop.service.config)
    taken: list[Config] = []
    shop.exchange(unreadable, taken.append)
    assert taken == []
    assert shop.reload(plugins={"nobody": {}}) == []
    assert shop.reload(folders={"lease": "always"}) == []
    assert shop.reload(metrics={"listen": "127.0.0.1:9"}) == []
    assert shop.reload(output={"group": "a-group-that-is-not-there"}) == []
    assert (shop.daemon, shop.service.config) == before
    told = [record.getMessage() for record in caplog.records if vars(record)["action"] == "reload-refused"]
    assert told[:2] == ["reload-refused: config.toml: line 3: no", "reload-refused: config.toml: line 5: no Mend it."]
    assert len(told) == 2 + 4, "two mistakes, then one each"
    restart = "Restart the service for that (`systemctl restart`), or undo the change."
    assert f"reload-refused: folders.lease cannot change while the service runs. {restart}" in told
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(("before", "after"), [("info", "warning"), ("warning", "info")])
def test_another_level_is_told_and_disturbs_nothing(
    shop: Reloaded, caplog: pytest.LogCaptureFixture, before: str, after: str
) -> None:
    """The same daemon goes on with its pauses, whichever way the level changes; and `reloaded` is seen both ways."""
    shop.reload(service={"log_level": before})
    set_level(before)
    caplog.clear()
    pauses = {Lane.SUBMIT: Pause(NoCreditsError().problem, 0.0, shop.hands.clock().now() + 60, 1)}
    shop.store.set_meta(PAUSES, stored_pauses(pauses, shop.daemon.parts.dispatcher.progress.account))
    polling = {"polling": {"min_seconds": 1.5}}
    shop.reload(service={"log_level": before}, **polling)
    caplog.clear()
    first = shop.daemon
    shop.exchange(
        lambda: Reloaded(shop.root, shop.config.api.base_url, {**polling, "service": {"log_level": after}}).config,
        lambda config: set_level(config.service.log_level),
    )
    taken = shop.service.config.service.log_level
    set_level("info")
    assert (shop.daemon is first, list(first.parts.dispatcher.pauses), taken) == (True, [Lane.SUBMIT], after)
    told = [record.getMessage() for record in caplog.records if vars(record)["action"] == "reloaded"]
    assert told == ["reloaded: service.log_level"]


def test_another_key_takes_effect_with_another_level(shop: Reloaded) -> None:
    """The key is no part of the configuration, but the daemon that works has to use the new one."""
    first, config = (
        shop.daemon,
        Reloaded(shop.root, shop.config.api.base_url, {"service": {"log_level": "debug"}}).config,
    )
    shop.exchange(lambda: config, lambda _config: None, "another-key")
    assert shop.daemon is not first


def test_a_pause_of_a_person_outlives_a_reload(shop: Reloaded, vendor: Vendor) -> None:
    """Who paused the service resumes it; no file of the configuration does."""
    assert shop.command("pause")["ok"]
    shop.reload(polling={"min_seconds": 1.5})
    shop.drop_set("chair")
    shop.ticks(5, step_seconds=2)
    assert shop.daemon.needs_person()
    assert vendor.charges == 0


@pytest.mark.parametrize("again", [False, True])
def test_a_proof_ends_when_others_spend_from_the_account(tmp_path: Path, again: bool) -> None:
    """`sole_spender` is taken back in the midst of a proof, also for a while: a stranger's top-up sends nothing again."""
    sole, others = {"sole_spender": True}, {"sole_spender": False}
    with emulated("lost-answer@1", balance=Decimal("100.5")) as vendor, ExitStack() as stack:
        shop = Reloaded(tmp_path, vendor.emulator.base_url, {"budget": sole})
        shop.hands = Hands()
        shop.begin(stack)
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.HELD))
        shop.ticks(3)
        assert shop.daemon.parts.dispatcher.reasons() != []
        assert shop.reload(budget=others) != []
        shop.ticks(2)
        assert shop.daemon.parts.dispatcher.reasons() == []
        vendor.emulator.pay_in(Decimal("0.5"))
        if again:
            assert shop.reload(budget=sole) != []
        for _ in range(3):
            shop.ticks(15, step_seconds=20)
            shop.rest()
        assert shop.states() == {"chair": State.HELD}
        assert vendor.charges_in_all == 1
        told = shop.event_kinds()
        assert (told.count("inquiry"), told.count("inquiry-ended")) == (1, 1)


def test_a_resolve_that_was_left_before_a_reload_is_not_about_what_comes_after(tmp_path: Path) -> None:
    """A second word about the same hold, left while the next submit is under way and a reload is done: no third charge."""
    with emulated("lost-answer=5") as vendor, ExitStack() as stack:
        shop = Reloaded(tmp_path, vendor.emulator.base_url, {})
        shop.hands = Hands()
        shop.begin(stack)
        shop.drop_set("chair")
        shop.idle()
        resolve = {"job": "chair", "how": "not-charged", **shop.seen("resolve", {"job": "chair"})}
        assert shop.command("resolve", **resolve)["ok"]
        shop.until(shop.is_in("chair", State.SUBMITTING))
        second = shop.leave("resolve", **resolve)
        assert shop.reload(polling={"min_seconds": 1.5}) != []
        assert not shop.answer_to(second)["ok"]
        shop.idle()
        assert (shop.job("chair").state, shop.job("chair").holds) == (State.HELD, 2)
        assert vendor.charges_in_all == 2


def test_a_cancel_that_waits_is_carried_out_after_a_reload(shop: Reloaded, vendor: Vendor) -> None:
    """It waits in the journal for the job's step to end; the daemon that follows finds it there."""
    shop.drop_set("chair")
    shop.until(shop.is_in("chair", State.UPLOADING))
    number = shop.leave("cancel", job="chair", **shop.seen("cancel", {"job": "chair"}))
    shop.daemon.parts.commands.take(frozenset({shop.job("chair").id}))
    assert shop.store.answer(number) is None
    assert shop.reload(polling={"min_seconds": 1.5}) != []
    assert shop.answer_to(number)["ok"]
    shop.idle()
    assert shop.states() == {"chair": State.FAILED}
    assert vendor.charges == 0


def test_what_is_published_follows_the_new_output(shop: Reloaded) -> None:
    """Mode and group hold from the reload on."""
    assert shop.reload(output={"mode": "0640"}) != []
    shop.drop_set("chair")
    shop.idle()
    modes = {oct(path.stat().st_mode & 0o777) for path in shop.path("outbox/chair").iterdir()}
    assert modes == {"0o640"}
    assert shop.path("outbox/chair").stat().st_mode & 0o777 == 0o750


def test_changes_are_named_without_their_values(shop: Reloaded) -> None:
    """The names come sorted, with their sections; a plugin's table that came or went is one of them."""
    other = Reloaded(shop.root, shop.config.api.base_url, {"service": {"stop_seconds": 3}, "defaults": {"seed": 5}})
    assert changes(shop.config, other.config) == ["defaults.seed", "service.stop_seconds"]
    assert changes(shop.config, shop.config) == []


# ---- money over reloads ---------------------------------------------------------------------------------------------

OTHER_KEY = "another-key-of-the-tests-456"


@contextmanager
def serving_shop(root: Path, *faults: str, **sections: Mapping[str, Any]) -> Iterator[tuple[Reloaded, Vendor]]:
    """Give a service that can be reloaded, with a vendor of its own that knows two keys."""
    keys = (KEY, OTHER_KEY)
    with emulated(*faults, balance=Decimal("100.5"), api_keys=keys) as vendor, ExitStack() as stack:
        shop = Reloaded(root, vendor.emulator.base_url, sections)
        shop.hands = Hands()
        shop.sections = sections
        shop.begin(stack)
        yield shop, vendor


def test_a_reload_in_an_upload_frees_no_budget(tmp_path: Path) -> None:
    """What is being sent stays bought: with a budget for one set, a reload in each of three uploads pays one."""
    with serving_shop(tmp_path, budget={"per_day_credits": 0.5}) as (shop, vendor):
        for name in ("one", "two", "three"):
            shop.drop_set(name)
            shop.hands.seconds += 1.0
            shop.until(lambda: State.UPLOADING in shop.states().values() or shop.daemon.is_idle())
            shop.reload_alike()
            shop.idle()
        assert vendor.charges == 1
        assert sum(shop.store.spent_since(0).values()) == Decimal("0.5")


def test_a_paid_task_that_failed_is_not_bought_again_after_a_reload(tmp_path: Path) -> None:
    """The charge of an upload that a reload met is booked: the same set, dropped again, is refused."""
    with serving_shop(tmp_path, "failed-job@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.until(shop.is_in("chair", State.UPLOADING))
        shop.reload_alike()
        shop.idle()
        assert (shop.job("chair").state, vendor.charges) == (State.FAILED, 1)
        shop.drop_set("chair")
        shop.idle()
        assert (vendor.charges, vendor.uploads) == (1, 1)


@pytest.mark.parametrize("jump_seconds", [-86_400.0, 86_400.0, 2 * 86_400.0])
def test_a_clock_that_was_set_before_a_reload_gives_no_second_budget(tmp_path: Path, jump_seconds: float) -> None:
    """The budget's day belongs to the service, not to one configuration: a step of the clock is seen over a reload."""
    with serving_shop(tmp_path, budget={"per_day_credits": 0.5}) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        shop.hands.jump_seconds = jump_seconds
        shop.reload_alike()
        shop.drop_set("two")
        shop.idle()
        assert vendor.charges == 1


def test_a_clock_that_is_set_while_nothing_is_bought_is_seen(tmp_path: Path) -> None:
    """The day is asked for in each tick: a day that the clock alone made begins none after the next start."""
    with serving_shop(tmp_path, budget={"per_day_credits": 0.5}) as (shop, _):
        shop.drop_set("one")
        shop.idle()
        before = shop.store.meta(BUDGET_DAY)
        shop.hands.jump_seconds = 86_400.0
        shop.ticks(1)
        assert shop.store.meta(BUDGET_DAY)[0] - before[0] == 86_400.0


def test_a_reload_ends_no_wait_after_lost_answers(tmp_path: Path) -> None:
    """Each lost answer doubles the wait for the next submit; a reload after each of them submits nothing earlier."""
    faults = (f"charged-503@{number}" for number in range(1, 21))
    with serving_shop(tmp_path, *faults, api={"max_in_flight": 1}) as (shop, vendor):
        for number in range(20):
            shop.drop_set(f"set-{number}")
        while shop.hands.seconds < 120:
            shop.until(lambda: not shop.daemon.parts.pool.busy)
            shop.ticks(4, step_seconds=1.0)
            shop.reload_alike()
        shop.rest()
        held = [job for job in shop.jobs() if job.state is State.HELD]
        assert 1 < len(held) <= vendor.uploads <= 7  # at 0, 2, 6, 14, 30, 62 seconds
        assert "The vendor did not say whether it has taken a set." in shop.status()


@pytest.mark.parametrize(("key", "ends"), [(KEY, False), (OTHER_KEY, True)])
def test_a_new_key_ends_what_the_account_had_stopped(tmp_path: Path, key: str, *, ends: bool) -> None:
    """A pause for the account's sake is about that account; any other reload lets it go on."""
    with serving_shop(tmp_path, *(f"submit-error=INSUFFICIENT_FUND@{n}" for n in range(1, 9))) as (shop, _):
        shop.drop_set("chair")
        shop.until(shop.daemon.needs_person)
        shop.reload_alike(key)
        assert shop.daemon.needs_person() is not ends


def test_the_window_of_the_approval_outlives_a_reload(tmp_path: Path) -> None:
    """Sets that came before a reload and sets that come after it are one crowd, and so over a restart."""
    sections = {"budget": {"hold_above_sets": 3}, "intake": {"rescan_seconds": 60}}
    with serving_shop(tmp_path, **sections) as (shop, vendor):
        for name in "abc":
            shop.drop_set(name)
        shop.daemon.parts.reception.wake()
        shop.until(lambda: vendor.charges == 3, step_seconds=0.2)
        shop.reload_alike()
        for name in "def":
            shop.drop_set(name)
        shop.ticks(20, step_seconds=0.5)
        shop.idle()
        assert vendor.charges == 3
        assert "3 sets wait for approval" in shop.status()


def test_a_balance_of_another_key_proves_nothing(tmp_path: Path) -> None:
    """A lost answer was charged to the account of the old key: what the new key's account holds must not free it."""
    with serving_shop(tmp_path, "charged-503@2", budget={"sole_spender": True}) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        shop.hands.seconds += 100
        shop.drop_set("two")
        shop.until(shop.is_in("two", State.HELD))
        vendor.emulator.pay_in(Decimal("0.5"))  # the other account holds as much as this one held before
        shop.reload_alike(OTHER_KEY)
        shop.ticks(150, step_seconds=1.0)
        shop.until(lambda: not shop.daemon.parts.pool.busy)
        assert (shop.job("two").state, vendor.charges) == (State.HELD, 2)


def test_a_proof_goes_on_over_a_reload(tmp_path: Path) -> None:
    """An inquiry that has begun is neither told again nor begun anew."""
    with serving_shop(tmp_path, "charged-503@2", budget={"sole_spender": True}) as (shop, vendor):
        shop.drop_set("one")
        shop.idle()
        shop.hands.seconds += 100
        shop.drop_set("two")
        shop.until(shop.is_in("two", State.HELD))
        began = shop.hands.seconds
        while "charged" not in shop.actions(shop.job("two")) and shop.hands.seconds < began + 300:
            shop.until(lambda: not shop.daemon.parts.pool.busy)
            shop.reload_alike()
            shop.ticks(1, step_seconds=1.0)
        kinds = shop.event_kinds()
        assert kinds.count("inquiry") == 1
        assert shop.hands.seconds - began < 120
        assert vendor.charges == 2


def test_a_reload_tells_no_pause_twice(tmp_path: Path) -> None:
    """What is paused stays so over reloads, and its end is told when it comes."""
    with serving_shop(tmp_path, budget={"per_day_credits": 0.5}) as (shop, _):
        for name in ("one", "two"):
            shop.drop_set(name)
        shop.idle()
        for _ in range(3):
            shop.reload_alike()
            shop.idle()
        kinds = [event.kind for event in reversed(shop.store.service_events())]
        assert kinds == ["paused"]
        shop.sections = {"budget": {"per_day_credits": 5}}
        shop.reload_alike()
        shop.idle()
        kinds = [event.kind for event in reversed(shop.store.service_events())]
        assert kinds == ["paused", "resumed"]
