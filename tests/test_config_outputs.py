"""The config's sections on outputs and metrics: what they take, and what they refuse in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from rodin_watchd.config import Config, load_config
from rodin_watchd.errors import ConfigError


def loaded(tmp_path: Path, text: str) -> Config:
    """Read a config of these lines."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(path)


@pytest.mark.parametrize(("text", "mode"), [("0664", 0o664), ("640", 0o640), ("0600", 0o600), ("0666", 0o666)])
def test_modes_are_octal_text(text: str, mode: int, tmp_path: Path) -> None:
    """With or without the leading zero; the owner always reads and writes."""
    assert loaded(tmp_path, f'[output]\nmode = "{text}"\n').output.file_mode == mode


@pytest.mark.parametrize("value", ['"0755"', '"664x"', '"0466"', '"2664"', '"rw-rw-r--"', '""', "664", "0o664"])
def test_what_is_no_mode_of_a_file_is_refused(value: str, tmp_path: Path) -> None:
    """Executable files, special bits, numbers that are no text, files that the owner cannot write."""
    with pytest.raises(ConfigError, match=r"line 2: output\.mode"):
        loaded(tmp_path, f"[output]\nmode = {value}\n")


@pytest.mark.parametrize("value", ["", "two words", "a:b", "x" * 65])
def test_what_is_no_group_is_refused(value: str, tmp_path: Path) -> None:
    """Names of groups have no blanks and no colons."""
    with pytest.raises(ConfigError, match=r"output\.group"):
        loaded(tmp_path, f'[output]\ngroup = "{value}"\n')


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9746", ("127.0.0.1", 9746)), ("[::1]:9746", ("::1", 9746)), ("localhost:1", ("localhost", 1))],
)
def test_metrics_listen_on_this_machine(text: str, address: tuple[str, int], tmp_path: Path) -> None:
    """Loopback addresses with a port."""
    metrics = loaded(tmp_path, f'[metrics]\nlisten = "{text}"\n').metrics
    assert (metrics.address, metrics.wanted) == (address, True)


@pytest.mark.parametrize(
    "value",
    [
        *("0.0.0.0:9746", "192.168.1.7:9746", ":9746", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999"),
        *("a@127.0.0.1:9746", "127.0.0.1:9746/metrics", "metrics.example.com:9746", "[::]:9746", "["),
    ],
)
def test_metrics_are_for_this_machine_alone(value: str, tmp_path: Path) -> None:
    """Addresses that others could reach, and what is no address, are refused with an example."""
    with pytest.raises(ConfigError, match=r"metrics\.listen.*like 127\.0\.0\.1:9746"):
        loaded(tmp_path, f'[metrics]\nlisten = "{value}"\n')


def test_a_textfile_has_the_ending_that_is_read(tmp_path: Path) -> None:
    """Relative to the config's folder; another ending would never be seen by node_exporter."""
    assert loaded(tmp_path, '[metrics]\ntextfile = "x.prom"\n').metrics.textfile == tmp_path / "x.prom"
    with pytest.raises(ConfigError, match=r"must end in \.prom"):
        loaded(tmp_path, '[metrics]\ntextfile = "/tmp/x.txt"\n')


def test_nothing_is_on_by_default(tmp_path: Path) -> None:
    """No metrics, no mode, no group."""
    config = loaded(tmp_path, "")
    assert (config.metrics.wanted, config.metrics.address) == (False, None)
    assert (config.output.file_mode, config.output.group) == (None, None)
