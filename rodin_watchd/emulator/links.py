"""Result links: signed, and only good until a moment that is written in them."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping


class Links:
    """Makes and checks links with a secret of its own."""

    def __init__(self, link_seconds: float) -> None:
        self._link_seconds = link_seconds
        self._secret = secrets.token_bytes(32)

    def path(self, task_uuid: str, name: str, now: float) -> str:
        """Give the path and query of a link that is good from `now` on for `link_seconds`."""
        expires = repr(now + self._link_seconds)
        query = urlencode({"expires": expires, "signature": self._signature(task_uuid, name, expires)})
        return f"/results/{quote(task_uuid)}/{quote(name)}?{query}"

    def good(self, task_uuid: str, name: str, query: Mapping[str, str], now: float) -> bool:
        """Tell whether the link was made here and has not expired."""
        expires = query.get("expires", "")
        signature = self._signature(task_uuid, name, expires)
        return hmac.compare_digest(signature.encode(), query.get("signature", "").encode()) and now < float(expires)

    def _signature(self, *words: str) -> str:
        return hmac.new(self._secret, "\n".join(words).encode(), "sha256").hexdigest()
