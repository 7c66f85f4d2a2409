"""The same content twice: what to say about the job that has, or may have, paid for it before. Pure."""

from __future__ import annotations

from rodin_watchd.core.consent import is_by_person
from rodin_watchd.core.machine import ENDED
from rodin_watchd.core.names import printable
from rodin_watchd.core.receipt import in_credits
from rodin_watchd.errors import DuplicateSetError, TaskFailedError
from rodin_watchd.model import CREDITS_PER_TEXTURE, Job, State

_SAME = "The same model, image and options"
_AGAIN = "write `again = true` into the TOML file to pay for it again"


def bought_before(same: Job, wanted: Job | None = None) -> DuplicateSetError:
    """Return why a set is refused whose content another job has bought, may have bought, or is buying.

    `wanted`: the job of the set, if somebody wants to pay for it once more, which has to wait until the other job has ended.
    """
    then = ""
    if wanted and wanted.consent:
        option = "--pay-again " if is_by_person(wanted.consent, wanted.again) else ""
        then = f" Then `rodin-watchd retry {option}JOB` pays for this one as well."
    if same.state is State.ARCHIVED:
        return DuplicateSetError(f"{_SAME} were delivered before: {printable(same.place)} (job {same.id}).")
    if same.state is State.HELD:
        return DuplicateSetError(
            f"{_SAME} are held for a person's decision (job {same.id}).",
            advice=f"Wait for what comes of that job.{then}",
        )
    if same.state not in ENDED:
        return DuplicateSetError(
            f"{_SAME} are being worked on already (job {same.id}).",
            advice=f"Wait for that job's result.{then}",
        )
    return _failed_after_paying(same)


def made_before(made: Job) -> DuplicateSetError:
    """Return why a set is refused that is a result of this service, without its receipt: it would texture a texture."""
    where = f"{printable(made.place)} (job {made.id})" if made.place else f"job {made.id}"
    return DuplicateSetError(
        f"This model is a result of this service: {where}.",
        advice="To have it textured once more write `again = true` into the set's TOML file.",
    )


def is_result(made: Job, model: str, image: str) -> bool:
    """Tell whether a set of these contents (SHA-256) is one of what a job has made.

    A model that went into that job as well, because a plugin publishes it beside the textured one, is a model of the
    artist's, but with a picture of the results.
    """
    results = {file.sha256 for file in (*made.results, *made.processed)}
    return model not in {file.sha256 for file in made.files} or image in results


def paid_with(same: Job, again: bool | str) -> DuplicateSetError:
    """Return why a set is refused whose consent (what its TOML file says for `again`) was spent on another job."""
    place = f", {printable(same.place)}" if same.place else ""
    other = "fourth try" if again == "third try" else "third try"
    if isinstance(again, str):
        what = f"{_SAME} were paid for with the word “{printable(again)}” already"
    else:
        what = "`again = true` has paid once already for the same model, image and options"
    return DuplicateSetError(
        f"{what} (job {same.id}{place}).",
        advice=f'To pay once more write another word into the TOML file: `again = "{other}"`.',
    )


def refused_before(same: Job, times: int) -> DuplicateSetError:
    """Return why a set is not sent whose content the vendor has refused so often; `same` is the newest job with it."""
    where = f"{printable(same.place)} (job {same.id})" if same.place else f"job {same.id}"
    return DuplicateSetError(
        f"{_SAME} were refused by the vendor {times} times, and each try may have cost "
        f"{in_credits(CREDITS_PER_TEXTURE)}: see {where}.",
        advice=f"Change the files or the options; or have the vendor's account looked into, and {_AGAIN}.",
    )


def _failed_after_paying(same: Job) -> DuplicateSetError:
    where = f"{printable(same.place)} (job {same.id})"
    if not same.charges:
        return DuplicateSetError(
            f"{_SAME} may have been paid for before: the answer was lost, see {where}.",
            advice=f"Have the vendor's account looked into, or {_AGAIN}.",
        )
    if same.task is None or (same.problem and same.problem.code == TaskFailedError.code):
        return DuplicateSetError(
            f"{_SAME} were paid for before, without a result: see {where}.",
            advice=f"Change the files or the options, or {_AGAIN}.",
        )
    return DuplicateSetError(
        f"{_SAME} were paid for before: see {where}.",
        advice=f"`rodin-watchd retry {same.id}` fetches that result, free of charge; or {_AGAIN}.",
    )
