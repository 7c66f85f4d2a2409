"""One connection to a PostgreSQL database: how it is opened, and opened again, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo

from rodin_watchd.adapters.store.codec import plain
from rodin_watchd.adapters.store.postgres_schema import ROOT_SETTING, SCHEMA
from rodin_watchd.adapters.store.stored import NO_VALUES, StoredRow, Values
from rodin_watchd.errors import DiskError, JournalBusyError, JournalError, JournalFaultError, RoomError, StoreAwayError
from rodin_watchd.settings import Address

LOCKS: Final = 0x726F6469
"""The first number of all advisory locks of this program; the second one says what is locked."""

OLDEST_SERVER: Final = 13

_CONNECT_SECONDS: Final = 3
_AGAIN_SECONDS: Final = 2.0
"""How long nobody tries to connect after that has failed: the main loop must not stand still for a server that is away."""

_STATEMENT_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 30.0
"""How long a transaction of a process that was stopped keeps others from writing."""

_IMPATIENT_SECONDS: Final = 0.05

_KEEPALIVES: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
_BUSY: Final = ("55P03", "40001", "40P01", "57014")  # https://www.postgresql.org/docs/current/errcodes-appendix.html
_FULL: Final = ("53100",)
_FAULT: Final = ("58030",)
_AWAY: Final = ("08", "57P", "53", "25006", "25P03")
"""What these begin with: the connection, a server that stops, no room for one more, a standby, a process that was stopped."""

_NO_RIGHT: Final = "42501"
_NO_TABLE: Final = ("42P01", "3F000")

_SETTINGS: Final = f"""
    SELECT set_config('search_path', '{SCHEMA}, pg_temp', false),
        set_config('client_encoding', 'UTF8', false),
        set_config('lock_timeout', :lock_timeout, false),
        set_config('statement_timeout', :statement_timeout, false),
        set_config('idle_in_transaction_session_timeout', :idle, false),
        set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false),
        set_config('default_transaction_isolation', 'read committed', false),
        set_config('default_transaction_read_only', :read_only, false),
        CASE WHEN current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')
            THEN set_config('synchronous_commit', 'on', false) END
"""
"""With keepalives, so that the server soon notices that a machine is gone, and lets go of its locks."""

_SERVER: Final = """
    SELECT current_setting('server_version_num')::int / 10000, current_setting('fsync'), current_setting('server_encoding')
"""

Prepare: TypeAlias = Callable[["psycopg.Connection[StoredRow]"], None]


class _Row(Sequence[Any]):
    """A row: its columns by their names, or in their order."""

    __slots__ = ("_names", "_values")

    def __init__(self, values: Sequence[Any], names: dict[str, int]) -> None:
        self._values = values
        self._names = names

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - as StoredRow
        return self._values[self._names[key] if isinstance(key, str) else key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)


def _rows_of(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], StoredRow]:
    names = {column.name: number for number, column in enumerate(cursor.description or ())}
    return lambda values: _Row(values, names)


def conninfo(address: Address, name: str) -> str:
    """Return an address as libpq takes it. Raises psycopg.Error for what is none."""
    given: dict[str, Any] = {"application_name": name, "connect_timeout": _CONNECT_SECONDS, **_KEEPALIVES}
    return make_conninfo(address.url, **given, **({"password": address.password} if address.password else {}))


class Database:
    """A connection that is opened when it is needed, and again when it was lost; for one thread. `prepare` gets each new one.

    What it sees of the tables that belong to a root is what `see_root` chose; nothing before that.

    Every call raises StoreAwayError, another DiskError or JournalError.
    """

    def __init__(self, address: Address, prepare: Prepare, *, read_only: bool, lock_seconds: float) -> None:
        self._address = address
        self._prepare = prepare
        self._read_only = read_only
        self._lock_seconds = lock_seconds
        self.name = f"rodin_watchd {secrets.token_hex(4)} {os.getpid()}@{socket.gethostname()}"[:63]
        self._open: psycopg.Connection[StoredRow] | None = None
        self._not_before = 0.0  # monotonic
        self._why_away = ""
        self.opened = 0  # how often
        self.is_held = False  # a transaction is under way: another connection has no part in it
        self._locked_out = False  # a lock was waited for until the time was over, and nothing was written since
        self._waits_seconds = lock_seconds  # for a lock, as the open connection knows it

    @property
    def shown(self) -> str:
        """Where it leads, for people."""
        return self._address.shown

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._open is not None and not self._open.closed and not self._open.broken

    def connection(self, *, at_once: bool = False) -> psycopg.Connection[StoredRow]:
        """Return the open connection, or open it; `at_once`: also where that has just failed."""
        if self._open is None or self._open.closed:
            if self.is_held:
                raise StoreAwayError(f"The connection to {self.shown} was lost.")
            if time.monotonic() < self._not_before and not at_once:
                raise StoreAwayError(self._why_away)
            self._open = self._connected()
            self._waits_seconds = self._lock_seconds
            self.opened += 1
        return self._open

    def _connected(self) -> psycopg.Connection[StoredRow]:
        try:
            with self.in_words("cannot be reached"):
                try:
                    found = psycopg.Connection.connect(
                        conninfo(self._address, self.name), autocommit=True, row_factory=_rows_of
                    )
                except psycopg.ProgrammingError as error:
                    raise JournalError(f"[store] url is no address of a database: {_first_line(error)}") from error
                try:
                    self._set_up(found)
                    self._prepare(found)
                except BaseException:
                    found.close()
                    raise
                return found
        except StoreAwayError as error:
            self._not_before = time.monotonic() + _AGAIN_SECONDS
            self._why_away = error.message
            raise

    def _set_up(self, found: psycopg.Connection[StoredRow]) -> None:
        settings = {
            "lock_timeout": f"{self._lock_seconds * 1000:.0f}",
            "statement_timeout": f"{_STATEMENT_SECONDS * 1000:.0f}",
            "idle": f"{_IDLE_SECONDS * 1000:.0f}",
            "read_only": "on" if self._read_only else "off",
        }
        found.execute(in_postgres(_SETTINGS), settings)
        [(version, fsync, encoding)] = found.execute(_SERVER).fetchall()
        if version < OLDEST_SERVER:
            raise JournalError(f"{self.shown} is of PostgreSQL {version}: {OLDEST_SERVER} or newer is needed.")
        if fsync != "on":
            raise JournalError(
                f"The server of {self.shown} runs with fsync = {fsync}: a power cut would take purchases from it.",
                advice="Set fsync = on in postgresql.conf and restart the server.",
            )
        if encoding != "UTF8":
            raise JournalError(
                f"{self.shown} has the encoding {encoding}: names of sets need UTF8.",
                advice="Make the database anew: createdb --encoding=UTF8 --template=template0 NAME.",
            )

    @staticmethod
    def see_root(found: psycopg.Connection[StoredRow], root_id: str) -> None:
        """Choose the root whose part of the store a connection sees."""
        found.execute("SELECT set_config(%s, %s, false)", (ROOT_SETTING, root_id))

    def asked(self, query: str, values: Values = NO_VALUES) -> list[StoredRow]:
        """Ask outside of a transaction, or inside of one; where the connection was lost outside of one, ask once more."""
        if not self.is_held:
            self.set_patience()
            with contextlib.suppress(StoreAwayError):
                return self._fetched(query, values)
        return self._fetched(query, values)

    def _fetched(self, query: str, values: Values) -> list[StoredRow]:
        with self.in_words("cannot be read"):
            return self.run(query, values).fetchall()

    def run(self, query: str, values: Values = NO_VALUES) -> psycopg.Cursor[StoredRow]:
        """Give the server a statement. Raises psycopg.Error; StoreAwayError where there is no connection to be had."""
        return self.connection().execute(in_postgres(query), bound(values))

    def set_patience(self) -> None:
        """Wait for a lock once, and hardly again until it is gone: the main loop must not stand still for a stranger. Raises as `run`."""
        wanted = _IMPATIENT_SECONDS if self._locked_out else self._lock_seconds
        if wanted != self._waits_seconds and self.is_open:
            with self.in_words("cannot be read"):
                self.run("SELECT set_config('lock_timeout', :wait, false)", {"wait": f"{wanted * 1000:.0f}"})
            self._waits_seconds = wanted

    def note_written(self) -> None:
        """Note that nobody keeps it locked."""
        self._locked_out = False

    def hold(self) -> None:
        """Note that a transaction is under way: until it is over no other connection takes the place of this one."""
        self.is_held = True

    def let_go(self) -> None:
        """Note that it is over."""
        self.is_held = False

    def drop(self) -> None:
        """Close what is known to be lost, or no longer known."""
        if self._open is not None:
            self._open.close()
        self._open = None

    close = drop

    @contextlib.contextmanager
    def in_words(self, what: str) -> Iterator[None]:
        """Turn what the database raises into DiskError or JournalError; a connection that is lost is dropped."""
        try:
            yield
        except (psycopg.Error, UnicodeError) as error:
            raise self.translated(error, what) from error

    def translated(self, error: Exception, what: str) -> DiskError | JournalError:
        """Return what an error of the database means: `what` could not be done with the store."""
        code = getattr(error, "sqlstate", None) or ""
        lost = self._open is None or self._open.broken or self._open.closed
        message = f"{self.shown} {what}: {_first_line(error)}"
        message = f"{message[0].upper()}{message[1:]}"
        if code in _FULL:
            return RoomError(f"The disk of {self.shown} is full.")
        if code in _BUSY:
            self._locked_out = True
            return JournalBusyError(f"Another program keeps {self.shown} locked.", advice=_LOCKED)
        if code in _FAULT:
            return JournalFaultError(message)
        if code.startswith(_AWAY) or (lost and not code and isinstance(error, psycopg.Error)):
            self.drop()
            return StoreAwayError(message)
        if code == _NO_RIGHT:
            return JournalError(message, advice=self._grant())
        return JournalError(message)

    def _grant(self) -> str:
        role, database = self._address.role or "ROLE", self._address.database
        return (
            f'Let the role of the service own the database: psql -c \'ALTER DATABASE "{database}" OWNER TO "{role}"\'; '
            f'or let it use the schema that it was made in: ALTER SCHEMA {SCHEMA} OWNER TO "{role}".'
        )


_LOCKED: Final = (
    "Look with psql which session holds a lock: SELECT pid, application_name, query FROM pg_stat_activity WHERE state <> 'idle'; "
    "{continues}."
)
_LIST: Final = re.compile(r"IN \(:(\w+)\*\)")
_VALUE: Final = re.compile(r"(?<![:\w]):([a-z_]\w*)")


@lru_cache(maxsize=512)
def in_postgres(query: str) -> str:
    """Return a query of `stored` as psycopg takes it."""
    named = _LIST.sub(r"= ANY(%(\1)s)", query.replace("%", "%%"))
    return _VALUE.sub(r"%(\1)s", named)


def bound(values: Values) -> dict[str, object]:
    """Return the values of a query as PostgreSQL takes them: no text holds what UTF-8 or the server cannot."""
    return {
        name: [plain(one) for one in value] if isinstance(value, list) else plain(value)
        for name, value in values.items()
    }


def _first_line(error: Exception) -> str:
    return f"{(str(error).strip().splitlines() or [type(error).__name__])[0].rstrip('.')}."
