"""A studio that comes from version 1: what its journal paid for is not paid for again, however it is dropped."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from workshop import Vendor, Workshop, emulated, model

from rodin_watchd.model import State

SAMPLES = Path(__file__).parent.parent / "samples"
OLD = SAMPLES / "journal-1"
DEFAULTS = 'geometry_file_format = "glb"\nmaterial = "PBR"\nresolution = "Basic"\nescore = 3.5\n'


@contextmanager
def from_older(
    root: Path, *kept: str, change: str = "", journal: Path = OLD / "journal.sql"
) -> Iterator[tuple[Workshop, Vendor]]:
    """Give a workshop over a journal of version 1, of whose live jobs only some are kept: the others' files are not here.

    `change` is SQL for the journal, before the new version sees it; `journal` is that of another version.
    """
    with emulated() as vendor:
        shop = Workshop(root, vendor.emulator.base_url, {})
        path = shop.journal
        path.parent.mkdir(parents=True)
        shop.path("inbox").mkdir()
        with closing(sqlite3.connect(path)) as db:
            db.executescript(journal.read_text())
            db.execute(change)
            live = "state NOT IN ('archived', 'failed', 'held')"
            for job_id, name in db.execute(f"SELECT id, name FROM jobs WHERE {live}").fetchall():  # noqa: S608 - our words
                if name not in kept:
                    _give_up(db, job_id)
                    continue
                inputs = shop.path(f".rodin-watchd/work/{job_id}/inputs")
                inputs.mkdir(parents=True)
                (inputs / "same.obj").write_bytes(model("same"))
                shutil.copy(OLD / "same.png", inputs)
            db.commit()
        shop.start()
        try:
            yield shop, vendor
        finally:
            shop.crash()


def _give_up(db: sqlite3.Connection, job_id: str) -> None:
    """Have a job be failed, as version 1 would have left it in the end."""
    doc = json.loads(db.execute("SELECT doc FROM jobs WHERE id = ?", (job_id,)).fetchone()[0])
    doc["state"] = "failed"
    db.execute("DELETE FROM moves")
    db.execute("INSERT INTO moves SELECT DISTINCT state, 'failed' FROM jobs")
    db.execute(
        "UPDATE jobs SET state = 'failed', doc = ? WHERE id = ?", (json.dumps(doc, separators=(",", ":")), job_id)
    )


def drop(shop: Workshop, content: str, sidecar: str | None = None, name: str = "new", version: Path = OLD) -> None:
    """Drop the model and image of a set of version 1, or another one, under another name."""
    shop.drop(f"{name}.obj", model(content))
    shop.drop(f"{name}.png", (version / f"{content}.png").read_bytes())
    if sidecar is not None:
        shop.drop(f"{name}.toml", sidecar.encode())


@pytest.mark.parametrize(
    ("content", "sidecar"),
    [
        ("plain", None),
        ("plain", DEFAULTS),
        ("plain", "reference_scale = 1\n"),
        ("plain", f"reference_scale = 1.0\n{DEFAULTS}"),
        ("spelled", None),
        ("spelled", "reference_scale = 1\n"),
        ("spelled", f"reference_scale = 1\n{DEFAULTS}"),
        ("scaled", "seed = 7\n"),
        ("scaled", "seed = 7\nreference_scale = 1.0\nescore = 3.5\n"),
        ("other", 'prompt = "worn oak"\nreference_scale = 0.5\nmaterial = "Shaded"\nescore = 3.5\n'),
        ("other", 'prompt = " worn  oak\\n"\nreference_scale = 0.5\nmaterial = "Shaded"\n'),
        ("other", 'prompt = """\r\nworn\r\noak\r\n"""\nreference_scale = 0.5\nmaterial = "Shaded"\n'),
        ("other", 'prompt = "worn\u3000oak\u200b"\nreference_scale = 0.50\nmaterial = "Shaded"\n'),
        ("plain", 'prompt = " "\n'),
        ("in-vain", None),
        ("given-up", "reference_scale = 1\n"),
        ("again", None),
        ("again", "again = true\n"),
        ("again", "again = true # another file\r\n"),
    ],
)
def test_what_version_1_paid_for_is_refused(tmp_path: Path, content: str, sidecar: str | None) -> None:
    """As it was dropped then, with a default spelled out, and with one left out; and the TOML file that paid again."""
    with from_older(tmp_path) as (shop, vendor):
        drop(shop, content, sidecar)
        shop.idle()
        assert shop.states()["new"] is State.FAILED
        assert "paid" in shop.report("new") or "delivered before" in shop.report("new")
        assert (vendor.charges, vendor.uploads) == (0, 0)
        shop.assert_nothing_lost()


@pytest.mark.parametrize(
    ("content", "sidecar"),
    [
        ("refused", None),
        ("plain", "seed = 8\n"),
        ("scaled", None),
        ("plain", "again = true\n"),
        ("again", 'again = "second try"\n'),
    ],
)
def test_what_version_1_did_not_pay_for_is_bought(tmp_path: Path, content: str, sidecar: str | None) -> None:
    """Nothing was charged for it, it means something else, or somebody agrees to pay again: once."""
    with from_older(tmp_path) as (shop, vendor):
        for name in ("new", "newer"):
            drop(shop, content, sidecar, name)
            shop.idle()
        assert (shop.states()["new"], shop.states()["newer"]) == (State.ARCHIVED, State.FAILED)
        assert vendor.charges == 1


def test_two_live_jobs_that_mean_the_same_are_paid_once(tmp_path: Path) -> None:
    """Version 1 took them for two, and had sent neither: the first is sent, and the other refused."""
    with from_older(tmp_path, "same", "same-too") as (shop, vendor):
        shop.idle()
        assert sorted(shop.states()[name] for name in ("same", "same-too")) == [State.ARCHIVED, State.FAILED]
        assert vendor.charges == 1


@pytest.mark.parametrize("retries", [0, 1])
def test_a_consent_of_version_1_is_spent_by_the_purchase(tmp_path: Path, retries: int) -> None:
    """Given then, and spent today: also where a person had the set taken up again meanwhile, without paying again."""
    change = f"UPDATE jobs SET doc = json_set(doc, '$.again', json('true'), '$.retries', {retries}) WHERE name = 'same'"  # noqa: S608 - a number
    with from_older(tmp_path, "same", change=change) as (shop, vendor):
        shop.idle()
        assert (shop.states()["same"], vendor.charges) == (State.ARCHIVED, 1)
        drop(shop, "same", "again = true\n")
        shop.idle()
        assert (shop.states()["new"], vendor.charges) == (State.FAILED, 1)
        assert "`again = true` has paid once already" in shop.report("new")


def test_the_second_of_two_that_mean_the_same_is_found_when_it_was_bought(tmp_path: Path) -> None:
    """It is sent after the first, because somebody agreed to pay again, and is known by what it means from then on."""
    change = "UPDATE jobs SET doc = json_set(doc, '$.again', json('true')) WHERE name = 'same-too'"
    with from_older(tmp_path, "same", "same-too", change=change) as (shop, vendor):
        shop.idle()
        assert [shop.states()[name] for name in ("same", "same-too")] == [State.ARCHIVED, State.ARCHIVED]
        assert shop.job("same").fingerprint == shop.job("same-too").fingerprint
        drop(shop, "same", 'prompt = "\\n"\nagain = true\n')
        shop.idle()
        assert (shop.states()["new"], vendor.charges) == (State.FAILED, 2)
        assert shop.job("same-too").id in shop.report("new")


@pytest.mark.parametrize(
    ("content", "sidecar"),
    [
        ("plain", None),
        ("spelled", 'prompt = "worn oak"\n'),
        ("held", None),
        ("refused", None),
        ("broken", "again = true\n"),
    ],
)
def test_what_schema_2_paid_for_is_refused(tmp_path: Path, content: str, sidecar: str | None) -> None:
    """A journal of the schema between: paid, respelled, held, refused and paid, and paid with `again`; new sets are bought."""
    between = SAMPLES / "journal-2"
    with from_older(tmp_path, journal=between / "journal.sql") as (shop, vendor):
        drop(shop, content, sidecar, version=between)
        shop.idle()
        assert shop.states()["new"] is State.FAILED
        assert vendor.charges == 0
        shop.drop_set("fresh")
        shop.idle()
        assert shop.states()["fresh"] is State.ARCHIVED
        assert vendor.charges == 1
