"""What is secret about a job, and for how long it is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_samples import SECRET, TASK, a_job, accepted

from rodin_watchd.core.machine import forgetting
from rodin_watchd.core.wire import redacted
from rodin_watchd.model import State

UNDERSTANDING = (State.UPLOADING, State.SUBMITTING, State.HELD)


@pytest.mark.parametrize("state", State)
def test_a_key_is_kept_while_the_vendor_can_be_asked_with_it(state: State) -> None:
    """Only a submitted task is asked for by its key; its id is kept for ever."""
    task = forgetting(a_job(state, task=TASK)).task
    assert task is not None
    assert (task.uuid, task.submitted_at) == (TASK.uuid, TASK.submitted_at)
    assert task.subscription_key == (SECRET if state is State.SUBMITTED else "")


@pytest.mark.parametrize("state", State)
def test_a_raw_answer_is_kept_until_it_is_understood(state: State) -> None:
    """By the service while it submits, by a person while the job is held; nobody needs it after that."""
    job = forgetting(a_job(state, answer=accepted()))
    assert (job.answer is not None) == (state in UNDERSTANDING)


def test_a_job_without_secrets_stays_as_it_is() -> None:
    """There is nothing to forget before anything was sent."""
    assert forgetting(a_job(State.STAGED)) == a_job(State.STAGED)


@pytest.mark.parametrize("said", ["{}", "'{}'", 'Bearer {}"', "?key={}&x"])
def test_a_secret_that_comes_back_is_redacted(said: str) -> None:
    """What stands around it stays."""
    body = said.format("sk-1234567").encode()
    assert redacted(body, {"sk-1234567": "[key]"}) == said.format("[key]").encode()


def test_every_spelling_is_redacted() -> None:
    """JSON may escape what a key holds, and so may an address."""
    key = 'a/"b"+longer=='
    spellings = [key, json.dumps(key)[1:-1], json.dumps(key)[1:-1].replace("/", "\\/"), "a%2F%22b%22%2Blonger%3D%3D"]
    assert redacted(" ".join(spellings).encode(), {key: "*"}) == b"* * * *"


@pytest.mark.parametrize("short", ["", "a", "1234567"])
def test_a_short_word_is_let_be(short: str) -> None:
    """It stands for itself too often: an answer must not be torn to pieces."""
    assert redacted(b"a 1234567 error", {short: "*"}) == b"a 1234567 error"


@given(st.binary(max_size=200), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=20))
def test_no_answer_holds_a_secret_afterwards(body: bytes, secret: str) -> None:
    """Whatever surrounds it."""
    assert secret.encode() not in redacted(body + secret.encode() + body, {secret: "[]"})
