"""Fixtures for the page's tests: a scene that a real service has made, and its page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_stage import Stage, running
from web_stage import Browser, configured, free_address

from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, Browser]]:
    """Give a service that runs with its page, and sets in many states: delivered, failed, held, at the vendor, waiting."""
    faults = (parse_fault("lost-answer@2"),)
    settings = EmulatorSettings(preview_pixels=64, waiting_seconds=0.1, generating_seconds=0.2, faults=faults)
    with Emulator(settings) as vendor:
        stage = Stage(tmp_path_factory.mktemp("scene") / "root", vendor.base_url)
        address = free_address()
        configured(stage, address, enabled=True)
        with running(stage, begun=r"web: The page is at") as service:
            stage.drop("vase.glb", "suzi.glb", "vase.png", "matcap-a.png")
            service.until(r"archived vase")
            stage.drop("lost.glb", "bunny.glb", "lost.jpg", "matcap-b.jpg")
            service.until(r"held lost")
            vendor.set_faults(parse_fault("unknown-status"))  # it is never done
            (stage.inbox / "oak").mkdir()
            stage.drop("oak/slow.stl", "pmndrs.stl", "oak/slow.webp", "matcap-c.webp")
            (stage.inbox / "broken.glb").write_bytes(b"no model")
            stage.drop("alone.glb", "suzi.glb", "broken.png", "matcap-a.png")
            service.until(r"submitted oak/slow", r"failed broken")
            yield stage, Browser(address)
