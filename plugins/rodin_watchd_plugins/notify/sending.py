"""The targets, through apprise: understood, called, and what they answered without anything secret in it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import unquote

from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, NotifyType
from apprise.attachment.memory import AttachMemory
from apprise.common import OverflowMode

_ASSET: Final = AppriseAsset(
    app_id="rodin_watchd",
    app_desc="rodin_watchd",
    app_url="",
    image_url_mask="",  # no pictures from elsewhere in the messages
    image_url_logo="",
    async_mode=False,
    service_timeout=30,
    allow_templates=False,
    pgp_autogen=False,
    pem_autogen=False,
)
_TYPES: Final = {"delivered": NotifyType.SUCCESS, "failed": NotifyType.FAILURE, "held": NotifyType.WARNING}


class NotSentError(Exception):
    """A target did not take a message."""


class Target:
    """One service that gets notifications. Raises ValueError for an address that is none, which the error does not repeat."""

    def __init__(self, url: str, number: int) -> None:
        scheme = url.partition("://")[0] if "://" in url else ""
        self.key = hashlib.sha256(url.encode()).hexdigest()[:16]
        with _captured_log() as said:
            service = Apprise.instantiate(url, asset=_ASSET)
        if not isinstance(service, NotifyBase):
            known = f"that begins with {scheme}://" if scheme.isalnum() else "without a scheme"
            raise ValueError(f"apprise does not understand the address of target {number}, {known}") from None  # noqa: TRY004 - a wrong value
        if service.overflow_mode is OverflowMode.UPSTREAM:
            service.overflow_mode = OverflowMode.SPLIT  # a long digest becomes several messages, and no refused one
        self.name = f"target {number} ({service.service_name})"
        self._secrets = _secrets(url)
        self._apprise = Apprise(service, asset=_ASSET)
        said.clear()

    def send(self, title: str, text: str, moment: str, pictures: Sequence[tuple[str, bytes]]) -> None:
        """Send a message. Raises NotSentError. Pictures that are not taken are left out."""
        said = self._sent(title, text, moment, pictures)
        if said is not None and pictures:
            said = self._sent(title, text, moment, ())
        if said is not None:
            raise NotSentError(f"{self.name}: {said or 'it did not take the message'}")

    def _sent(self, title: str, text: str, moment: str, pictures: Sequence[tuple[str, bytes]]) -> str | None:
        """Return None for a message that was taken, else what apprise said."""
        attached = [
            AttachMemory(content=data, name=name, mimetype="image/jpeg")  # type: ignore[no-untyped-call]  # apprise leaves it so
            for name, data in pictures
        ]
        with _captured_log() as said:
            taken = self._apprise.notify(
                body=text,
                title=title,
                notify_type=_TYPES.get(moment, NotifyType.INFO),
                body_format=NotifyFormat.TEXT,
                attach=attached or None,
            )
        return None if taken else self._without_secrets(" ".join(dict.fromkeys(said)))[:500]

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text


def _secrets(url: str) -> list[str]:
    """Return the parts of an address that are not shown: all but its scheme, the longest first."""
    rest = url.partition("://")[2]
    parts = {part for text in (rest, unquote(rest)) for part in re.split(r"[/:@?&=,;#\s]+", text)}
    return sorted((part for part in parts if len(part) > 2), key=len, reverse=True)


@contextlib.contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Give the list that apprise's warnings are put into; nothing of them is printed."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    ear, log = Ear(logging.WARNING), logging.getLogger("apprise")
    log.propagate = False
    log.addHandler(ear)
    try:
        yield said
    finally:
        log.removeHandler(ear)
