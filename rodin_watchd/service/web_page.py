"""The page in the browser, kept running next to the service; what goes wrong with it never stops the service."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from rodin_watchd.adapters.companion import Companion
from rodin_watchd.config import Config
from rodin_watchd.core.names import printable
from rodin_watchd.core.waits import WEB_PAGE
from rodin_watchd.log_lines import why
from rodin_watchd.service.clock import Clock

log = logging.getLogger("rodin_watchd")

WELL_SECONDS = 60.0
"""A page that ran for so long was well: the next try after its end comes soon again."""

_LONGEST_REASON = 500


class WebPage:
    """Starts the page's process where the configuration wants it, and once more when it ends. The main thread's alone.

    `command` starts it; without one there is none. `trouble` says why it does not run, for whoever runs the service; "" while it
    runs, or is not wanted.
    """

    def __init__(self, config: Config, command: Sequence[str], clock: Clock) -> None:
        self._config = config
        self._command = command
        self._clock = clock
        self._companion: Companion | None = None
        self._started_at = -math.inf
        self._not_before = -math.inf
        self._failures = 0
        self.trouble = ""

    def use(self, config: Config) -> None:
        """Run it with another configuration, which it reads when it starts, from the next `keep` on."""
        if config != self._config:
            self.close()
            self._config, self._failures, self._not_before, self.trouble = config, 0, -math.inf, ""

    def keep(self) -> None:
        """Start it if it is time, and note when it has ended. Never raises OSError."""
        now = self._clock.monotonic()
        if self._companion and (words := self._companion.last_words()) is not None:
            self._companion.close()
            self._companion = None
            self._failed(words, now)
        if self._companion and self._companion.is_ready:
            self.trouble = ""
        if self._companion is None and self._config.web.enabled and self._command and now >= self._not_before:
            self._start(now)

    def close(self) -> None:
        """End it; may be repeated."""
        if self._companion:
            self._companion.close()
        self._companion = None

    def _start(self, now: float) -> None:
        try:
            self._companion = Companion(self._command, _say)
            self._started_at = now
        except OSError as error:
            self._failed(why(error), now)

    def _failed(self, words: str, now: float) -> None:
        self._failures = 1 if now - self._started_at >= WELL_SECONDS else self._failures + 1
        self._not_before = now + WEB_PAGE.seconds(self._failures, self._clock.chance())
        self.trouble = (
            f"The page in the browser does not run: {printable(words, _LONGEST_REASON)} It is started again by itself."
        )
        log.warning("web-ended: %s", self.trouble, extra={"action": "web-ended"})


def _say(line: str) -> None:
    log.info("web: %s", line, extra={"action": "web"})
