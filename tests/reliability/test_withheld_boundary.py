"""Killed uploads: what was not ended is never accepted, whatever server takes it."""

from __future__ import annotations

import math
import random

import pytest
from effort import EFFORT
from upload_kills import kill_uploads
from upload_servers import SERVERS

KILLS = 2 * EFFORT
"""`make soak` kills thirty."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_upload_is_not_accepted(name: str) -> None:
    """No server accepts an upload whose closing boundary was withheld, and each accepts what it has answered."""
    serve, missing = SERVERS[name]
    if missing:
        pytest.skip(missing)
    done = kill_uploads(serve, KILLS, random.Random(3), math.inf, whole=1)  # noqa: S311 - when to kill is no secret
    assert done.kills == KILLS
    assert done.uploading_accepted == 0
    assert done.answered == done.answered_accepted >= 2
