"""Running the emulator: for tests, and as a program of its own."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
import requests
from emulator_client import CUBE, Api, png, running, until

from rodin_watchd import emulator as package
from rodin_watchd.emulator.api import EmulatorSettings
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import Emulator

SERVE = """
from rodin_watchd.emulator.faults import parse_fault
from rodin_watchd.emulator.server import serve
from rodin_watchd.emulator.api import EmulatorSettings
serve(EmulatorSettings(preview_pixels=64, instant=True, api_keys=("key-[one]",), faults=(parse_fault("balance-500@1"),)))
"""


def test_it_imports_nothing_of_the_project_outside_its_folder() -> None:
    """The emulator cannot share the client's mistakes."""
    folder = Path(str(package.__file__)).parent
    imported = set()
    for file in folder.glob("**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add("." * node.level + str(node.module))
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    ours = {name for name in imported if name.startswith(("rodin_watchd", "."))}
    assert ours
    assert all(name.startswith("rodin_watchd.emulator.") or name == "rodin_watchd.emulator" for name in ours)


def test_it_listens_on_ports_of_its_own_and_frees_them() -> None:
    """Two emulators run side by side, and nothing answers after the end; the ledger can still be read."""
    with running() as one, running() as two:
        urls = {one.emulator.base_url, one.emulator.files_url, two.emulator.base_url, two.emulator.files_url}
        assert len(urls) == 4
        one.submit()
    with pytest.raises(requests.ConnectionError):
        one.balance()
    assert len(one.emulator.ledger()["charges"]) == 1
    assert two.emulator.ledger()["charges"] == []


def test_a_slow_answer_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """An emulator that still owes an answer ends at once, without a word, and the client sees a closed connection."""
    with ThreadPoolExecutor(1) as pool:
        with running("balance-slow=3600") as api:
            waiting = pool.submit(api.balance)
            until(lambda: requests.get(f"{api.emulator.base_url}/emulator/ledger", timeout=30).json()["faults"] != {})
        with pytest.raises(requests.ConnectionError):
            waiting.result(timeout=30)
    assert caplog.records == []


def test_tasks_without_durations_are_done_when_the_work_is() -> None:
    """Without `instant` a submit is answered before the work; the task is Done with whole results."""
    settings = EmulatorSettings(preview_pixels=64, waiting_seconds=0, generating_seconds=0)
    with running(settings=settings) as api:
        submitted = api.submit().json()
        until(lambda: api.words(submitted) == ["Done"] * 3)
        assert list(api.results(submitted)) == ["base_basic_pbr.glb", "preview.webp"]


def test_many_at_once_are_charged_once_each() -> None:
    """Twenty orders at the same moment are twenty tasks, and money that is short is never overdrawn."""
    with running(balance=Decimal("7.5")) as api, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: post(api, seed), range(20)))
        accepted = [answer.json()["uuid"] for answer in answers if answer.status_code == 201]
        ledger = api.emulator.ledger()
        assert len(set(accepted)) == 15
        assert {row["task_uuid"] for row in ledger["charges"]} == set(accepted)
        assert ledger["balance"] == "0.0"
        assert ledger["uploads"] == {"begun": 20, "accepted": 15, "refused": 5, "cut": 0}


def post(api: Api, seed: int) -> requests.Response:
    """Submit without the shared session."""
    return requests.post(
        api.url("rodin_texture_only"),
        files={"model": ("m.obj", CUBE), "image": ("i.png", png())},
        data={"seed": str(seed)},
        headers={"Authorization": "Bearer emulator-key"},
        timeout=30,
    )


def test_each_charge_is_announced() -> None:
    """`on_charge` hears of each charge as it happens."""
    heard: list[Decimal] = []
    with Emulator(
        EmulatorSettings(preview_pixels=64, instant=True), lambda charge: heard.append(charge.balance)
    ) as emulator:
        api = Api(emulator, requests.Session())
        with api.session:
            post(api, 1)
            post(api, 2)
    assert heard == [Decimal("99.5"), Decimal("99.0")]
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_says_where_it_is_and_ends_with_the_ledger(number: signal.Signals) -> None:
    """`serve` prints base URL, key, a line for each charge, and on a signal the ledger with its warnings."""
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        head = ""
        while "balance-500" not in head:
            head += program.stdout.readline()
        base_url, files_url = re.findall(r"http://[\d.:]+", head)
        assert "key-[one]" in head
        headers = {"Authorization": "Bearer key-[one]"}
        assert requests.get(f"{base_url}/api/v2/check_balance", headers=headers, timeout=30).status_code == 500
        for _ in range(2):
            files = {"model": ("m.obj", CUBE), "image": ("i.png", png()), "prompt": (None, b"[red]\x1b[31m")}
            url = f"{base_url}/api/v2/rodin_texture_only"
            assert requests.post(url, files=files, headers=headers, timeout=30).status_code == 201
        requests.get(f"{files_url}/results/x/y?secret=1", headers=headers, timeout=30)
        program.send_signal(number)
        tail, _ = program.communicate(timeout=30)
        assert program.returncode == 0
    assert (
        len(re.findall(r"^\d\d:\d\d:\d\d charged 0.5, left 99.[05] \| task [0-9a-f-]{36} \|", tail, re.MULTILINE)) == 2
    )
    assert "[red]\\x1b[31m" in tail
    assert "\x1b" not in tail
    assert "Ledger" in tail
    assert "spent 1.0, left 99.0, uploads begun 2, accepted 2, refused 0, cut 0" in tail
    assert "faults that struck: balance-500 1" in tail
    assert "charged again for the same set: 1" in tail
    assert "the API key was sent to the file host: '/results/x/y'" in tail
    assert "secret" not in tail


def test_other_faults_may_strike_while_it_runs() -> None:
    """They take the place of those before, and count from the next call on."""
    with running("balance-500") as api:
        statuses = [api.balance().status_code]
        api.emulator.set_faults(parse_fault("balance-502@2"))
        statuses += [api.balance().status_code for _ in range(3)]
        api.emulator.set_faults()
        statuses.append(api.balance().status_code)
    assert statuses == [500, 201, 502, 201, 201]
    assert api.emulator.ledger()["faults"] == {"balance-500": 1, "balance-502": 1}
