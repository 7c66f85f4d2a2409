"""Make the pictures of the documents from the demo: the page, a set's page with its 3D result, the terminal.

`make pictures` runs it. It starts `rodin-watchd demo` with its page, and looks at it as people do: in Chromium without a screen,
driven by Playwright, and at `rodin-watchd status --watch` on a pseudo-terminal. Nothing is drawn by hand, so the pictures are
as the program is; times and ids differ from run to run.
"""

from __future__ import annotations

import argparse
import fcntl
import html
import io
import mimetypes
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pyte
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, ViewportSize, sync_playwright
from pyte.screens import Char

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
PROGRAM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
COMMAND = (sys.executable, "-m", "rodin_watchd")
WINDOW = (1120, 700)
LANGUAGES = {"en": "", "zh-CN": ".zh-CN"}
"""What the browser asks for → what the names of its pictures end with, as those of the pages."""

COLUMNS, LINES = 100, 14
LONGEST_SECONDS = 120.0
QUALITY = 82
SHOWN = "suzi"
"""The set of the demo whose page is shown: its result is a GLB, which the page can turn."""

PALETTE = {
    "default": "#d7dce0",
    "black": "#5c6670",
    "red": "#f07178",
    "green": "#7fd08a",
    "brown": "#e6b450",
    "blue": "#6cb6ff",
    "magenta": "#d2a6ff",
    "cyan": "#5ccfc5",
    "white": "#ffffff",
}
BACKGROUND = "#1b2126"


def main() -> int:
    """Make the pictures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, metavar="DIR", help="the folder for the pictures")
    folder: Path = parser.parse_args().to
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rodin-") as temporary, demo(Path(temporary) / "textures") as sight:
        address, config = next(sight), Path(temporary) / "textures" / "config.toml"
        with chromium() as browser:
            write(folder / "terminal.webp", terminal_picture(browser, running(config)))
            next(sight)  # all sets are delivered
            for language, suffix in LANGUAGES.items():
                window = ViewportSize(width=WINDOW[0], height=WINDOW[1])
                page = browser.new_page(viewport=window, reduced_motion="reduce", locale=language)
                write(folder / f"page{suffix}.webp", cards_picture(page, address))
                write(folder / f"result{suffix}.webp", result_picture(page))
                write(folder / f"drop{suffix}.webp", drop_picture(page, address, config.parent / "archive" / SHOWN))
    return 0


def write(path: Path, picture: bytes) -> None:
    """Write a picture as WebP: a third of the PNG's size."""
    Image.open(io.BytesIO(picture)).convert("RGB").save(path, quality=QUALITY, method=6)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


# ---- the demo --------------------------------------------------------------------------------------------------------


@contextmanager
def demo(root: Path) -> Iterator[Iterator[str]]:
    """Run the demo; give the address of its page when there is one, and once more when all is delivered. Ends the demo."""
    command = [*COMMAND, "demo", "--web", "--dir", str(root)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - by PIPE
        try:
            yield (found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))
        finally:
            process.send_signal(signal.SIGINT)


# ---- the browser -----------------------------------------------------------------------------------------------------


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium without a screen, its 3D drawn by software. Exits with the reason where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAM)), None)
    if program is None:
        sys.exit("Chromium is missing: apt install chromium")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def cards_picture(page: Page, address: str) -> bytes:
    """Return a picture of the sets as cards."""
    page.goto(address)
    page.locator("img").evaluate_all("images => Promise.all(images.map(image => image.decode()))")
    return page.screenshot()


def result_picture(page: Page) -> bytes:
    """Return a picture of a set's page, with its result in 3D."""
    page.get_by_role("link", name=SHOWN).click()
    page.locator("#viewer[data-state]").wait_for(timeout=LONGEST_SECONDS * 1000)
    return page.screenshot()


def drop_picture(page: Page, address: str, inputs: Path) -> bytes:
    """Return a picture of a set that is uploaded, and not sent yet, under another name than before."""
    page.goto(f"{address}drop")
    page.set_input_files("input[name=files]", [_renamed(path) for path in inputs.iterdir() if path.stem == SHOWN])
    page.locator(".pair").wait_for(timeout=LONGEST_SECONDS * 1000)
    return page.screenshot()


def _renamed(path: Path) -> FilePayload:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"name": path.with_stem("robot").name, "mimeType": kind, "buffer": path.read_bytes()}


# ---- the terminal ----------------------------------------------------------------------------------------------------


def running(config: Path) -> pyte.Screen:
    """Return what `status --watch` shows when the first set is delivered, and others are at the vendor."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [*COMMAND, "status", "--watch", "--config", str(config)], _environment())  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    until = time.monotonic() + LONGEST_SECONDS
    try:
        while not _is_telling(screen.display):
            if time.monotonic() > until:
                sys.exit("The terminal never showed a running and a delivered set:\n" + "\n".join(screen.display))
            if select.select([terminal], [], [], 0.2)[0]:
                stream.feed(os.read(terminal, 65_536))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)
    return screen


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    return {**kept, "TERM": "xterm-256color", "LANG": "C.UTF-8"}


def _is_telling(lines: Sequence[str]) -> bool:
    text = "\n".join(lines)
    return "delivered to" in text and "Running (" in text


def terminal_picture(browser: Browser, screen: pyte.Screen) -> bytes:
    """Return a picture of a terminal."""
    page = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]})
    page.set_content(
        f"<body style='margin:0;background:{BACKGROUND}'><pre style='display:inline-block;margin:0;padding:20px 24px;"
        f'font:15px/1.35 "DejaVu Sans Mono",monospace;color:{PALETTE["default"]}\'>{"".join(_rows(screen))}</pre>'
    )
    return page.locator("pre").screenshot()


def _rows(screen: pyte.Screen) -> Iterator[str]:
    """Yield the lines of a screen as HTML, one span for what looks the same."""
    for number in range(screen.lines):
        cells = (screen.buffer[number][column] for column in range(screen.columns))
        yield "".join(_span(style, "".join(cell.data for cell in same)) for style, same in groupby(cells, _style))
        yield "\n"


def _style(cell: Char) -> str:
    ink, paper = _color(cell.fg, PALETTE["default"]), _color(cell.bg, BACKGROUND)
    ink, paper = (paper, ink) if cell.reverse else (ink, paper)
    return f"color:{ink};background:{paper};font-weight:{'bold' if cell.bold else 'normal'}"


def _color(name: str, default: str) -> str:
    """Return a color for HTML; pyte names the first sixteen, and has digits for the others."""
    if name == "default":
        return default
    return PALETTE.get(name.removeprefix("bright"), f"#{name}")


def _span(style: str, text: str) -> str:
    return f'<span style="{style}">{html.escape(text)}</span>'


if __name__ == "__main__":
    sys.exit(main())
