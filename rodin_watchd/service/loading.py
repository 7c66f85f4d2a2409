"""Loading: the plugins of the next configuration get ready beside the loop, which goes on meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rodin_watchd.config import Config
from rodin_watchd.service.assembly import Hosted, PluginStart, hosting


class Loading:
    """A configuration that takes effect when its plugins are loaded. The main thread's, but for `wake`, which is called then.

    Raises PluginLoadError. To be closed, unless what was loaded is taken.
    """

    def __init__(self, config: Config, key: str, start: PluginStart, wake: Callable[[], None]) -> None:
        self.config = config
        self.key = key
        self._stack = contextlib.ExitStack()
        load = self._stack.enter_context(hosting(config, start))
        thread = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._hosted = thread.submit(load)
        self._hosted.add_done_callback(lambda _: wake())
        thread.shutdown(wait=False)

    @property
    def is_done(self) -> bool:
        """Whether all are loaded, or one cannot be."""
        return self._hosted.done()

    def take(self, stack: contextlib.ExitStack) -> Hosted:
        """Wait until all are loaded and return them; their processes end with `stack` then. Raises PluginLoadError."""
        hosted = self._hosted.result()
        stack.enter_context(self._stack.pop_all())
        return hosted

    def close(self) -> None:
        """End what is being loaded, or was loaded and not taken; may be repeated."""
        self._stack.close()
