"""Sets that make several jobs: what is promised, what waits, what is said of each, and what an older journal may not repeat."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import NOW, TASK, a_job, some_files

from rodin_watchd.adapters.store import codec
from rodin_watchd.core.approval import Found, Gate, Pass
from rodin_watchd.core.batches import awaited, choices, differences, promised_by, sidecar_text, with_own
from rodin_watchd.core.budget import Allowance, Caps, promised
from rodin_watchd.core.commands import pay_again
from rodin_watchd.core.kinds import GENERATE, TEXTURE, article_of
from rodin_watchd.core.machine import OLDER, begin_others, begin_upload, go_ahead_instead, hold_unsent, in_own_folder
from rodin_watchd.core.names import match_key
from rodin_watchd.core.sidecar import Sidecar, read_sidecar
from rodin_watchd.errors import AlreadyDoneError, OutcomeUnknownError
from rodin_watchd.model import Batch, Job, OptionValue, Role, Sequel, State, Transition, Variant

S = State
HALF = Decimal("0.5")
NAMES = ("chair.glb", "chair.png")
OTHERS = tuple(Variant(f"other-{seed}", f"seed-{seed}", {"seed": seed}, NAMES) for seed in (2, 3))


def a_lead(state: State = S.STAGED) -> Job:
    """Return a job that goes ahead of two."""
    return a_job(state, options={"seed": 1}, batch=Batch("abc123def456", "seed-1", 3), variants=OTHERS)


def a_member(number: int, state: State, batch: str = "abc123def456") -> Job:
    """Return one of the others, begun."""
    return a_job(state, id=f"other-{number}", batch=Batch(batch, f"seed-{number}", 3, "chair"))


def allowance(spent: str, per_day: str, *jobs: Job) -> Allowance:
    """Return what is left of a day's budget while these jobs are alive."""
    price = Decimal("0.5")
    return Allowance(
        Caps(Decimal(per_day)), {"": Decimal(spent)}, lambda _: price, promised=promised(jobs, lambda _: price)
    )


def intent(job: Job) -> Transition:
    """Return the intent to send a job."""
    return begin_upload(job, NOW, HALF, "k")


def test_a_retry_is_afforded_by_itself() -> None:
    """What is promised to another set is not for it: its own promise ended when it failed."""
    again = replace(a_member(2, S.STAGED, "of another set"), retries=1)
    others = a_member(3, S.STAGED), a_member(4, S.STAGED)
    left = allowance("0.5", "1.5", again, *others)
    assert left.affordable(map(intent, (again, *others))) == [intent(other) for other in others]


def test_people_are_asked_with_the_price_of_all_that_is_sent() -> None:
    """A retry sends again what was refused of it, but nothing that may have been sent elsewhere."""
    refused, unsure = AlreadyDoneError("It was.").problem, OutcomeUnknownError("It may be.").problem
    failed = a_lead(S.FAILED)
    assert "for 1.5 credits" in pay_again(failed)
    assert "for 1.5 credits" in pay_again(replace(failed, variants=tuple(replace(o, problem=refused) for o in OTHERS)))
    assert "for 0.5 credits" in pay_again(replace(failed, variants=tuple(replace(o, problem=unsure) for o in OTHERS)))
    assert "for 0.5 credits" in pay_again(a_member(2, S.FAILED))


def test_a_set_is_afforded_as_a_whole_or_not_at_all() -> None:
    """Half a credit less buys nothing of it."""
    lead = a_lead()
    assert allowance("0", "1.5").affordable([intent(lead)]) == [intent(lead)]
    assert allowance("0.5", "1.5").affordable([intent(lead)]) == []
    assert "its 3 jobs may cost 1.5 credits" in allowance("0.5", "1.5").why_not_job(lead)


def test_what_is_promised_is_spent_for_others_alone() -> None:
    """From the first purchase on, until each has its own."""
    single = a_job(S.STAGED, id="single")
    sent = a_lead(S.SUBMITTED)
    assert len(promised_by(sent)) == 2
    left = allowance("0.5", "1.5", sent)
    assert left.why_not_job(single)
    rest = (a_member(2, S.STAGED), a_member(3, S.CLAIMED))
    left = allowance("0.5", "1.5", *rest)
    assert left.affordable([intent(single), intent(rest[0])]) == [intent(rest[0])]
    assert left.after_job(rest[0]).why_not_job(single)
    assert not allowance("1", "1.5", a_member(3, S.UPLOADING)).why_not_job(single)
    assert promised_by(a_lead(S.STAGED)) == ()
    assert len(promised_by(a_lead(S.HELD))) == 2


def test_two_sets_in_one_tick_are_not_paid_by_the_same_credits() -> None:
    """What the first one is promised is gone for the second."""
    other = replace(a_lead(), id="second", batch=Batch("second", "seed-1", 3))
    assert allowance("0", "2.5").affordable([intent(a_lead()), intent(other)]) == [intent(a_lead())]
    assert len(allowance("0", "3").affordable([intent(a_lead()), intent(other)])) == 2


def test_what_is_ready_waits_for_what_is_under_way() -> None:
    """Not for what failed or is held; and, where nothing is sent, not for what is not sent yet."""
    ready = a_member(1, S.PROCESSED)
    assert awaited([ready, a_member(2, S.SUBMITTED), a_member(3, S.STAGED)]) == {ready.id: 2}
    assert awaited([ready, a_member(2, S.SUBMITTED), a_member(3, S.STAGED)], sends=False) == {ready.id: 1}
    for state in (S.HELD, S.FAILING, S.PROCESSED, S.DELIVERED):
        assert awaited([ready, a_member(2, state)]) == {}
    assert awaited([ready, a_member(2, S.SUBMITTED, "another")]) == {}


def test_another_one_goes_ahead_until_none_is_left() -> None:
    """Each that was bought before keeps its reason; the journal keeps all of it."""
    problem = AlreadyDoneError("It is in outbox/old.").problem
    first = go_ahead_instead(a_lead(S.CLAIMED), problem)
    assert first is not None
    assert first.job.batch
    assert (first.job.batch.label, first.job.options, first.job.state) == ("seed-2", {"seed": 2}, S.CLAIMED)
    assert [(one.label, one.options, one.problem) for one in first.job.variants] == [
        ("seed-1", {"seed": 1}, problem),
        ("seed-3", {"seed": 3}, None),
    ]
    second = go_ahead_instead(first.job, problem)
    assert second is not None
    assert go_ahead_instead(second.job, problem) is None
    assert go_ahead_instead(a_job(S.CLAIMED), problem) is None
    assert codec.job(str(codec.row(second.job, NOW)["doc"])) == second.job


def test_the_others_begin_in_a_folder_of_their_own() -> None:
    """No other live set has it; one that was bought before begins with its report."""
    problem = AlreadyDoneError("It is in outbox/old.").problem
    laid = a_lead(S.SUBMITTED)
    laid = replace(
        laid,
        batch=Batch(laid.id, "seed-1", 3, "chair"),
        variants=(replace(OTHERS[0], files=some_files()), replace(OTHERS[1], files=some_files(), problem=problem)),
    )
    placed = in_own_folder(laid, [a_member(2, S.SUBMITTED, "another")])
    assert placed.batch
    assert placed.batch.folder == "chair-abc123"
    assert in_own_folder(laid, [laid, a_member(2, S.SUBMITTED)]) == laid
    two, three = begin_others(placed, NOW)
    assert (two.job.state, three.job.state, three.job.problem) == (S.CLAIMED, S.FAILING, problem)
    assert two.job.title == "chair-abc123/seed-2"


@pytest.mark.parametrize("state", [S.CLAIMED, S.STAGED, S.SUBMITTED])
def test_an_older_journal_begins_none_of_them(state: State) -> None:
    """They may have been sent since: each gets a report instead."""
    job = replace(a_lead(state), task=TASK if state is S.SUBMITTED else None)
    moved = hold_unsent(job, OLDER, NOW, lambda _: HALF, "k")[-1].job
    assert {one.problem.code for one in moved.variants if one.problem} == {OutcomeUnknownError.code}
    assert hold_unsent(moved, OLDER, NOW, lambda _: HALF, "k") == () or state is S.CLAIMED


def test_each_file_has_a_role_in_one_job() -> None:
    """What another job is made of is neither sent nor a part of what this one buys."""
    files = with_own(some_files(), ["chair.png"])
    assert [file.role for file in files] == [Role.OTHER_MODEL, Role.IMAGE, Role.SIDECAR]
    assert with_own(files, NAMES) == some_files()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=60).filter(lambda text: "/" not in text), min_size=2, max_size=8, unique=True)
)
def test_labels_are_names_of_folders_and_all_different(stems: list[str]) -> None:
    """Whatever the files are called."""
    files = [(Role.MODEL, "chair.glb"), *((Role.IMAGE, f"{stem}.png") for stem in stems)]
    labels = [one.label for one in choices(TEXTURE, files, [], {})]
    assert len({match_key(label) for label in labels}) == len(stems)
    assert all(label and "/" not in label and label[0] not in ".~" and len(label) <= 120 for label in labels)


@pytest.mark.parametrize(
    "name", ["chair.glb", 'it\'s "x".glb', "back\\slash.glb", "line\nfeed.glb", "C:drive.glb", "\udc80.glb"]
)
def test_a_job_s_own_toml_file_says_that_job_alone(name: str) -> None:
    """Also under a preset that makes several; a file that no TOML file can name is found by its name."""
    model, image, toml = some_files()
    files = (replace(model, source=f"inbox/{name}"), image, toml)
    lead = a_job(S.SUBMITTED, files=files, variants=OTHERS, again="third try", plugins={"notify": {"to": "a"}})
    options: dict[str, OptionValue] = {"seed": 2, "prompt": 'oak "old"\nbrass', "reference_scale": 1.5}
    variant = replace(OTHERS[0], takes=(name, "chair.png"), options=options)
    said = read_sidecar(sidecar_text(lead, variant).encode(), "x", frozenset({"notify"}))
    assert (said.seed, said.prompt, said.variants, said.again) == (2, options["prompt"], 1, "third try")
    assert said.plugins == {"notify": {"to": "a"}}
    is_named = name in ("chair.glb", 'it\'s "x".glb')
    assert (said.model, said.image) == ((name, "chair.png") if is_named else (None, None))
    preset = Sidecar(variants=4)
    [one] = choices(TEXTURE, [(Role.MODEL, name), (Role.IMAGE, "chair.png")], [preset, said], options)
    assert one.options == options


def test_a_new_model_s_own_toml_file_says_what_goes_on() -> None:
    """With the options of the texture, and its image."""
    image = replace(some_files()[1], role=Role.IMAGE)
    then = Sequel("later", "texture", "chair.png", {"seed": 4})
    variant = Variant("x", "seed-2", {"seed": 2, "bbox_condition": "[1, 2, 3]"}, ("chair.png",), then)
    said = read_sidecar(sidecar_text(a_job(kind="generate", files=(image,)), variant).encode(), "x")
    assert (said.kind, said.images, said.then, said.then_image) == ("generate", ["chair.png"], "texture", "chair.png")
    assert getattr(said, "texture").seed == 4  # noqa: B009 - a field that checkers do not know
    assert GENERATE.list_price(variant.options) == article_of(a_job(kind="generate", options=variant.options)).listed


def test_approval_counts_jobs_as_soon_as_they_are_known() -> None:
    """A set whose TOML file is read when it has settled comes then, with all of its jobs; approved, it is not asked about again."""
    settling = Gate().looked({"chair": Found("v1", settled=False)}, 0.0, 10.0, 2)
    gate = settling.looked({"chair": Found("v1", settled=False)}, 20.0, 10.0, 2)
    assert gate.verdicts == {"chair": Pass.PASSED}
    held = gate.looked({"chair": Found("v1", settled=True, jobs=3)}, 30.0, 10.0, 2)
    assert held.held == ["chair"]
    passed = held.approved(None, held.by_key.keys())
    again = passed.looked({"chair": Found("v1", settled=True, jobs=3)}, 31.0, 10.0, 2)
    assert (again.held, again.verdicts) == ([], {"chair": Pass.PASSED})
    few = gate.looked({"chair": Found("v1", settled=True, jobs=2)}, 30.0, 10.0, 2)
    assert few.held == []
    crowd = few.looked({"chair": Found("v1", settled=True, jobs=2), "lamp": Found("v1", settled=True)}, 31.0, 10.0, 2)
    assert "lamp" in crowd.held


def test_jobs_differ_by_what_they_are_made_of() -> None:
    """Options that not all have alike, and files; nothing that all have in common, and nothing where the details are elsewhere."""
    one = a_job(S.ARCHIVED, id="1", options={"seed": 1, "prompt": "oak"})
    two = a_job(S.ARCHIVED, id="2", options={"seed": 2, "prompt": "oak", "material": "PBR"})
    assert differences([one, two]) == {"1": (("seed", 1),), "2": (("seed", 2), ("material", "PBR"))}
    files = tuple(replace(file, source="inbox/steel\n.png") if file.role is Role.IMAGE else file for file in one.files)
    three = replace(one, id="3", files=files)
    assert differences([one, three]) == {"1": (("image", "chair.png"),), "3": (("image", "steel\\n.png"),)}
    assert differences([one]) == {"1": ()}
    assert differences([one, replace(two, options={}, files=(), condensed_at=NOW)]) == {"1": ()}
