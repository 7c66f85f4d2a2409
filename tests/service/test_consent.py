"""Consent to pay once more is spent by one purchase: `again` in a TOML file, a word, and a person's `--pay-again`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, image, model, working

from rodin_watchd.model import State


@pytest.fixture
def vendor_and_shop(tmp_path: Path) -> Iterator[tuple[Workshop, Vendor]]:
    """Give a workshop that runs."""
    with working(tmp_path) as both:
        yield both


@pytest.fixture
def shop(vendor_and_shop: tuple[Workshop, Vendor]) -> Workshop:
    """Give the workshop."""
    return vendor_and_shop[0]


@pytest.fixture
def vendor(vendor_and_shop: tuple[Workshop, Vendor]) -> Vendor:
    """Give its vendor."""
    return vendor_and_shop[1]


def drop(shop: Workshop, sidecar: str, name: str = "chair", content: str = "chair") -> None:
    """Drop a set of this content."""
    shop.drop(f"{name}.obj", model(content))
    shop.drop(f"{name}.png", image(content))
    shop.drop(f"{name}.toml", sidecar.encode())


def newest_report(shop: Workshop) -> str:
    """Return the report of the set that failed last."""
    job = max((job for job in shop.jobs() if job.state is State.FAILED), key=lambda job: job.created_at)
    return shop.path(f"{job.place}/REPORT.txt").read_text()


@pytest.mark.parametrize(("plain", "paid"), [(False, 1), (True, 2)])
@pytest.mark.parametrize("sidecar", ["again = true\n", 'again = "second try"\n'])
def test_a_set_that_is_copied_in_again_and_again_is_paid_once(
    shop: Workshop, vendor: Vendor, sidecar: str, plain: bool, paid: int
) -> None:
    """`cp -n` each second, or a synchronising program, over twenty rounds: one charge for each consent."""
    if plain:
        shop.drop_set("chair")
        shop.idle()
    for _ in range(20):
        drop(shop, sidecar)
        shop.idle()
    assert vendor.charges_in_all == paid
    assert sum(job.charges for job in shop.jobs()) == paid
    assert 'again = "third try"' in newest_report(shop)
    shop.assert_nothing_lost()


@pytest.mark.parametrize("name", ["stool", "elsewhere/deep/chair"])
def test_another_name_or_place_is_no_other_consent(shop: Workshop, vendor: Vendor, name: str) -> None:
    """What the TOML file says counts, and nothing else of it; the report names what it has paid for."""
    drop(shop, "again = true\n")
    shop.idle()
    first = shop.job("chair")
    drop(shop, "again = true\n", name)
    for path in shop.path("inbox").rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    shop.idle()
    assert vendor.charges_in_all == 1
    assert (
        f"`again = true` has paid once already for the same model, image and options (job {first.id}"
        in newest_report(shop)
    )
    assert "outbox/chair" in newest_report(shop)


@pytest.mark.parametrize(
    ("first", "second", "paid"),
    [
        ("again = true\n", "again = true  # once more\n", 1),
        ("again = true\n", "again = true\r\n", 1),
        ("again = true\n", "\ufeffagain = true", 1),
        ("again = true\n", 'again = true\nmaterial = "PBR"\nprompt = " "\n', 1),
        ("again = true\n", "again = true\nseed = 7\n", 2),
        ('again = "second try"\n', 'again = "Second  Try"\r\n', 1),
        ("again = true\n", 'again = "second try"\n', 2),
        ('again = "second try"\n', 'again = "third try"\n', 2),
        ('again = "second try"\n', '# the same word\nagain = " second try"\n', 1),
        ("again = true\n", "", 1),
        ("", "again = true\n", 2),
        ("", 'again = "second try"\n', 2),
        ("again = false\n", "again = false # no\n", 1),
    ],
)
def test_another_word_pays_once_more(shop: Workshop, vendor: Vendor, first: str, second: str, paid: int) -> None:
    """The same word in any file, however that is spelled, is the same consent; a plain set never pays twice."""
    for sidecar in (first, second, first, second):
        drop(shop, sidecar)
        shop.idle()
    assert vendor.charges_in_all == paid


def test_a_consent_is_for_one_content(shop: Workshop, vendor: Vendor) -> None:
    """The same TOML file beside other sets pays for each of them, and once."""
    for name in ("chair", "stool", "chair", "stool"):
        drop(shop, 'again = "blue ones"\n', name, content=name)
        shop.idle()
    assert vendor.charges_in_all == 2


def test_a_refused_or_cut_submit_spends_no_consent(tmp_path: Path) -> None:
    """What was proven free may be tried again by the same file."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, vendor):
        drop(shop, "again = true\n")
        shop.idle()
        assert shop.states() == {"chair": State.FAILED}
        drop(shop, "again = true\n", "stool")
        shop.idle()
        assert vendor.charges_in_all == 1
        assert shop.command("retry", job="chair")["ok"]
        shop.idle()
        assert vendor.charges_in_all == 1, "the same file was paid for meanwhile"
        assert shop.states() == {"chair": State.FAILED, "stool": State.ARCHIVED}
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        assert vendor.charges_in_all == 2


def test_a_person_s_consent_spends_that_of_the_file(tmp_path: Path) -> None:
    """A job that a person let be paid has used what its TOML file says, too: the same file buys nothing after it."""
    with working(tmp_path, "submit-error=INVALID_REQUEST@1") as (shop, vendor):
        drop(shop, "again = true\n")
        shop.idle()
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        drop(shop, "again = true\n", "stool")
        shop.idle()
        assert shop.states() == {"chair": State.ARCHIVED, "stool": State.FAILED}
        assert vendor.charges_in_all == 1


def test_a_lost_answer_spends_the_consent(tmp_path: Path) -> None:
    """While it is held, and after it was given up: it may have been charged."""
    with working(tmp_path, "lost-answer@1") as (shop, vendor):
        drop(shop, "again = true\n")
        shop.idle()
        drop(shop, "again = true\n", "stool")
        shop.idle()
        assert shop.command("resolve", job="chair", how="give-up")["ok"]
        shop.idle()
        drop(shop, "again = true\n", "bench")
        shop.idle()
        assert vendor.charges_in_all == 1
        assert shop.states() == {"chair": State.FAILED, "stool": State.FAILED, "bench": State.FAILED}


def test_a_person_pays_once_for_each_command(tmp_path: Path) -> None:
    """`retry --pay-again` is a consent of its own; a plain retry after it is not."""
    with working(tmp_path, "failed-job@1", "failed-job@2") as (shop, vendor):
        drop(shop, "again = true\n")
        shop.idle()
        for paid in (2, 2, 3):
            shop.command("retry", job="chair", pay_again=paid != vendor.charges_in_all)
            shop.idle()
            assert vendor.charges_in_all == paid
        assert shop.states() == {"chair": State.ARCHIVED}


def test_the_journal_says_by_which_consent_each_purchase_was_begun(shop: Workshop) -> None:
    """So that every later look can tell what was spent."""
    drop(shop, 'again = "second try"\n')
    shop.idle()
    rows = shop.purchases("consent", "fingerprint")
    assert [tuple(row) for row in rows] == [("word:second try", shop.job("chair").fingerprint)]
    assert shop.job("chair").again == "second try"


def test_a_consent_that_was_canceled_is_not_used_by_a_plain_retry(tmp_path: Path) -> None:
    """`retry --pay-again` was withdrawn before anything was sent: whoever retries plainly does not agree to pay."""
    with working(tmp_path, "failed-job@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.command("pause")
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        assert shop.command("cancel", job="chair")["ok"]
        shop.idle()
        shop.command("resume")
        assert "Drop the set" not in shop.report("chair")
        assert f"`rodin-watchd retry --pay-again {shop.job('chair').id}`" in shop.report("chair")
        answer = shop.command("retry", job="chair")
        assert not answer["ok"]
        assert "--pay-again" in answer["message"]
        shop.idle()
        assert vendor.charges_in_all == 1
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.idle()
        assert vendor.charges_in_all == 2
        assert shop.states() == {"chair": State.ARCHIVED}


def test_a_consent_for_a_lost_answer_that_was_canceled_is_not_used_either(tmp_path: Path) -> None:
    """What may have been charged counts as what was."""
    with working(tmp_path, "lost-answer@1") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        assert shop.command("resolve", job="chair", how="give-up")["ok"]
        shop.idle()
        shop.command("pause")
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        assert shop.command("cancel", job="chair")["ok"]
        shop.idle()
        shop.command("resume")
        assert not shop.command("retry", job="chair")["ok"]
        shop.idle()
        assert vendor.charges_in_all == 1


def test_a_person_who_pays_again_is_not_refused_for_the_refusals_before(tmp_path: Path) -> None:
    """The vendor has refused the content twice: a plain retry is refused, one that agrees to pay is sent."""
    with working(tmp_path, "charged-400@1", "charged-400@2") as (shop, _):
        for name in ("one", "two"):
            shop.drop(f"{name}.obj", model("chair"))
            shop.drop(f"{name}.png", image("chair"))
            shop.idle()
        failed = next(job.name for job in shop.jobs() if job.state is State.FAILED)
        assert not shop.command("retry", job=failed)["ok"]
        assert shop.command("retry", job=failed, pay_again=True)["ok"]


def test_a_retry_that_waits_for_its_twin_says_how_it_is_given_again(tmp_path: Path) -> None:
    """A person's consent ends with the retry that it was given for: the report names the command that gives another one."""
    with working(tmp_path, "failed-job@1", "submit-503@2") as (shop, vendor):
        shop.drop_set("chair")
        shop.idle()
        shop.drop("twin.obj", model("chair"))
        shop.drop("twin.png", image("chair"))
        shop.drop("twin.toml", b"again = true\n")
        shop.until(shop.is_in("twin", State.HELD))
        assert shop.command("retry", job="chair", pay_again=True)["ok"]
        shop.until(shop.is_in("chair", State.FAILED))
        assert f"`rodin-watchd retry --pay-again {shop.job('chair').id}` pays for this set as well" in shop.report(
            "chair"
        )
        assert vendor.charges_in_all == 1
