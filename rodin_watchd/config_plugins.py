"""The section `[plugins]` of `config.toml`: what holds for all plugins, and a table for each.

A table's own keys belong to the plugin and are checked by it (`rodin-watchd check`); the few that the service reads are
named here, and a plugin cannot use their names for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, model_validator

from rodin_watchd.config_sections import FilePath, Seconds, Section
from rodin_watchd.core.plain_data import unfit

_MEGABYTE: Final = 1_000_000
_MEBIBYTE: Final = 1 << 20

Megabytes = Annotated[int, Field(ge=1, le=10_000_000)]
MegabytesOrZero = Annotated[int, Field(ge=0, le=10_000_000)]


class PluginTable(Section):
    """What the service reads in a plugin's table [plugins.NAME]; every other key there is the plugin's own."""

    model_config = ConfigDict(extra="allow")

    enabled: bool = Field(default=True, description="Whether the plugin is used.")
    optional: bool = Field(
        default=False, description="Whether the service starts without the plugin when it cannot be loaded."
    )
    required: bool = Field(
        default=False,
        description="What happens when the plugin cannot process a result: true: the job fails, its results beside the "
        "report; false: the result is delivered without the plugin's work.",
    )
    order: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0, description="Plugins are called from the smallest number to the largest; equal ones by name."
    )
    timeout_seconds: Seconds | None = Field(
        default=None, description="How long one call may take, instead of plugins.timeout_seconds.", examples=[600]
    )
    memory_megabytes: MegabytesOrZero | None = Field(
        default=None, description="How much memory, instead of plugins.memory_megabytes.", examples=[8000]
    )
    disk_megabytes: Megabytes | None = Field(
        default=None, description="How much disk, instead of plugins.disk_megabytes.", examples=[10000]
    )

    @model_validator(mode="after")
    def _plain(self) -> Self:
        """Refuse what no plugin can be told: dates and times, numbers that are not finite."""
        for key, value in self.settings.items():
            if why := unfit(value):
                raise ValueError(f": {key} {why}")
        return self

    @property
    def settings(self) -> Mapping[str, Any]:
        """The plugin's own keys."""
        return self.model_extra or {}


class Plugins(Section):
    """Plugins: where they lie and what they may use. Each has a table of its own, [plugins.NAME]."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, PluginTable] = Field(init=False)

    folders: list[FilePath] = Field(
        default_factory=list,
        description="Folders with plugins as single .py files. Nobody but the service's user may be able to write there.",
        examples=[["/etc/rodin-watchd/plugins"]],
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(default=2, description="How many calls run at the same time.")
    timeout_seconds: Seconds = Field(default=300, description="How long one call may take before its process is ended.")
    memory_megabytes: MegabytesOrZero = Field(
        default=4096,
        description="How much memory a plugin's process may have, where the system has such a limit; 0: any.",
    )
    disk_megabytes: Megabytes = Field(
        default=4096, description="How much a plugin may leave in the working copy of a result."
    )
    tries: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="How often a result is processed before a plugin that fails is passed over."
    )
    failures_before_rest: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=5, description="After so many failures in a row a plugin is set aside for a while."
    )
    rest_seconds: Seconds = Field(
        default=900, description="For how long a plugin is set aside before it is tried again."
    )
    pass_environment: list[str] = Field(
        default_factory=list,
        description="Environment variables that plugins may see besides PATH, HOME, the language and the time zone. "
        "The API key is never passed.",
        examples=[["DISPLAY"]],
    )

    @property
    def tables(self) -> Mapping[str, PluginTable]:
        """The table of each plugin that has one."""
        return self.__pydantic_extra__ or {}

    def table(self, name: str) -> PluginTable:
        """Return a plugin's table; an empty one if it has none."""
        return self.tables.get(name, PluginTable())

    def timeout_of(self, name: str) -> float:
        """Return how long one call may take, in seconds."""
        return self.table(name).timeout_seconds or self.timeout_seconds

    def memory_bytes_of(self, name: str) -> int:
        """Return how much address space the process may have; 0: any."""
        own = self.table(name).memory_megabytes
        return (self.memory_megabytes if own is None else own) * _MEBIBYTE

    def disk_bytes_of(self, name: str) -> int:
        """Return how much it may leave in a working copy."""
        return (self.table(name).disk_megabytes or self.disk_megabytes) * _MEGABYTE
