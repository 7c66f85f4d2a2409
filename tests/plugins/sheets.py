"""What the tests of contact sheets and of the index share: results in an outbox, and pages as a browser understands them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

from PIL import Image

PLUGIN = "rodin_watchd_plugins.contact_sheet"
RED, BLUE = (200, 40, 40), (40, 40, 200)

HOSTILE_NAMES = (
    "<script>alert(1)<",
    "\"'><img src=x onerror=alert(1)>",
    "a%2Fb#c?d&amp;e",
    "javascript:alert(1)",
    "a\u202egpj\n\x1b[31m",
    "bro\udcffken",
    "椅子 стул 🪑",
    "x" * 200,
)


def publish(folder: Path, name: str, day: int = 1, colour: tuple[int, int, int] = RED) -> Path:
    """Put a small result into a folder, as the service does: all at once, some day of November."""
    made = folder / f".{day}-making"
    made.mkdir(parents=True)
    Image.new("RGB", (64, 64), colour).save(made / "preview.png")
    (made / "base_basic_pbr.glb").write_bytes(b"glTF")
    files = '[[results]]\nname = "base_basic_pbr.glb"\nbytes = 1500000\n'
    (made / "job.toml").write_text(
        f"[job]\nwritten_at = {datetime(2026, 11, day, 12, tzinfo=UTC)}\ncredits = 0.5\n{files}"
    )
    os.utime(made / "job.toml", (day, day))
    return made.rename(folder / name)


@dataclass
class Read(HTMLParser):
    """A page as a browser understands it."""

    tags: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    text: str = ""
    script: str = ""
    policy: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag and where it leads."""
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        self.images += [value or "" for name, value in attrs if name == "src"]
        self.options += [value or "" for name, value in attrs if (tag, name) == ("option", "value")]
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        """Take text."""
        if self.tags[-1:] == ["script"] and not self.script:
            self.script = data
            return
        self.text += data
        if "h2" in self.tags[-3:] and self.tags[-1] == "bdi" and data.strip():
            self.titles.append(data)
            self.tags.append("")


def read(folder: Path, name: str = "contact-sheet.html") -> Read:
    """Return the page of this name in a folder."""
    page = Read()
    page.feed((folder / name).read_text())
    return page


def dead_links(folder: Path, page: Read) -> list[str]:
    """Return which addresses of a page lead to nothing below its folder."""
    places = {address: os.fsencode(folder) + b"/" + unquote_to_bytes(address) for address in page.addresses}
    return [
        address
        for address, place in places.items()
        if not address.startswith("./") or ".." in address or not os.path.exists(place)  # noqa: PTH110 - bytes
    ]
