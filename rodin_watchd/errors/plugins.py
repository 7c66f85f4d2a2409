"""What plugins do wrong."""

from __future__ import annotations

from rodin_watchd.errors.base import RodinWatchdError
from rodin_watchd.errors.owner import ConfigError, OwnerError
from rodin_watchd.errors.sets import FilesError
from rodin_watchd.problem import Fault, Scope


class PluginLoadError(ConfigError):
    """A plugin cannot be used."""

    code = "plugin"
    advice = (
        "`rodin-watchd plugins check` tells more; `optional = true` in its table lets the service start without it."
    )


class PluginError(RodinWatchdError):
    """A plugin failed."""

    code = "plugin-failed"
    fault = Fault.OWNER
    advice = "`rodin-watchd show JOB` has what the plugin said; whoever wrote it can mend it."

    output = ""  # what it printed, the end of it
    trace = ""  # where it was in its code


class PluginSettingsError(PluginError):
    """What the configuration, or a set, says to a plugin is wrong."""

    code = "plugin-settings"


class PluginStartError(PluginError):
    """The machine could not start a plugin's process."""

    code = "plugin-start"
    fault = Fault.MACHINE
    advice = "It is tried again by itself; it needs room for temporary files, memory, processes and open files."


class PluginCrashedError(PluginError):
    """A plugin's process ended in the middle of a call."""

    code = "plugin-crashed"


class PluginTimeoutError(PluginError):
    """A plugin took too long."""

    code = "plugin-timeout"
    advice = "A larger `timeout_seconds` in the plugin's table gives it more time."


class PluginGreedyError(PluginError):
    """A plugin wrote more than it may."""

    code = "plugin-greedy"
    advice = "A larger `disk_megabytes` in the plugin's table gives it more room."


class PluginAsideError(PluginError, OwnerError):
    """A plugin failed too often and is set aside for a while."""

    code = "plugin-aside"
    scope = Scope.SERVICE


class PluginRequiredError(PluginError):
    """A plugin without which no result is to be delivered could not process it."""

    code = "plugin-required"
    final = True
    advice = (
        "The results lie beside this report. When the plugin is mended, `rodin-watchd retry JOB` fetches and processes "
        "them again, free of charge while the vendor keeps them."
    )


class PluginRefusedError(FilesError):
    """A plugin refused the set."""

    code = "plugin-refused"
