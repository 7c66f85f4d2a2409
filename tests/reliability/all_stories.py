"""The stories of the soak, in the order of its table."""

from __future__ import annotations

from collections.abc import Sequence

from artist_stories import ARTIST_STORIES
from fault_stories import FAULT_STORIES
from journal_stories import JOURNAL_STORIES
from kill_stories import KILL_STORIES
from people_stories import PEOPLE_STORIES
from place_stories import PLACE_STORIES
from stories import Story
from world_stories import WORLD_STORIES

STORIES: Sequence[Story] = (
    *KILL_STORIES,
    *ARTIST_STORIES,
    *PLACE_STORIES,
    *JOURNAL_STORIES,
    *FAULT_STORIES,
    *PEOPLE_STORIES,
    *WORLD_STORIES,
)
