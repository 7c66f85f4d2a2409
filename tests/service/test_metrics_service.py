"""Metrics fed by a real journal; and what is said where the extra is missing."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from workshop import Workshop

from rodin_watchd.adapters.store.reader import JournalReader
from rodin_watchd.errors import JournalError
from rodin_watchd.model import State
from rodin_watchd.service.metrics import books_of

WITHOUT = """
import sys
sys.modules["prometheus_client"] = None
from pathlib import Path
from rodin_watchd.config import load_config
from rodin_watchd.errors import ConfigError
from rodin_watchd.service.assembly import SYSTEM_CLOCK
from rodin_watchd.service.metrics import metered
try:
    with metered(load_config(Path("config.toml")), lambda: 1 / 0, SYSTEM_CLOCK) as meter:
        print(type(meter).__name__)
except ConfigError as error:
    print(error.message, error.advice_given)
"""


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("", "Silent\n"),
        ('[metrics]\ntextfile = "x.prom"\n', "Metrics are configured, but prometheus_client is not installed. Run: "),
    ],
)
def test_without_the_extra(config: str, told: str, tmp_path: Path) -> None:
    """Nothing is missed as long as no metrics are wanted; then the command that installs it is named."""
    (tmp_path / "config.toml").write_text(config)
    run = subprocess.run([sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.startswith(told)
    assert ('pip install "rodin-watchd[metrics]"' in run.stdout) is bool(config)


def test_the_books_of_a_journal(shop: Workshop) -> None:
    """Jobs by state, what was spent and the balance are read beside the daemon; another vendor's balance counts for nothing."""
    shop.drop_set("chair")
    shop.idle()
    look = partial(JournalReader, shop.journal)
    books = books_of(look, shop.config.api.base_url)()
    assert (books.states, books.spent) == ({State.ARCHIVED: 1}, {"texture": Decimal("0.5")})
    assert books.balance is not None
    assert books_of(look, "https://another.example")().balance is None


def test_no_journal_is_an_error_in_words(tmp_path: Path) -> None:
    """The exporter leaves those numbers out then."""
    with pytest.raises(JournalError, match="There is no journal"):
        books_of(partial(JournalReader, tmp_path / "journal.sqlite3"), "")()
