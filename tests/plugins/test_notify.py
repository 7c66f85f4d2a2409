"""`notify`: people are told through real servers, at the right time, and nothing is lost."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message as Mail
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from receiving import Receiver, serving
from refusing import refusal

from rodin_watchd.errors import PluginError
from rodin_watchd.testing import Finished, OpenPlugin
from rodin_watchd.testing import event as event_of
from rodin_watchd.v1 import Event, Waiting

PLUGIN = "rodin_watchd_plugins.notify"
ARRIVES_SECONDS = 30.0
TOKEN = "hidden-token"  # noqa: S105 - of this test alone


def event(number: int, kind: str = "alarm", message: str = "Something is wrong.") -> Event:
    """Make an event of the service."""
    return Event(f"service-{number}", kind, 1000.0 + number, message)


def address(receiver: Receiver) -> str:
    """Return how apprise writes the address of a receiver of JSON."""
    return f"json://{receiver.url.split('/')[2]}/{TOKEN}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a receiver that is there."""
    found = Receiver(statuses=[200])
    with serving(found):
        yield found


@pytest.fixture
def settings(receiver: Receiver, tmp_path: Path) -> dict[str, Any]:
    """Give a table that tells the receiver of everything at once."""
    return {"urls": [address(receiver)], "digest_seconds": 0, "spool": str(tmp_path / "spool")}


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return title and text of all that arrived."""
    messages = [json.loads(body) for _, _, body in receiver.requests]
    return [(message["title"], message["message"]) for message in messages]


# ---- what is said ---------------------------------------------------------------------------------------------------


def test_every_moment_is_told(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin, rodin_finished: Finished
) -> None:
    """A result with its place and files, a set that lacks a file, what happens to the service."""
    plugin = rodin_plugin(PLUGIN, **settings, shown_root="//nas/rodin/")
    job, directory = rodin_finished.job, rodin_finished.directory
    plugin.call("rodin_delivered", job=job, directory=directory, event=event_of("delivered", job))
    plugin.call("rodin_held", job=job, event=event_of("held", job))
    waiting = Waiting("chair", "props", ("props/chair.glb",), "it lacks an image")
    plugin.call("rodin_waiting", waiting=waiting, event=event_of("waiting", waiting))
    plugin.call("rodin_service", event=event(4, "low-balance", "2 credits are left."))
    plugin.call("rodin_service", event=event(5, "started", "The service was started."))
    delivered, held, incomplete, service = told(receiver)
    assert delivered[0] == "suzi is done"
    assert delivered[1].startswith("//nas/rodin/outbox/suzi\nbase_basic_pbr.glb (")
    assert held[0] == "suzi waits for your decision"
    assert incomplete == ("chair is incomplete", "it lacks an image\nin inbox/props")
    assert service == ("rodin_watchd: low balance", "2 credits are left.")


def test_it_tells_only_what_it_is_asked_to(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin, rodin_finished: Finished
) -> None:
    """`on` names the moments."""
    plugin = rodin_plugin(PLUGIN, **settings, on=["failed"])
    plugin.call("rodin_service", event=event(1))
    plugin.call("rodin_failed", job=rodin_finished.job, directory=rodin_finished.directory, event=event(2))
    assert [title for title, _ in told(receiver)] == ["suzi failed"]


def test_the_preview_goes_along(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin, rodin_finished: Finished
) -> None:
    """As a JPEG, also out of a folder; a result without one, or with one that is no picture, is told all the same."""
    plugin = rodin_plugin(PLUGIN, **settings)
    (rodin_finished.directory / "scene").mkdir()
    arguments: dict[str, Any] = {"job": rodin_finished.job, "directory": rodin_finished.directory}
    (rodin_finished.directory / "preview.webp").rename(rodin_finished.directory / "scene/preview.webp")
    plugin.call("rodin_delivered", **arguments, event=event(1))
    (rodin_finished.directory / "scene/preview.webp").rename(rodin_finished.directory / "preview.webp")
    (rodin_finished.directory / "preview.webp").write_bytes(b"RIFF no picture")
    plugin.call("rodin_delivered", **arguments, event=event(2))
    (rodin_finished.directory / "preview.webp").unlink()
    plugin.call("rodin_delivered", **arguments, event=event(3))
    first, *others = (json.loads(body)["attachments"] for _, _, body in receiver.requests)
    assert [(picture["filename"], picture["mimetype"]) for picture in first] == [("1.jpg", "image/jpeg")]
    assert first[0]["base64"].startswith("/9j/")
    assert others == [[], []]


def test_a_target_that_takes_no_pictures_gets_the_words(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin, rodin_finished: Finished
) -> None:
    """What is refused with pictures is sent without."""
    receiver.statuses = [413, 200]
    plugin = rodin_plugin(PLUGIN, **settings)
    plugin.call("rodin_delivered", job=rodin_finished.job, directory=rodin_finished.directory, event=event(1))
    assert [len(json.loads(body)["attachments"]) for _, _, body in receiver.requests] == [1, 0]


@pytest.fixture
def mails() -> Iterator[tuple[int, SimpleQueue[Mail]]]:
    """Give the port of a mail server, and what it is handed."""
    arrived: SimpleQueue[Mail] = SimpleQueue()

    class Box:
        async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - named by aiosmtpd
            """Take a mail."""
            assert isinstance(envelope.content, bytes)
            arrived.put(message_from_bytes(envelope.content))
            return "250 OK"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Box(), hostname="127.0.0.1", port=port)
    controller.start()
    yield port, arrived
    controller.stop()


def test_mail_has_the_words_and_the_picture(
    mails: tuple[int, SimpleQueue[Mail]], tmp_path: Path, rodin_plugin: OpenPlugin, rodin_finished: Finished
) -> None:
    """A real mail arrives at a real mail server."""
    port, arrived = mails
    url = f"mailto://127.0.0.1:{port}?mode=insecure&from=rodin@studio.example&to=artists@studio.example"
    plugin = rodin_plugin(PLUGIN, urls=[url], digest_seconds=0, spool=str(tmp_path / "spool"))
    plugin.call("rodin_delivered", job=rodin_finished.job, directory=rodin_finished.directory, event=event(1))
    mail = arrived.get(timeout=ARRIVES_SECONDS)
    assert (mail["subject"], mail["to"]) == ("suzi is done", "artists@studio.example")
    parts = {part.get_content_type(): part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()}
    assert b"outbox/suzi" in b"".join(
        data for kind, data in parts.items() if kind.startswith("text/") and isinstance(data, bytes)
    )
    assert "image/jpeg" in parts


def test_ntfy_gets_its_own_kind_of_message(receiver: Receiver, tmp_path: Path, rodin_plugin: OpenPlugin) -> None:
    """Each service is told in its own language."""
    url = f"ntfy://{receiver.url.split('/')[2]}/results"
    plugin = rodin_plugin(PLUGIN, urls=[url], digest_seconds=0, spool=str(tmp_path / "spool"))
    receiver.statuses = [200]
    plugin.call("rodin_service", event=event(1))
    [(_, _, body)] = receiver.requests
    assert json.loads(body)["topic"] == "results"
    assert json.loads(body)["message"] == "Something is wrong."


def test_the_services_that_the_page_names_are_understood(tmp_path: Path, rodin_plugin: OpenPlugin) -> None:
    """Mail, Slack, Discord, Teams, ntfy, Telegram, Matrix, by the forms of their addresses."""
    urls = [
        "mailtos://me:word@mail.studio.example?to=artists@studio.example",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#rodin",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "workflows://prod-04.westeurope.logic.azure.com:443/643e69f83c8944/iXvPwOLGI0u63mPqPM/",
        "ntfys://ntfy.sh/studio-results",
        "tgram://123456789:abcdefg_hijklmnop/12315544",
        "matrixs://me:word@matrix.studio.example/#rodin",
    ]
    plugin = rodin_plugin(PLUGIN, urls=urls, spool=str(tmp_path / "spool"))
    assert "rodin_delivered" in plugin.hooks


# ---- when it is said ------------------------------------------------------------------------------------------------


def test_many_become_one_message(settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin) -> None:
    """What happens within the window comes together when it ends, without another call."""
    plugin = rodin_plugin(PLUGIN, **{**settings, "digest_seconds": 3})
    for number in range(5):
        plugin.call("rodin_service", event=event(number, message=f"Number {number}."))
    assert receiver.requests == []
    receiver.arrived.get(timeout=ARRIVES_SECONDS)
    [(title, text)] = told(receiver)
    assert title == "5 of the service"
    assert [line.rpartition(": ")[2] for line in text.splitlines()] == [f"Number {number}." for number in range(5)]


def test_what_waits_outlives_the_process(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin
) -> None:
    """A process that ends loses nothing: the next one sends what is due soon after its start, without a call."""
    plugin = rodin_plugin(PLUGIN, **{**settings, "digest_seconds": 3600})
    plugin.call("rodin_service", event=event(1, message="First."))
    plugin.call("rodin_service", event=event(2, message="Second."))
    plugin.close()
    assert receiver.requests == []
    rodin_plugin(PLUGIN, **settings)
    receiver.arrived.get(timeout=ARRIVES_SECONDS)
    [(title, text)] = told(receiver)
    assert title == "2 of the service"
    assert "First." in text
    assert "Second." in text


def test_quiet_days_keep_everything_but_what_is_urgent(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin, rodin_finished: Finished
) -> None:
    """What is urgent is told at once; the rest waits on disk, and comes when it is not quiet any more."""
    today = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[time.localtime(time.time() + 60).tm_wday]
    tomorrow = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[time.localtime(time.time() - 60).tm_wday]
    quiet = {**settings, "quiet_days": sorted({today, tomorrow}), "urgent": ["held"]}
    plugin = rodin_plugin(PLUGIN, **quiet)
    plugin.call("rodin_service", event=event(1))
    plugin.call("rodin_held", job=rodin_finished.job, event=event(2))
    assert [title for title, _ in told(receiver)] == ["suzi waits for your decision"]
    plugin.close()
    rodin_plugin(PLUGIN, **settings).call("rodin_service", event=event(3))
    assert [title for title, _ in told(receiver)][1:] == ["2 of the service"]


def test_a_repeated_call_is_told_once(settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin) -> None:
    """The event's id tells repetitions, in another process, too."""
    for _ in range(2):
        plugin = rodin_plugin(PLUGIN, **settings)
        plugin.call("rodin_service", event=event(1))
        plugin.call("rodin_service", event=event(1))
    assert len(receiver.requests) == 1


def test_a_target_that_fails_is_told_later_and_the_others_once(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin
) -> None:
    """The call fails, so the service repeats it; what was taken by one is not sent to it again; no secret is told."""
    other = Receiver(statuses=[503, 200])
    with serving(other):
        plugin = rodin_plugin(PLUGIN, **{**settings, "urls": [*settings["urls"], address(other)]})
        with pytest.raises(PluginError, match=r"target 2 \(JSON\): .*503") as caught:
            plugin.call("rodin_service", event=event(1))
        assert TOKEN not in f"{caught.value.message}{caught.value.trace}{caught.value.output}"
        plugin.call("rodin_service", event=event(1))
    assert (len(receiver.requests), len(other.requests)) == (1, 2)


def test_what_the_service_gave_up_comes_with_the_next(
    settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin
) -> None:
    """A message whose call is never repeated is not lost: it goes with the next one."""
    receiver.statuses = [500, 200]
    plugin = rodin_plugin(PLUGIN, **settings)
    with pytest.raises(PluginError, match="500"):
        plugin.call("rodin_service", event=event(1, message="First."))
    plugin.call("rodin_service", event=event(2, message="Second."))
    assert "First." in told(receiver)[-1][1]
    assert "Second." in told(receiver)[-1][1]


def test_a_damaged_file_stops_nothing(settings: dict[str, Any], receiver: Receiver, rodin_plugin: OpenPlugin) -> None:
    """What cannot be understood is put aside, and the rest is sent."""
    plugin = rodin_plugin(PLUGIN, **settings)
    plugin.call("rodin_service", event=event(1))
    [folder] = Path(settings["spool"]).iterdir()
    (folder / "0.json").write_text("{")
    plugin.call("rodin_service", event=event(2))
    assert len(receiver.requests) == 2
    assert (folder / "0.bad").exists()
    assert folder.stat().st_mode & 0o077 == 0


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise, on Python 3.11 and 3.12
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"urls": []}, "say whom to tell"),
        ({"urls": ["no-such-thing://hidden-token"]}, "does not understand the address of target 1"),
        ({"urls": ["hidden-token"]}, "target 1, without a scheme"),
        ({"quiet_hours": ["22-7"]}, "quiet_hours.0: "),
        ({"quiet_hours": ["25:00-07:00"]}, "hour must be in"),
        ({"quiet_hours": ["07:00-07:00"]}, "quiet hours look like"),
        ({"quiet_days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}, "never be anything but quiet"),
        ({"time_zone": "Nowhere/City"}, "no time zone Nowhere/City"),
        ({"on": ["always"]}, "on.0: "),
        ({"spool": "spool"}, "whole path"),
        ({"spool": "/etc/passwd/notify"}, r"messages cannot wait in /etc/passwd/notify: .*spool ="),
        ({"urls_environment": "RODIN_NOTIFY"}, "RODIN_NOTIFY .* is not set"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], message: str, settings: dict[str, Any]) -> None:
    """At the check, in words; addresses are not repeated."""
    told = refusal(PLUGIN, {**settings, **wrong})
    assert re.search(message, told)
    assert TOKEN not in told


def test_addresses_come_from_a_file_that_others_cannot_read(
    settings: dict[str, Any], receiver: Receiver, tmp_path: Path, rodin_plugin: OpenPlugin
) -> None:
    """One on each line, with comments; a file for all to read is refused."""
    path = tmp_path / "addresses"
    path.write_text(f"# whom to tell\n\n{address(receiver)}\n")
    path.chmod(0o644)
    table = {"urls_file": str(path), "digest_seconds": 0, "spool": settings["spool"]}
    with pytest.raises(PluginError, match="run: chmod o-rw"):
        rodin_plugin(PLUGIN, **table)
    path.chmod(0o600)
    rodin_plugin(PLUGIN, **table).call("rodin_service", event=event(1))
    assert len(receiver.requests) == 1


def test_a_check_leaves_no_folder_behind(settings: dict[str, Any], rodin_plugin: OpenPlugin) -> None:
    """Whoever only checks, root say, makes nothing that the service could not use."""
    rodin_plugin(PLUGIN, **settings)
    assert not Path(settings["spool"]).exists()


def test_a_missing_library_is_said() -> None:
    """With the command that mends it."""
    code = "import sys; sys.modules['apprise'] = None; import rodin_watchd_plugins.notify"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the library apprise is missing; run: pip install 'rodin-watchd[notify]'" in ended.stderr
