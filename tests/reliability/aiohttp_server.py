"""An upload server on aiohttp: writes the prompt of each upload that came whole into a file, and answers as the vendor does."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import Any

web: Any = importlib.import_module("aiohttp.web")  # not in every development environment, so neither are its types


def note(line: str) -> None:
    """Write down what was accepted."""
    with Path(sys.argv[2]).open("a") as accepted:
        accepted.write(line)


async def accept(request: Any) -> Any:  # noqa: ANN401 - aiohttp's own types, see above
    """Take an upload."""
    form = await request.post()
    if not {"model", "image", "prompt"} <= form.keys():
        raise web.HTTPBadRequest
    note(f"{form['prompt']}\n")
    return web.json_response({"error": None, "uuid": form["prompt"], "jobs": {"uuids": []}}, status=201)


logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # uploads that break off are what it is there for
app = web.Application(client_max_size=20 << 20)
app.add_routes([web.post("/api/v2/rodin_texture_only", accept)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
