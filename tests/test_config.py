"""The configuration and where it is found."""

from __future__ import annotations

import os
import shlex
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from rodin_watchd.config import ApiSection, BudgetSection, Config, FoldersSection, StoreSection, find_key, load_config
from rodin_watchd.core.options import frozen
from rodin_watchd.errors import ConfigError
from rodin_watchd.settings import KEYS, SYSTEM_CONFIG, Settings, find_config, read_settings

KEY = "rk-0123456789abcdef"


def written(folder: Path, text: str) -> Path:
    """Write a config file."""
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> list[str]:
    """Give the lines of the error that a config file causes."""
    with pytest.raises(ConfigError) as error:
        load_config(written(folder, text))
    return error.value.message.splitlines()


# ---- loading --------------------------------------------------------------------------------------------------------


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    """Nothing has to be configured but the key: the file's own folder is the root."""
    config = load_config(written(tmp_path, ""))
    assert config == Config(folders=FoldersSection(root=tmp_path))
    assert (config.folders.root, config.folders.state, config.api.key_file) == (tmp_path, None, None)
    assert (config.api.base_url, config.api.max_in_flight) == ("https://api.hyper3d.com", 4)
    assert (config.api.requests_per_minute, config.api.connect_seconds, config.api.read_seconds) == (120, 10, 120)
    assert (config.intake.sidecar, config.intake.quiet_seconds, config.intake.watcher) == ("optional", "auto", "auto")
    assert (config.intake.sidecar_wait_seconds, config.intake.rescan_seconds) == (3, 10)
    assert (config.intake.pair_minutes, config.intake.incomplete_seconds) == (10, 600)
    assert (config.polling.min_seconds, config.polling.max_seconds) == (5, 30)
    assert config.results.max_file_bytes == 2_000_000_000
    assert frozen(config.defaults) == {}


def test_every_section_is_read(tmp_path: Path) -> None:
    """What is written wins over the defaults."""
    config = load_config(
        written(
            tmp_path,
            """
            [folders]
            root = "/srv/rodin"
            [api]
            base_url = "http://127.0.0.1:8080/"
            max_in_flight = 64
            [intake]
            quiet_seconds = 0.5
            sidecar = "required"
            sidecar_wait_seconds = 0
            [polling]
            min_seconds = 40
            max_seconds = 40
            [results]
            max_file_megabytes = 1
            [defaults]
            resolution = "High"
            """,
        )
    )
    assert config.folders.root == Path("/srv/rodin")
    assert (config.api.base_url, config.api.max_in_flight) == ("http://127.0.0.1:8080", 64)
    assert (config.intake.quiet_seconds, config.intake.sidecar, config.intake.sidecar_wait_seconds) == (
        0.5,
        "required",
        0,
    )
    assert (config.polling.min_seconds, config.polling.max_seconds) == (40, 40)
    assert config.results.max_file_bytes == 1_000_000
    assert frozen(config.defaults) == {"resolution": "High"}


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Each line names the file, its line, the key, and what is allowed or meant."""
    text = """quiet_seconds = 3
[api]
max_in_flght = 3
max_in_flight = 0
read_seconds = true
[intake]
sidecar = "always"
quiet_seconds = "often"
[polling]
min_seconds = 40
[pollling]
[defaults]
seed = "7"
materail = "PBR"
"""
    assert refusal(tmp_path, text) == [
        "config.toml line 1: quiet_seconds: unknown key; quiet_seconds belongs under [intake]",
        "config.toml line 3: api.max_in_flght: unknown key; did you mean max_in_flight?",
        "config.toml line 4: api.max_in_flight must be a whole number from 1 to 64, but is 0",
        "config.toml line 5: api.read_seconds must be a number above 0, at most 86400, but is true",
        'config.toml line 7: intake.sidecar must be one of "optional", "required", but is "always" (text)',
        'config.toml line 8: intake.quiet_seconds must be a number from 0 to 86400 or "auto", but is "often" (text)',
        "config.toml line 9: polling.max_seconds must not be below polling.min_seconds, which is 40, but is 30",
        "config.toml line 11: pollling: unknown key; did you mean polling?",
        'config.toml line 13: defaults.seed must be a whole number from 0 to 65535, but is "7" (text)',
        "config.toml line 14: defaults.materail: unknown key; did you mean material?",
    ]


def test_polling_limits_are_compared_where_they_are_written(tmp_path: Path) -> None:
    """A longest time below the shortest is told at its own line."""
    assert refusal(tmp_path, "[polling]\nmin_seconds = 5\nmax_seconds = 4.5") == [
        "config.toml line 3: polling.max_seconds must not be below polling.min_seconds, which is 5, but is 4.5"
    ]
    polling = load_config(written(tmp_path, "[polling]\nmax_seconds = 3")).polling
    assert (polling.min_seconds, polling.max_seconds) == (3, 3)


def test_a_bad_limit_is_not_compared(tmp_path: Path) -> None:
    """One mistake is told once."""
    assert refusal(tmp_path, "[polling]\nmin_seconds = -5") == [
        "config.toml line 2: polling.min_seconds must be a number above 0, at most 86400, but is -5"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[api", "config.toml line 1: this is not TOML"),
        ("[folders]\nroot = C:\\in", "config.toml line 2: this is not a value"),
        ('[folders]\nroot = ""', "config.toml line 2: folders.root must be a path, but is empty"),
        (
            '[folders]\nroot = "a\\u0000b"',
            "config.toml line 2: folders.root must be a path, but is empty or contains a NUL",
        ),
        ("[folders]\nroot = 3", "config.toml line 2: folders.root must be a path, but is 3"),
        (
            '[folders]\nroot = "~no-such-user/x"',
            "config.toml line 2: folders.root must be a path, but the home",
        ),
        ("api = 3", "config.toml line 1: api must be a table, but is 3"),
        (
            "[api]\nmax_in_flight = 65",
            "config.toml line 2: api.max_in_flight must be a whole number from 1 to 64, but is 65",
        ),
        ("[intake]\nrescan_seconds = inf", "config.toml line 2: intake.rescan_seconds must be a number above 0"),
        ("[sound]\nday = 3", "config.toml line 1: sound: unknown key; known here: folders, api, intake"),
        (
            "[budget]\nper_day_credits = -1",
            "config.toml line 2: budget.per_day_credits must be a number from 0 to 1000000",
        ),
        (
            '[budget]\nlow_balance = "5"',
            "config.toml line 2: budget.low_balance must be a number of credits, like 5 or 12.5",
        ),
        (
            "[budget]\nper_folder_credits = true",
            "config.toml line 2: budget.per_folder_credits must be a number of credits",
        ),
        ("[budget]\nper_day_credits = nan", "config.toml line 2: budget.per_day_credits must be a number from 0"),
        ("[budget]\nhold_above_sets = 2.5", "config.toml line 2: budget.hold_above_sets must be a whole number from 0"),
        ("[budget]\nsole_spender = 1", "config.toml line 2: budget.sole_spender must be true or false, but is 1"),
        ("[budget]\nper_day = 1", "config.toml line 2: budget.per_day: unknown key; did you mean per_day_credits?"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """A service does not start on a config that somebody meant differently."""
    (line,) = refusal(tmp_path, text)
    assert line.startswith(words)


@pytest.mark.parametrize("written", ["0", "5", "0.1", "12.5", "0.30000000000000004", "1e-7", "1000000"])
def test_credits_are_read_digit_for_digit(tmp_path: Path, written: str) -> None:
    """Money is decimal from the first: 0.1 is a tenth, and no binary fraction."""
    path = tmp_path / "config.toml"
    path.write_text(f"[budget]\nper_day_credits = {written}\n")
    assert load_config(path).budget.per_day_credits == Decimal(written)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file is told as such, with its path."""
    with pytest.raises(ConfigError, match=r"gone\.toml cannot be read: No such file"):
        load_config(tmp_path / "gone.toml")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_config_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Nothing else is ever raised."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        config = load_config(path)
    except ConfigError as error:
        assert error.message.startswith("any.toml")  # noqa: PT017  # both ends are right
    else:
        assert config.folders.root == path.parent


KNOWN = """
[folders]
root = "~/a"
state = "b/../c"
[api]
base_url = "https://api.example.com/"
[budget]
per_day_credits = 12.5
per_folder_credits = 3
[store]
url = "postgresql://rodin@db.example/rodin?sslmode=require"
password_file = "secret"
"""


def few(settings: Settings) -> tuple[object, ...]:
    """Return the few keys that those read who only look."""
    folders, budget, store = settings.folders, settings.budget, settings.store
    money = (budget.per_day_credits, budget.per_folder_credits, settings.api.base_url)
    return folders.root, folders.state, *money, store.url, store.password_file


@pytest.mark.parametrize("text", ["", KNOWN, "[folders]\n", "[budget]\nper_day_credits = 0\n", "\ufeff" + KNOWN])
def test_who_only_looks_reads_the_same(tmp_path: Path, text: str) -> None:
    """The few keys, with the same defaults, made absolute and exact in the same way."""
    path = written(tmp_path, text)
    found = read_settings(path)
    assert found is not None
    assert few(found) == few(load_config(path))


@pytest.mark.parametrize(
    "text",
    [
        "[folders]\nroot = 3\n",
        "[folders]\nroot = ''\n",
        "[folders]\nstate = '~nobody-of-this-name/x'\n",
        "[api]\nbase_url = 'http://example.com'\n",
        "[api]\nbase_url = []\n",
        "[budget]\nper_day_credits = true\n",
        "[store]\nurl = 3\n",
        "[store]\nurl = 'mysql://x/y'\n",
        "[store]\nurl = 'postgresql://rodin@db.example/'\n",
        "[store]\nurl = 'postgresql://rodin:word@db.example/rodin'\n",
        "[store]\nurl = 'postgresql://db.example/rodin?password=word'\n",
        "[store]\nurl = 'postgresql://[x/y'\n",
        "[budget]\nper_day_credits = -1\n",
        "[budget]\nper_folder_credits = nan\n",
        "folders = 3\n",
        "folders = ''\n",
        "folders = [['root', '/srv']]\n",
        "[folders]\nrooot = '/srv'\n",
        "[budget]\nper_day = 5\n",
        "[api]\nbase = 'https://example.com'\n",
        "[store]\nurls = 'postgresql://db/rodin'\n",
        "[folders\n",
        f"a = {'[' * 3000}",
        "#" * 70_000,
    ],
)
def test_who_only_looks_leaves_what_cannot_be_used_to_the_whole_check(tmp_path: Path, text: str) -> None:
    """Which names it."""
    assert read_settings(written(tmp_path, text)) is None
    assert refusal(tmp_path, text)


def test_who_only_looks_knows_all_names() -> None:
    """Else a name that is right would count as misspelt, and the whole check would be made for nothing."""
    sections: dict[str, type[BaseModel]] = {
        "folders": FoldersSection,
        "budget": BudgetSection,
        "api": ApiSection,
        "store": StoreSection,
    }
    assert {name: section.model_fields.keys() for name, section in sections.items()} == KEYS


def test_the_configuration_cannot_be_changed(tmp_path: Path) -> None:
    """A config is a value: workers may share it."""
    config = load_config(written(tmp_path, ""))
    with pytest.raises(ValidationError):
        config.api.max_in_flight = 5


def test_every_key_is_described() -> None:
    """Every field has a description, and an example where it has no default: they become the example file."""
    sections = [field.annotation for field in Config.model_fields.values()]
    fields = [
        (name, field)
        for section in sections
        if isinstance(section, type) and issubclass(section, BaseModel)
        for name, field in section.model_fields.items()
    ]
    assert len(fields) >= 20
    assert [name for name, field in fields if not field.description] == []
    assert [name for name, field in fields if field.default is None and not field.examples] == []


# ---- paths and addresses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_path", "meant"),
    [
        ("share", "{folder}/share"),
        ("../share", "{folder}/../share"),
        (".", "{folder}"),
        ("/srv/share", "/srv/share"),
        ("~/share", "{home}/share"),
        ("caf\u00e9\u00a0\U0001f600", "{folder}/caf\u00e9\u00a0\U0001f600"),
    ],
)
def test_paths_start_from_the_config_file(tmp_path: Path, given_path: str, meant: str) -> None:
    """Where the command is run does not matter; ~ is the home folder; no link is resolved."""
    text = f'[folders]\nroot = "{given_path}"\nstate = "{given_path}"\n[api]\nkey_file = "{given_path}"'
    config = load_config(written(tmp_path, text))
    path = Path(meant.format(folder=tmp_path, home=Path.home()))
    assert (config.folders.root, config.folders.state, config.api.key_file) == (path, path, path)


def test_a_config_named_by_a_relative_path_gives_absolute_paths(tmp_path: Path) -> None:
    """The daemon may change its working folder without losing its own."""
    relative = Path(os.path.relpath(written(tmp_path, ""), Path.cwd()))
    root = load_config(relative).folders.root
    assert root.is_absolute()
    assert root.samefile(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.hyper3d.com",
        "https://hyperhuman.deemos.com",
        "https://proxy.example:8443/rodin",
        "http://localhost:8080",
        "http://127.0.0.1:1",
        "http://[::1]:8080",
    ],
)
def test_usable_addresses_are_taken(url: str) -> None:
    """HTTPS anywhere, plain HTTP on this machine; a slash at the end is dropped."""
    assert ApiSection(base_url=url).base_url == ApiSection(base_url=url + "/").base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.hyper3d.com/s3cret",
        "http://127.0.0.1.evil.example/s3cret",
        "ftp://api.hyper3d.com/s3cret",
        "api.hyper3d.com/s3cret",
        "https://s3cret@api.hyper3d.com",
        "https://me:s3cret@api.hyper3d.com",
        "https://api.hyper3d.com?key=s3cret",
        "https://api.hyper3d.com#s3cret",
        "https://api.hyper3d.com/s3cret\\u000a",
        "https://api hyper3d.com/s3cret",
        "https:///s3cret",
        "https://[::1/s3cret",
        "https://api.hyper3d.com:s3cret",
        "",
    ],
)
def test_other_addresses_are_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    """The key never travels in the clear, and what may be a secret in an address is not shown."""
    (line,) = refusal(tmp_path, f'[api]\nbase_url = "{url}"')
    assert line.startswith("config.toml line 2: api.base_url must be an https:// address")
    assert "s3cret" not in line


# ---- finding the file -----------------------------------------------------------------------------------------------


def test_the_named_config_wins(tmp_path: Path) -> None:
    """--config is before the environment, and that before the folder."""
    here = written(tmp_path, "")
    explicit, variable = tmp_path / "a.toml", tmp_path / "b.toml"
    explicit.touch()
    variable.touch()
    environ = {"RODIN_WATCHD_CONFIG": str(variable)}
    assert find_config(explicit, environ, tmp_path) == explicit
    assert find_config(Path("a.toml"), environ, tmp_path) == explicit
    assert find_config(None, environ, tmp_path) == variable
    assert find_config(None, {"RODIN_WATCHD_CONFIG": ""}, tmp_path) == here
    assert find_config(None, {}, tmp_path) == here


@pytest.mark.parametrize(
    ("explicit", "environ", "words"),
    [
        (Path("gone.toml"), {"RODIN_WATCHD_CONFIG": "config.toml"}, ["gone.toml (--config)"]),
        (None, {"RODIN_WATCHD_CONFIG": "gone.toml"}, ["gone.toml ($RODIN_WATCHD_CONFIG)"]),
    ],
)
def test_a_named_config_must_be_there(
    tmp_path: Path, explicit: Path | None, environ: dict[str, str], words: list[str]
) -> None:
    """No other config is taken in place of the one that was named."""
    written(tmp_path, "")
    with pytest.raises(ConfigError) as error:
        find_config(explicit, environ, tmp_path)
    assert error.value.message == f"There is no config file at {tmp_path / words[0]}."


@pytest.mark.skipif(SYSTEM_CONFIG.exists(), reason="this machine has a config for the whole system")
def test_the_error_says_where_it_looked(tmp_path: Path) -> None:
    """Who has no config learns where one is looked for, and what makes one."""
    with pytest.raises(ConfigError) as error:
        find_config(None, {}, tmp_path)
    assert f"{tmp_path}/config.toml" in error.value.message
    assert "/etc/rodin-watchd/config.toml" in error.value.message
    assert "rodin-watchd init" in error.value.problem.advice


# ---- the key --------------------------------------------------------------------------------------------------------


def key_file(path: Path, content: bytes = KEY.encode() + b"\n", mode: int = 0o600) -> Path:
    """Write a key file."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_key_is_looked_for_in_three_places(tmp_path: Path) -> None:
    """The environment is before the file that the config names, and that before the credential."""
    named = key_file(tmp_path / "key", b"from-file\n")
    key_file(tmp_path / "rodin-api-key", b"from-credential", 0o400)
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_key(named, {"RODIN_API_KEY": f" {KEY}\n", **credentials}) == KEY
    assert find_key(named, {"RODIN_API_KEY": " ", **credentials}) == "from-file"
    assert find_key(None, credentials) == "from-credential"


@pytest.mark.parametrize("environ", [{}, {"RODIN_API_KEY": ""}, {"CREDENTIALS_DIRECTORY": "/nonexistent"}])
def test_without_a_key_the_three_ways_are_told(environ: dict[str, str]) -> None:
    """The advice names the variable, the config key and the credential."""
    with pytest.raises(ConfigError, match="There is no API key") as error:
        find_key(None, environ)
    assert all(way in error.value.problem.advice for way in ("RODIN_API_KEY", "api.key_file", "LoadCredential="))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_key_that_everybody_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The advice is the command that mends it, for any file name."""
    path = key_file(tmp_path / "my key's", mode=mode)
    with pytest.raises(ConfigError, match="Everybody on this machine can read or change") as error:
        find_key(path, {})
    assert error.value.problem.advice == f"Run: chmod o-rw {shlex.quote(str(path))}"
    assert KEY not in str(error.value.problem)


def test_the_group_may_read_the_key(tmp_path: Path) -> None:
    """A service's group is a usual way to share the file."""
    assert find_key(key_file(tmp_path / "key", mode=0o640), {}) == KEY


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (KEY.encode() + b"\nsecond line\n", "must be one line"),
        (KEY.encode() + b" and more", "must be one line"),
        (KEY.encode() + b"\x00", "must be one line"),
        (KEY.encode() + "\u00fc".encode(), "must be one line"),
        (KEY.encode() + b"\xff", "must be one line"),
        (KEY.encode() * 1000, "must be one line"),
    ],
)
def test_what_cannot_be_a_key_is_refused_and_not_repeated(tmp_path: Path, content: bytes, words: str) -> None:
    """Whatever the file holds may be most of a key."""
    with pytest.raises(ConfigError) as error:
        find_key(key_file(tmp_path / "key", content), {})
    assert words in error.value.message
    assert KEY not in str(error.value.problem)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path: Path) -> None:
    """Keys saved with a Windows editor work."""
    assert find_key(key_file(tmp_path / "key", b"\xef\xbb\xbf" + KEY.encode() + b"\r\n"), {}) == KEY


def test_a_key_written_in_place_of_its_file_is_not_repeated(tmp_path: Path) -> None:
    """A file that does not exist may be the key itself; the credential is not tried in its place."""
    key_file(tmp_path / "rodin-api-key")
    with pytest.raises(ConfigError, match=r"the file that api\.key_file names: No such file") as error:
        find_key(tmp_path / "sk-s3cret", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "s3cret" not in str(error.value.problem)


@pytest.mark.parametrize(
    "text",
    [
        'RODIN_API_KEY = "s3cret"',
        'api_key = "s3cret"',
        '[api]\nkey = "s3cret"',
        '[api]\napi-key = "s3cret"',
        '[api]\nKey = ["s3cret"]',
        '[defaults]\ntoken = "s3cret"',
    ],
)
def test_the_key_never_belongs_into_the_config(tmp_path: Path, text: str) -> None:
    """A config file is shared and backed up: the error says where the key goes, and does not show it."""
    (line,) = refusal(tmp_path, text)
    assert "the key must not be in this file" in line
    assert "RODIN_API_KEY" in line
    assert "s3cret" not in line


def test_a_config_that_is_not_toml_does_not_show_its_key(tmp_path: Path) -> None:
    """Also the complaints of the TOML parser keep what was written to themselves."""
    assert "s3cret" not in "".join(refusal(tmp_path, '[api]\nkey = s3cret\nx = "s3cret'))
