"""`explain`: why a file or set waits, is ignored or was refused, and where it went; the daemon need not run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_stage import SAMPLES, Stage, a_failed_job, a_job

from rodin_watchd.adapters.ownership import Lock
from rodin_watchd.adapters.store.sqlite import Journal
from rodin_watchd.cli.explain import locate
from rodin_watchd.core.layout import CLAIM_PREFIX, MARK, Claim, owner_of
from rodin_watchd.core.status import PAGE, Page
from rodin_watchd.model import InputFile, Role, State


def explained(stage: Stage, path: str | bytes) -> dict[str, Any]:
    """Return the whole answer about a path, its sentences as one text."""
    told = stage.data_here("explain", path)
    assert set(told) == {"path", "verdict", "text", "jobs"}
    return {**told, "text": "\n".join(told["text"])}


def put(stage: Stage, name: str, sample: str) -> Path:
    """Put a sample into the inbox under a name."""
    path = stage.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SAMPLES / sample, path)
    return path


# ---- in the inbox ---------------------------------------------------------------------------------------------------


def test_an_incomplete_set_says_what_it_waits_for(stage: Stage) -> None:
    """Asked about the model, the set's name, or the image that is missing, the answer is the same."""
    put(stage, "oak/chair.glb", "bunny.glb")
    for path in ("oak/chair.glb", "oak/chair", "oak/chair.png"):
        told = explained(stage, path)
        assert told["verdict"] == "waiting"
        assert "It is not taken: waits for an image file of the name “chair" in told["text"]
        assert "incomplete set" in told["text"]


def test_a_complete_set_is_ready_and_the_service_is_stopped(stage: Stage) -> None:
    """A whole set is ready; that nothing takes it, because the service does not run, is said."""
    stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    told = explained(stage, "chair.png")
    assert told["verdict"] == "ready"
    assert "model “chair.glb”, image “chair.png”" in told["text"]
    assert "have not changed for 0.2 seconds" in told["text"]
    assert "The service is not running" in told["text"]


def test_a_pause_of_the_running_service_is_told(stage: Stage) -> None:
    """What the running service says of itself belongs to the answer about a set that is ready."""
    stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    stage.journaled()
    journal = Journal(stage.journal)
    journal.set_meta(PAGE, Page(notices=("Paused by request.",)).as_data())
    journal.close()
    with Lock(stage.root / ".rodin-watchd" / "lock"):
        told = explained(stage, "chair")
    assert "The service says: Paused by request." in told["text"]
    assert "not running" not in told["text"]


def test_a_set_that_will_be_refused_says_why(stage: Stage) -> None:
    """A file that is not what its name says, and a sidecar with a mistake, are told before the service refuses them."""
    put(stage, "chair.glb", "bunny.glb")
    (stage.inbox / "chair.png").write_bytes(b"no image")
    told = explained(stage, "chair.glb")
    assert told["verdict"] == "refused"
    assert "“chair.png” cannot be used" in told["text"]
    assert "What to do: " in told["text"]
    stage.drop("lamp.glb", "bunny.glb", "lamp.png", "matcap-a.png")
    (stage.inbox / "lamp.toml").write_text("seeed = 3\n")
    told = explained(stage, "lamp.toml")
    assert told["verdict"] == "refused"
    assert "lamp.toml line 1" in told["text"]
    assert "seed" in told["text"]


def test_a_file_that_is_not_complete_is_settling(stage: Stage) -> None:
    """A cut file is said to be incomplete, and what happens if that lasts."""
    put(stage, "chair.png", "matcap-a.png")
    (stage.inbox / "chair.glb").write_bytes((SAMPLES / "bunny.glb").read_bytes()[:5000])
    told = explained(stage, "chair.glb")
    assert told["verdict"] == "settling"
    assert "“chair.glb” is not complete" in told["text"]
    assert "10 minutes" in told["text"]


def test_ignored_files_say_why(stage: Stage) -> None:
    """Junk, what lies in a junk folder, links, special files and unknown kinds are ignored, each with its reason."""
    put(stage, "chair.glb.part", "bunny.glb")
    put(stage, ".trash/chair.glb", "bunny.glb")
    (stage.inbox / "notes.txt").write_text("")
    (stage.inbox / "link.glb").symlink_to(SAMPLES / "bunny.glb")
    os.mkfifo(stage.inbox / "pipe.png")
    (stage.inbox / "empty").mkdir()
    reasons = {
        "chair.glb.part": "a temporary name",
        ".trash/chair.glb": "a hidden file",
        "notes.txt": "not a model, an image or a TOML file",
        "link.glb": "symbolic link",
        "pipe.png": "special file",
        "empty": "a folder without files of a set",
    }
    for path, reason in reasons.items():
        told = explained(stage, path)
        assert told["verdict"] == "ignored", path
        assert reason in told["text"], path


def test_a_folder_is_explained_set_by_set(stage: Stage) -> None:
    """Asked about the inbox, each set is told; the verdict is that of the set that is furthest."""
    stage.drop("chair.glb", "bunny.glb", "chair.png", "matcap-a.png")
    put(stage, "lamp.glb", "bunny.glb")
    told = explained(stage, "inbox")
    assert told["verdict"] == "ready"
    assert "“chair” is a set" in told["text"]
    assert "“lamp” is an incomplete set" in told["text"]


def test_a_folders_preset_is_checked(stage: Stage) -> None:
    """A `_folder.toml` is said to be in order, or what is wrong with it."""
    preset = stage.inbox / "_folder.toml"
    preset.write_text('material = "PBR"\n')
    assert "It has no mistakes." in explained(stage, "_folder.toml")["text"]
    preset.write_text('material = "Wood"\n')
    told = explained(stage, "_folder.toml")
    assert told["verdict"] == "waiting"
    assert "line 1" in told["text"]


def test_names_that_are_not_utf8_and_names_with_line_ends(stage: Stage) -> None:
    """Odd names can be asked about, and come back exactly as data and on one line as text."""
    for name in (b"lamp\xff\n.glb", b"-rf.glb", "🪑.glb".encode()):
        shutil.copyfile(SAMPLES / "bunny.glb", os.fsencode(stage.inbox) + b"/" + name)
        told = stage.data_here("explain", "--", name)
        assert os.fsencode(told["path"]) == name
        assert told["verdict"] == "waiting"
        assert all("\n" not in sentence for sentence in told["text"])
        assert stage.told("explain", "--", name).returncode == 0


# ---- where it went --------------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_followed_to_its_job(stage: Stage) -> None:
    """What was taken from the inbox is found by the names of the jobs' inputs, or by the set's name."""
    stage.journaled(a_job(), a_failed_job())
    told = explained(stage, "oak/chair.png")
    assert (told["verdict"], told["jobs"]) == ("delivered", [a_job().id])
    assert "delivered to outbox/oak/chair" in told["text"]
    told = explained(stage, "lamp")
    assert (told["verdict"], told["jobs"]) == ("failed", [a_failed_job().id])
    assert "What to do: Mend it." in told["text"]
    told = explained(stage, "table.glb")
    assert told["verdict"] == "unknown"
    assert "no job ever had a file or set of this name" in told["text"]


@pytest.mark.parametrize("name", ["lu\udcff\nna.glb", 'a "quoted" \\ one.glb', "椅子.glb", "%_.glb"])
def test_odd_names_are_found_in_the_journal(name: str, stage: Stage) -> None:
    """A job is found by its input's name, whatever characters that has, and by no other name."""
    signature = a_job().files[0].signature
    stage.journaled(a_job(files=(InputFile(Role.MODEL, f"inbox/{name}", signature),)), a_failed_job())
    assert explained(stage, name)["jobs"] == [a_job().id]
    assert explained(stage, name[1:])["jobs"] == []


def test_a_new_file_with_an_old_name_tells_of_the_earlier_job(stage: Stage) -> None:
    """A file that lies there now is explained itself, and the job before is named besides."""
    stage.journaled(a_failed_job())
    put(stage, "lamp.png", "matcap-a.png")
    told = explained(stage, "lamp.png")
    assert (told["verdict"], told["jobs"]) == ("waiting", [a_failed_job().id])
    assert "was taken before" in told["text"]


def test_a_file_that_is_being_taken_belongs_to_its_job(stage: Stage) -> None:
    """Between the claim and the move a file still lies in the inbox, but is the job's."""
    put(stage, "oak/chair.glb", "bunny.glb")
    stage.journaled(a_job(state=State.CLAIMED, task=None, charges=0, place=""))
    told = explained(stage, "oak/chair.glb")
    assert (told["verdict"], told["jobs"]) == ("taken", [a_job().id])


def test_what_is_hidden_while_it_is_copied_belongs_to_its_job(stage: Stage) -> None:
    """Its claim has the job's id; of a job that is not live it is said where it comes to light; our mark is our own."""
    stage.journaled(a_job(state=State.CLAIMED, task=None, charges=0, place=""))
    for job_id in (a_job().id, "feedfacebeef"):
        put(stage, f"oak/{CLAIM_PREFIX}{job_id}/chair.glb", "bunny.glb")
    told = explained(stage, f"oak/{CLAIM_PREFIX}{a_job().id}/chair.glb")
    assert (told["verdict"], told["jobs"]) == ("taken", [a_job().id])
    told = explained(stage, f"oak/{CLAIM_PREFIX}feedfacebeef")
    assert "failed/set-aside-feedfacebeef" in told["text"]
    told = explained(stage, f"oak/{Claim('feedfacebeef', owner_of('another')).name}")
    assert "another service" in told["text"]
    assert "set-aside" not in told["text"]
    (stage.inbox / MARK).touch()
    assert explained(stage, MARK)["verdict"] == "ignored"
    assert "belongs to the service" in explained(stage, MARK)["text"]


def test_published_folders_tell_their_job(stage: Stage) -> None:
    """A file in outbox, failed or archive is known by the receipt beside it; without one it is nobody's."""
    stage.journaled(a_job(), a_failed_job())
    for place, receipt, job in (
        ("outbox/oak/chair", "job.toml", a_job()),
        ("archive/oak/chair", "job.toml", a_job()),
        ("failed/lamp", "report.toml", a_failed_job()),
    ):
        (stage.root / place).mkdir(parents=True)
        (stage.root / place / receipt).write_text(f'[job]\nid = "{job.id}"\nretries = 0\n')
        (stage.root / place / "file.png").write_text("")
        assert explained(stage, f"{place}/file.png")["jobs"] == [job.id], place
        assert explained(stage, place)["jobs"] == [job.id], place
    (stage.root / "outbox" / "mine.txt").write_text("")
    assert explained(stage, "outbox/mine.txt")["verdict"] == "elsewhere"
    (stage.root / "outbox/oak/chair/job.toml").write_text('[job]\nid = "ffffffffffff"\nretries = 0\n')
    assert "does not know" in explained(stage, "outbox/oak/chair")["text"]


def test_what_is_not_in_the_folders_is_elsewhere(stage: Stage) -> None:
    """Files outside the root, and the service's own, are no files of a set."""
    assert explained(stage, "/etc/passwd")["verdict"] == "elsewhere"
    assert explained(stage, "config.toml")["verdict"] == "elsewhere"
    assert explained(stage, str(stage.root))["verdict"] == "elsewhere"


@pytest.mark.parametrize(
    ("path", "cwd", "place"),
    [
        ("chair.glb", "", "inbox/chair.glb"),  # from the inbox
        ("inbox/chair.glb", "", "inbox/chair.glb"),  # from the root
        ("chair.glb", "inbox", "inbox/chair.glb"),  # from here
        ("../inbox/./chair.glb", "outbox", "inbox/chair.glb"),
        ("outbox", "", "outbox"),
        ("gone.glb", "", "inbox/gone.glb"),
        ("outbox/gone", "..", "outbox/gone"),
        ("chair.glb", "..", "inbox/chair.glb"),
        ("/elsewhere/chair.glb", "", None),
    ],
)
def test_paths_are_seen_from_here_the_inbox_or_the_root(path: str, cwd: str, place: str | None, tmp_path: Path) -> None:
    """A path is taken as people mean it; what is nowhere was in the inbox."""
    root = tmp_path / "root"
    (root / "inbox").mkdir(parents=True)
    (root / "outbox").mkdir()
    (root / "inbox" / "chair.glb").write_text("")
    assert locate(root, Path(path), root / cwd) == place


def test_a_root_with_two_names_is_one_root(tmp_path: Path) -> None:
    """A path through a link to the root is below the root; a link in the inbox is itself, not its target."""
    root = tmp_path / "root"
    (root / "inbox").mkdir(parents=True)
    (tmp_path / "other-name").symlink_to(root)
    (root / "inbox" / "link.glb").symlink_to("/etc/passwd")
    assert locate(root, tmp_path / "other-name" / "inbox" / "link.glb", tmp_path) == "inbox/link.glb"
    assert locate(tmp_path / "other-name", root / "inbox" / "link.glb", tmp_path) == "inbox/link.glb"
