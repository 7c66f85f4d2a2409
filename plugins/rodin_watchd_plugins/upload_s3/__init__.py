"""Upload results to an S3-compatible store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rodin_watchd.v1 import Job, hookimpl
from rodin_watchd_plugins.upload_s3.files import RECEIPT, Local, opened
from rodin_watchd_plugins.upload_s3.keys import key_of, prefix_of, public_address
from rodin_watchd_plugins.upload_s3.settings import Settings
from rodin_watchd_plugins.upload_s3.store import Store

__all__ = ["Settings", "rodin_configure", "rodin_delivered"]


@hookimpl
def rodin_configure(settings: Settings) -> None:
    """Look for the credentials that are named."""
    Store.opened(settings)


@hookimpl
def rodin_delivered(job: Job, directory: Path, settings: Settings) -> None:
    """Upload the files that the job names, the receipt last: whoever finds it in the store finds the rest, too."""
    store, prefix = Store.opened(settings), prefix_of(settings.prefix, job)
    for name in (*(file.name for file in job.results), RECEIPT):
        with opened(directory, name) as local:
            print(_uploaded(store, key_of(prefix, name), local))  # noqa: T201 - a plugin's log
    for line in _links(settings, store, job, prefix):
        print(line)  # noqa: T201 - the same


def _uploaded(store: Store, key: str, local: Local) -> str:
    if store.holds(key, local):
        return f"{key}: was there already"
    store.put(key, local)
    return f"{key}: {local.size:,} bytes uploaded"


def _links(settings: Settings, store: Store, job: Job, prefix: str) -> Iterator[str]:
    """Yield a line with the address of each result, as the settings want it."""
    for key in (key_of(prefix, file.name) for file in job.results):
        if settings.link == "public":
            yield f"{key}: {public_address(settings.public_url, key)}"
        elif settings.link == "presigned":
            yield f"{key}: {store.presigned(key, settings.link_hours)}"
