"""The state machine: its table, and what outcomes make of jobs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from job_samples import (
    NOW,
    PAID,
    SERVICE_ERRORS,
    SET_PROBLEM,
    TASK,
    a_job,
    accepted,
    all_errors,
    all_problems,
    said,
    some_files,
)

from rodin_watchd.core.commands import cancel, resolve_adopt, resolve_give_up, resolve_not_charged, retry
from rodin_watchd.core.kinds import TEXTURE
from rodin_watchd.core.machine import (
    ENDED,
    MOST_TRIES_OF,
    POLICIES,
    RESTING,
    TABLE,
    Signal,
    after,
    answered,
    begin_upload,
    close_upload,
    hand_over,
    move,
    outcome_of,
    understood,
)
from rodin_watchd.core.pauses import is_ready
from rodin_watchd.errors import (
    CommandRefusedError,
    DiskError,
    NetworkError,
    OutcomeUnknownError,
    Problem,
    RodinWatchdError,
    Scope,
    TaskFailedError,
    TaskLostError,
    VendorAnswerError,
)
from rodin_watchd.model import (
    Answer,
    Done,
    Job,
    NotYet,
    Outcome,
    Rejected,
    Retry,
    Sequel,
    State,
    Step,
    Unknown,
)

modest = settings(max_examples=150, deadline=None)
S = State
GOOD_ANSWERS = [accepted("a"), accepted("b", "")]
REFUSALS = [
    said(400, {"error": "INVALID_REQUEST", "message": "bad model"}),
    said(402, {"error": "INSUFFICIENT_FUND"}),
    said(201, {"error": "INSUFFICIENT_FUND"}),
    said(401, {}),
    said(429, {}),
]
SILENT_ANSWERS = [said(500, {}), said(201, {}), Answer(201, b"<html>"), said(502, {"error": "UNKNOWN"})]

STEP_OUTCOMES: dict[State, tuple[type, ...]] = {
    S.CLAIMED: (Done, Retry, Rejected),
    S.UPLOADING: (Done, Retry, Rejected, Unknown),
    S.SUBMITTING: (Done, Retry, Rejected, Unknown),
    S.SUBMITTED: (Done, NotYet, Retry, Rejected),
    S.GENERATED: (Done, Retry, Rejected),
    S.DOWNLOADED: (Done, Retry, Rejected),
    S.PROCESSED: (Done, Retry, Rejected),
    S.DELIVERED: (Done, Retry, Rejected),
    S.FAILING: (Done, Retry, Rejected),
    S.RETURNING: (Done, Retry, Rejected),
}
LOCAL = (S.DOWNLOADED, S.PROCESSED, S.DELIVERED, S.FAILING, S.RETURNING)

problems = st.builds(
    replace,
    st.sampled_from(all_problems()),
    retry_after_seconds=st.one_of(st.none(), st.floats(0, 3600)),
)
chances = st.floats(0, 1, exclude_max=True)
instants = st.floats(0, 4e9)


@st.composite
def jobs(draw: st.DrawFn, states: tuple[State, ...] = tuple(STEP_OUTCOMES)) -> Job:
    """Any job of these states that the journal can hold, however odd its times are."""
    state = draw(st.sampled_from(states))
    deadline = draw(instants) if POLICIES[state].deadline_seconds else None
    task = TASK if state in PAID or (state in (S.CLAIMED, S.FAILING) and draw(st.booleans())) else None
    return a_job(
        state,
        attempts=draw(st.integers(0, 2000)),
        not_before=draw(instants),
        deadline=deadline,
        task=task,
        charges=draw(st.integers(0, 3)) + bool(task),
        answer=draw(st.sampled_from([None, *GOOD_ANSWERS, *REFUSALS]))
        if state in (S.UPLOADING, S.SUBMITTING)
        else None,
        problem=draw(problems) if state is S.FAILING else draw(st.one_of(st.none(), problems)),
    )


@st.composite
def outcomes(draw: st.DrawFn, job: Job) -> Outcome:
    """Any outcome that the step of the job's state can return."""
    kind = draw(st.sampled_from(STEP_OUTCOMES[job.state]))
    if kind is NotYet:
        return NotYet(draw(st.text(max_size=5)))
    if kind is not Done:
        made = kind(draw(problems))
        assert isinstance(made, Retry | Rejected | Unknown)
        return made
    if POLICIES[job.state].step is Step.SUBMIT:
        return Done(replace(job, task=TASK, answer=None, charges=job.charges + 1))
    return Done(replace(job, fingerprint="ab" * 32, place="outbox/chair"))


# ---- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_only_what_the_table_names_can_happen(state: State, signal: Signal) -> None:
    """A move leads where the table says, with its time noted; every other one is refused."""
    if (state, signal) not in TABLE:
        with pytest.raises(KeyError):
            move(a_job(state), signal, NOW)
        return
    moved = move(a_job(state), signal, NOW + 5)
    assert (moved.job.state, moved.action) == (TABLE[state, signal], TABLE[state, signal].value)
    assert moved.job.times[moved.job.state] == NOW + 5


def test_every_step_has_all_its_outcomes_in_the_table() -> None:
    """What a step of a state can return is what the table knows of it: nothing is missing, nothing is left over."""
    signals = {Done: Signal.DONE, NotYet: Signal.NOT_YET, Retry: Signal.RETRY, Unknown: Signal.UNKNOWN}
    wanted = {(state, signals[kind]) for state, kinds in STEP_OUTCOMES.items() for kind in kinds if kind in signals}
    wanted |= {(state, Signal.REJECTED) for state in STEP_OUTCOMES if state not in LOCAL}
    wanted |= {(S.STAGED, Signal.REJECTED)}  # no step's outcome, but a proof's (core.proof)
    known = {(state, signal) for state, signal in TABLE if signal in set(signals.values()) or signal is Signal.REJECTED}
    assert known == wanted


def test_every_state_has_a_policy_or_rests() -> None:
    """A state that is nobody's decision names its step."""
    assert set(POLICIES) == set(State) - RESTING
    assert {S.ARCHIVED, S.FAILED, S.RETURNED} == ENDED


@pytest.mark.parametrize("start", list(State))
def test_an_end_can_be_reached_from_every_state(start: State) -> None:
    """No state is a trap; the paths use the table's moves alone."""
    reached = {start}
    for _ in State:
        reached |= {after for (before, _), after in TABLE.items() if before in reached}
    assert reached & ENDED
    assert S.ARCHIVED in reached or start in {S.RETURNING, S.RETURNED}  # the set goes on as another job


def test_only_a_person_moves_a_held_job() -> None:
    """Every way out of `held` is a decision of a person."""
    ways = {signal for state, signal in TABLE if state is S.HELD}
    assert ways == {Signal.NOT_CHARGED, Signal.ADOPT, Signal.GIVE_UP}


def test_sending_is_entered_through_the_intents_alone() -> None:
    """Nothing leads to `submitting` but `close`, and nothing to `uploading` but `begin`: money has one door.

    But for the way back from a `close` that nobody has acted on.
    """
    doors = {(signal, after) for (_, signal), after in TABLE.items() if after in (S.UPLOADING, S.SUBMITTING)}
    assert doors == {(Signal.BEGIN, S.UPLOADING), (Signal.WITHHOLD, S.UPLOADING), (Signal.CLOSE, S.SUBMITTING)}
    assert [state for state, signal in TABLE if signal is Signal.WITHHOLD] == [S.SUBMITTING]


# ---- any outcome of any job -----------------------------------------------------------------------------------------


@modest
@given(st.data(), jobs(), instants, chances, st.floats(1, 86_400))
def test_no_outcome_of_a_step_breaks_the_machine(
    data: st.DataObject, job: Job, now: float, chance: float, poll: float
) -> None:
    """Whatever a step returns is decided, along the table, and costs neither a charge nor a task nor a problem."""
    outcome = data.draw(outcomes(job))
    moved = after(job, outcome, now, chance, poll).job
    assert moved.state in {to for (state, _), to in TABLE.items() if state is job.state}
    assert moved.charges == job.charges + (isinstance(outcome, Done) and POLICIES[job.state].step is Step.SUBMIT)
    assert moved.task is not None or job.task is None
    assert moved.state not in (S.UPLOADING, S.SUBMITTING)
    assert moved.problem is not None or moved.state not in (S.FAILING, S.FAILED, S.HELD)
    asked = outcome.problem.asked_seconds if isinstance(outcome, Retry | Rejected) else 0.0
    assert now <= moved.not_before <= now + max(poll, POLICIES[job.state].wait.longest_seconds * 1.1, asked) + 1e-3


@modest
@given(jobs(), st.sampled_from(SERVICE_ERRORS), instants, chances)
def test_a_service_error_uses_up_nothing(job: Job, kind: type[RodinWatchdError], now: float, chance: float) -> None:
    """No attempt and no time of the deadline goes; the job stays (a submit goes back) and its lane's pause is the wait."""
    job = replace(job, answer=REFUSALS[1])
    moved = after(job, Retry(kind().problem), now, chance).job
    assert moved.state == (S.STAGED if job.state in (S.UPLOADING, S.SUBMITTING) else job.state)
    assert (moved.attempts, moved.not_before) == (job.attempts, now)
    if job.deadline is not None and moved.deadline is not None:
        assert moved.deadline - moved.not_before == pytest.approx(job.deadline - job.not_before, abs=1e-3)


def test_a_service_error_without_a_lane_waits_by_itself() -> None:
    """Nothing pauses for it, so the job must not come back at once and spin."""
    problem = replace(SET_PROBLEM, scope=Scope.SERVICE, lane=None)
    moved = after(a_job(S.SUBMITTED), Retry(problem), NOW, 0.5).job
    assert (moved.not_before, moved.attempts) == (NOW + 2.0, 0)


@pytest.mark.parametrize("state", [state for state in STEP_OUTCOMES if state is not S.SUBMITTING])
def test_an_error_that_only_one_set_meets_backs_off_even_with_a_lane(state: State) -> None:
    """A disk error that was found to be the set's own counts as the set's, and waits."""
    problem = replace(DiskError().problem, scope=Scope.SET)
    moved = after(a_job(state, problem=SET_PROBLEM), Retry(problem), NOW, 0.5).job
    assert (moved.attempts, moved.not_before) == (1, NOW + POLICIES[state].wait.first_seconds)


@pytest.mark.parametrize("state", [S.CLAIMED, S.UPLOADING])
def test_attempts_end_in_failing(state: State) -> None:
    """A set error is tried as often as the policy says, with growing waits, and then fails the job with that error."""
    job, waits, now = a_job(state), [], NOW
    while job.state is not S.FAILING:
        job = replace(after(job, Retry(SET_PROBLEM), now, 0.5).job)
        waits.append(job.not_before - now)
        now = job.not_before
        if job.state is S.STAGED:
            job = begin_upload(job, now, TEXTURE.list_price({}), "k").job
    assert len(waits) == POLICIES[state].max_attempts
    assert waits[:5] == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert job.problem == SET_PROBLEM


@pytest.mark.parametrize("state", [S.SUBMITTED, S.GENERATED])
def test_set_errors_end_in_failing_when_the_time_is_spent(state: State) -> None:
    """An error that never passes fails the job once the waits come to the state's deadline, not before."""
    job, now = a_job(state), NOW
    while job.state is state:
        job = after(job, Retry(SET_PROBLEM), now, 0.5).job
        now = max(now, job.not_before)
    limit = POLICIES[state].deadline_seconds
    assert limit is not None
    assert job.state is S.FAILING
    assert limit < now - NOW <= limit + POLICIES[state].wait.longest_seconds * 2
    assert job.problem == SET_PROBLEM


def test_a_task_that_never_ends_fails_after_its_deadline() -> None:
    """Not yet, for a day of polling: the job fails, with the vendor's last word and the free way back in the advice."""
    job, now, polls = a_job(S.SUBMITTED), NOW, 0
    while job.state is S.SUBMITTED:
        job = after(job, NotYet("1 of 3 parts done"), now, 0.5, 1800.0).job
        now, polls = now + 1800.0, polls + 1
    assert (job.state, polls) == (S.FAILING, 50)
    assert job.problem is not None
    assert job.problem.code == "deadline"
    assert "1 of 3 parts done" in job.problem.message
    assert "retry" in job.problem.command


@pytest.mark.parametrize("jump", [-1e9, -86_400.0 * 3, 86_400.0 * 3, 1e9])
def test_a_clock_that_jumps_costs_a_job_no_time(jump: float) -> None:
    """A deadline counts decided waits: it is neither reached by a clock set forward nor put off by one set back."""
    job = after(a_job(S.SUBMITTED), NotYet(""), NOW, 0.5, 60.0).job
    jumped = after(job, NotYet(""), NOW + 60.0 + jump, 0.5, 60.0).job
    assert jumped.state is S.SUBMITTED
    assert jumped.deadline is not None
    assert jumped.deadline - jumped.not_before == pytest.approx(86_400.0 - 120.0)


def test_a_task_that_the_vendor_does_not_know_is_asked_for_twelve_times() -> None:
    """A new task may be unknown for a moment; after that many tries the job fails and says that it was paid for."""
    job, tries = a_job(S.SUBMITTED), 0
    while job.state is S.SUBMITTED:
        job, tries = after(job, Retry(TaskLostError().problem), NOW, 0.5).job, tries + 1
    assert tries == MOST_TRIES_OF["task-lost"]
    assert job.problem is not None
    assert "paid" in job.problem.advice


def test_progress_forgives_the_errors_before_it() -> None:
    """A poll that works starts the count anew."""
    job = after(a_job(S.SUBMITTED, attempts=11), NotYet("half"), NOW, 0.5, 5.0).job
    assert (job.attempts, job.problem, job.progress, job.not_before) == (0, None, "half", NOW + 5.0)


@pytest.mark.parametrize("attempts", [0, 5, 2000])
@pytest.mark.parametrize("state", LOCAL)
def test_local_work_is_tried_until_it_works(state: State, attempts: int) -> None:
    """From the download on, no error gives a job up, not even one that says it is final."""
    for outcome in (Retry(SET_PROBLEM), Rejected(all_problems()[0]), Rejected(TaskLostError().problem)):
        job = after(a_job(state, attempts=attempts, problem=SET_PROBLEM), outcome, NOW, 0.5).job
        assert job.state is state
        assert NOW + 2.0 <= job.not_before <= NOW + POLICIES[state].wait.longest_seconds


@pytest.mark.parametrize("trouble", [DiskError().problem, SET_PROBLEM])
def test_burying_keeps_the_problem_that_it_is_for(trouble: Problem) -> None:
    """A full disk on the way to `failed/` must not hide that the job may have been charged."""
    job = a_job(S.FAILING, problem=OutcomeUnknownError().problem)
    tried = after(job, Retry(trouble), NOW, 0.5)
    assert tried.job.problem == job.problem
    assert tried.message == trouble.message
    assert after(tried.job, Done(tried.job), NOW, 0.5).job.problem == job.problem


def test_what_the_vendor_asks_for_is_waited_for() -> None:
    """A Retry-After of an answer about one set counts when it is longer than the back-off, up to an hour."""
    asked = replace(VendorAnswerError().problem, retry_after_seconds=50.0)
    assert after(a_job(S.SUBMITTED), Retry(asked), NOW, 0.5).job.not_before == NOW + 50.0
    endless = replace(asked, retry_after_seconds=9000.0)
    waiting = after(a_job(S.SUBMITTED), Retry(endless), NOW, 0.5).job
    assert waiting.not_before == NOW + 3600.0
    assert not is_ready(waiting, NOW + 3599.0, 120.0)
    assert is_ready(waiting, NOW + 3600.0, 120.0)
    late = after(a_job(S.GENERATED), Retry(replace(asked, retry_after_seconds=900.0)), NOW, 0.5).job
    assert late.not_before == NOW + 900.0


# ---- submitting -----------------------------------------------------------------------------------------------------


def test_a_submit_goes_through_both_intents_and_keeps_its_attempts() -> None:
    """Uploading, then submitting: attempts are counted across them, and an old answer is gone before the new body."""
    uploading = begin_upload(a_job(S.STAGED, attempts=3, answer=REFUSALS[4]), NOW, TEXTURE.list_price({}), "k").job
    submitting = close_upload(uploading, NOW + 1).job
    assert (uploading.state, uploading.attempts, uploading.answer) == (S.UPLOADING, 3, None)
    assert (submitting.state, submitting.attempts) == (S.SUBMITTING, 3)


def test_a_committed_answer_is_understood_once_and_for_all() -> None:
    """The same task comes of the same answer, however often and however late it is read; it costs one charge."""
    job = answered(a_job(S.SUBMITTING), accepted("task-1", "key-1")).job
    first, again = understood(job, NOW + 1), understood(job, NOW + 9999)
    assert first == again
    assert isinstance(first, Done)
    moved = after(job, first, NOW + 1, 0.5, 5.0).job
    assert (moved.state, moved.charges, moved.answer) == (S.SUBMITTED, 1, None)
    assert moved.task is not None
    assert (moved.task.uuid, moved.task.subscription_key, moved.task.submitted_at) == ("task-1", "key-1", NOW)
    assert (moved.not_before, moved.deadline) == (NOW + 6.0, NOW + 1 + 86_400.0)


def test_an_answer_before_the_end_of_the_body_is_believed() -> None:
    """A server that takes the set early may charge for it."""
    job = answered(a_job(S.UPLOADING), accepted("early")).job
    assert after(job, understood(job, NOW), NOW, 0.5).job.state is S.SUBMITTED


@pytest.mark.parametrize("state", [S.UPLOADING, S.SUBMITTING])
@pytest.mark.parametrize("answer", SILENT_ANSWERS)
def test_an_answer_that_does_not_tell_holds_the_job(state: State, answer: Answer) -> None:
    """5xx after the end, no task, no JSON: the vendor may have charged, so a person decides."""
    job = answered(a_job(state), answer).job
    moved = after(job, understood(job, NOW), NOW, 0.5).job
    broke_off = state is S.UPLOADING and answer.status >= 500
    assert (moved.state, moved.charges, moved.refused) == (S.STAGED if broke_off else S.HELD, 0, broke_off)


@pytest.mark.parametrize("state", [S.UPLOADING, S.SUBMITTING])
@pytest.mark.parametrize("answer", [*REFUSALS, said(307, {})])
def test_a_refusal_counts_whenever_it_comes(state: State, answer: Answer) -> None:
    """Before the end of the body or after it: it is the vendor's word alone that nothing was charged."""
    job = answered(a_job(state), answer).job
    moved = after(job, understood(job, NOW), NOW, 0.5).job
    assert moved.state in (S.STAGED, S.FAILING)
    assert moved.refused == 1


def test_a_broken_upload_is_no_refusal() -> None:
    """Nothing was answered: it is proven that nothing was submitted."""
    moved = after(a_job(S.UPLOADING), Retry(NetworkError("it broke").problem), NOW, 0.5).job
    assert (moved.state, moved.refused) == (S.STAGED, 0)


@pytest.mark.parametrize(
    ("answer", "state"), list(zip(REFUSALS, [S.FAILING, S.STAGED, S.STAGED, S.STAGED, S.STAGED], strict=True))
)
def test_a_refusal_proves_that_nothing_was_charged(answer: Answer, state: State) -> None:
    """A complete refusal sends the set back or fails it, without a charge."""
    job = answered(a_job(S.SUBMITTING), answer).job
    moved = after(job, understood(job, NOW), NOW, 0.5).job
    assert (moved.state, moved.charges) == (state, 0)


def test_submitting_without_an_answer_is_held() -> None:
    """Found at start-up, nobody can tell what became of it."""
    job = a_job(S.SUBMITTING)
    moved = after(job, understood(job, NOW), NOW, 0.5).job
    assert moved.state is S.HELD
    assert moved.problem is not None
    assert moved.problem.code == "unknown-outcome"


@pytest.mark.parametrize("kind", [Retry, Rejected])
def test_no_error_repeats_a_submit_whose_end_was_sent(kind: type[Retry | Rejected]) -> None:
    """Whatever a step believes: in `submitting`, without a committed answer, every error means unknown."""
    moved = after(a_job(S.SUBMITTING), kind(NetworkError().problem), NOW, 0.5).job
    assert moved.state is S.HELD
    assert moved.problem is not None
    assert moved.problem.code == "unknown-outcome"


@pytest.mark.parametrize("kind", list(all_errors()))
def test_errors_become_outcomes_by_their_class(kind: type[RodinWatchdError]) -> None:
    """Unknown stays unknown, final ones reject, all others are tried again; the problem goes with them."""
    outcome = outcome_of(kind("told"))
    wanted = Unknown if issubclass(kind, OutcomeUnknownError) else Rejected if kind.final else Retry
    assert type(outcome) is wanted
    assert outcome.problem.message == "told"


def test_a_claimed_job_with_a_task_goes_past_the_submit() -> None:
    """What was paid is never sent again: staged once more, it is polled at once."""
    job = a_job(S.CLAIMED, task=TASK, charges=1)
    moved = after(job, Done(replace(job, fingerprint="ab")), NOW, 0.5).job
    assert (moved.state, moved.task, moved.charges) == (S.SUBMITTED, TASK, 1)


# ---- whole lives ----------------------------------------------------------------------------------------------------


class Life:
    """A job that is moved as the service and people would move it, with every invariant checked at every move."""

    def __init__(self) -> None:
        self.job = a_job(S.CLAIMED)
        self.now = NOW
        self.submits = 0  # closing boundaries that were allowed out

    def take(self, job: Job, *, paid_again: bool = False, by_person: bool = False) -> None:
        """Check a move and make it."""
        before, self.job = self.job, job
        assert job.charges >= before.charges
        assert job.charges <= self.submits
        assert job.task is not None or before.task is None or paid_again
        assert job.task is None or job.state not in (S.STAGED, S.UPLOADING, S.SUBMITTING)
        assert before.state not in RESTING or by_person
        assert job.problem is not None or job.state not in (S.HELD, S.FAILING, S.FAILED)
        assert (job.id, job.created_at) == (before.id, before.created_at)
        self.submits += before.state is S.UPLOADING and job.state in (S.SUBMITTING, S.HELD)

    def by_service(self, data: st.DataObject) -> None:
        """Go on as the daemon would."""
        if self.job.state is S.STAGED:
            self.take(begin_upload(self.job, self.now, TEXTURE.list_price({}), "k").job)
        elif self.job.state is S.UPLOADING and data.draw(st.booleans()):
            self.take(close_upload(self.job, self.now).job)
        elif self.job.state is S.SUBMITTING and data.draw(st.booleans()):
            answer = data.draw(st.sampled_from([*GOOD_ANSWERS, *REFUSALS, *SILENT_ANSWERS]))
            self.take(answered(self.job, answer).job)
            self.take(after(self.job, understood(self.job, self.now), self.now, 0.5, 5.0).job)
        elif self.job.state not in RESTING:
            outcome = data.draw(outcomes(self.job).filter(self.is_possible))
            self.take(after(self.job, outcome, self.now, 0.5, 5.0).job)

    def is_possible(self, outcome: Outcome) -> bool:
        """Leave out a submit that is done without an answer."""
        return POLICIES[self.job.state].step is not Step.SUBMIT or not isinstance(outcome, Done)

    def by_person(self, data: st.DataObject) -> None:
        """Do what somebody might ask for, where it is allowed."""
        wish = data.draw(st.sampled_from(["retry", "pay", "cancel", "free", "adopt", "give up"]))
        try:
            wished = {
                "retry": lambda: retry(self.job, self.now, pay_again=False),
                "pay": lambda: retry(self.job, self.now, pay_again=True),
                "cancel": lambda: cancel(self.job, self.now),
                "free": lambda: resolve_not_charged(self.job, self.now),
                "adopt": lambda: resolve_adopt(self.job, TASK, self.now),
                "give up": lambda: resolve_give_up(self.job, self.now),
            }[wish]()
        except CommandRefusedError:
            return
        self.take(wished.job, paid_again=wish == "pay", by_person=True)


@modest
@given(st.data(), st.lists(st.tuples(st.booleans(), st.floats(-1e6, 1e6)), max_size=40))
def test_no_life_of_a_job_breaks_a_promise(data: st.DataObject, steps: list[tuple[bool, float]]) -> None:
    """Through any outcomes, wishes and clocks: no paid task is sent again, no charge is lost, the held wait for people."""
    life = Life()
    for asked, elapsed in steps:
        life.now = max(life.now + elapsed, 0.0)
        if asked:
            life.by_person(data)
        else:
            life.by_service(data)
    assert life.job.charges <= life.submits


def test_a_life_without_trouble_is_delivered() -> None:
    """Ten moves, one charge."""
    job = after(a_job(), Done(replace(a_job(), fingerprint="ab")), NOW, 0.5).job
    job = answered(close_upload(begin_upload(job, NOW, TEXTURE.list_price({}), "k").job, NOW).job, accepted()).job
    job = after(job, understood(job, NOW), NOW, 0.5, 5.0).job
    path = [job.state]
    while job.state not in ENDED:
        job = after(job, Done(job), NOW, 0.5).job
        path.append(job.state)
    assert path == [S.SUBMITTED, S.GENERATED, S.DOWNLOADED, S.PROCESSED, S.DELIVERED, S.ARCHIVED]
    assert (job.charges, job.problem) == (1, None)


def test_a_failed_task_is_final() -> None:
    """The vendor's word that a task failed fails the job at once, with its charge on the record."""
    moved = after(a_job(S.SUBMITTED), Rejected(TaskFailedError().problem), NOW, 0.5)
    assert (moved.job.state, moved.job.charges, moved.job.task) == (S.FAILING, 1, replace(TASK, subscription_key=""))
    assert moved.message == TaskFailedError().message


# ---- what follows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_what_follows_begins_when_the_first_job_is_archived(state: State) -> None:
    """And in no other state; it is of the same folder and settings, has a name after the first one, and each names the other."""
    then = Sequel("b1", "texture", "chair.png", {"seed": 3}, some_files())
    first = a_job(state, then=then, again="once more", plugins={"resize": {"to": 1}}, folder="oak")
    begun = hand_over(first, NOW)
    if state is not State.ARCHIVED:
        assert begun == ()
        return
    ((job, action, _, _),) = [(t.job, t.action, t.message, t.code) for t in begun]
    assert (job.id, job.follows, job.name, job.folder, job.kind) == ("b1", first.id, "chair-texture", "oak", "texture")
    assert (job.state, action, job.files, job.options) == (State.CLAIMED, "claimed", then.files, then.options)
    assert (job.again, job.plugins, job.consent, job.charges) == (first.again, first.plugins, "", 0)
    assert hand_over(replace(first, then=None), NOW) == ()


def test_a_very_long_name_is_not_made_longer() -> None:
    """Folders get it, and those have room for 255 bytes."""
    then = Sequel("b1", "texture", "chair.png", {}, some_files())
    (begun,) = hand_over(a_job(State.ARCHIVED, then=then, name="\u00e4" * 100), NOW)
    assert begun.job.name == "\u00e4" * 100
