"""Uploads one set after the other with the real client, and marks how far each is, until it is killed.

The argument is a JSON object. Marks are lines `NUMBER WORD MONOTONIC_SECONDS`, as the daemon would commit them: `uploading` before the
connection is made, `submitting` when the last bytes may go, `answered` when the answer was read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from rodin_watchd.adapters.rodin_client import RodinClient, Timeouts
from rodin_watchd.adapters.rodin_client.upload import Upload
from rodin_watchd.core.kinds import TEXTURE


def main() -> None:
    """Upload for ever, or so many sets as are asked for."""
    order = json.loads(sys.argv[1])
    marks = os.open(order["marks"], os.O_WRONLY | os.O_APPEND)
    model = Upload(
        Path(order["model"]), order["model_size"], order["model_sha256"], "model", "model.glb", "model/gltf-binary"
    )
    image = Upload(Path(order["image"]), order["image_size"], order["image_sha256"], "image", "image.png", "image/png")
    client = RodinClient(order["base_url"], order["key"], timeouts=Timeouts(10, 60), max_calls=1)

    for number in range(order["first"], order["first"] + order["count"]):

        def mark(word: str, number: int = number) -> None:
            os.write(marks, f"{number} {word} {time.monotonic()}\n".encode())

        mark("uploading")
        answer = client.submit(TEXTURE.path, (model, image), [("prompt", str(number))], lambda: mark("submitting"))
        mark("answered" if answer.status == 201 else f"refused-{answer.status}")


main()
