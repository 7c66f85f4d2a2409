"""The stories of the soak, in the order of its table."""

from __future__ import annotations

from collections.abc import Sequence

from kill_stories import KILL_STORIES
from stories import Story

STORIES: Sequence[Story] = (*KILL_STORIES,)
