"""The import rule: what a line of code may touch is said by the folder that it lies in."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import rodin_watchd

ROOT = Path(rodin_watchd.__file__).parent
ORDER = ("errors", "model", "hooks", "core", "config", "adapters", "service", "client", "web", "cli")
PLACES = {
    "own_file": "config",
    "v1": "hooks",
    "log_lines": "config",
    "settings": "config",
    "__main__": "cli",
}
"""Modules of the top folder that belong to a layer of another name."""

PURE = {
    *(
        "__future__",
        "abc",
        "bisect",
        "collections",
        "contextlib",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "email",
        "errno",
    ),
    *(
        "enum",
        "functools",
        "hashlib",
        "io",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "pydantic",
        "pydantic_core",
        "re",
    ),
    *("struct", "tomli_w", "tomllib", "types", "typing", "unicodedata", "urllib", "zlib"),
}
"""All that the core may import from elsewhere: no disk, no network, no clock, no threads, no log; `errno` is names alone."""

LATE_IMPORTS = {
    "rodin_watchd.log_lines": {"systemd.journal"},  # the extra `systemd`
    "rodin_watchd.service.metrics": {"rodin_watchd.adapters.metrics", "rodin_watchd.adapters"},  # the extra `metrics`
    "rodin_watchd.core.kinds": {"rodin_watchd.core.kind_options"},  # who only reads jobs loads no pydantic
    "rodin_watchd.hooks.worker": {"jsonschema"},  # only a plugin that checks its settings by a schema needs it
    "rodin_watchd.adapters.store.factory": {
        "rodin_watchd.adapters.store.copying",
        "rodin_watchd.adapters.store.farm",
        "rodin_watchd.adapters.store.postgres",
        "rodin_watchd.adapters.store",
    },  # the extras `postgres` and `farm`
    "rodin_watchd.client.journal": {
        "rodin_watchd.adapters.spool.mounts",
        "rodin_watchd.adapters.spool",
    },  # who looks at a journal
    "rodin_watchd.service.farm": {"rodin_watchd.adapters.bucket", "rodin_watchd.adapters"},  # the extra `s3`
    "rodin_watchd.emulator.mesh_io": {"rodin_watchd.emulator.usdz", "rodin_watchd.emulator"},  # the extra `usdz`
}
"""Imports inside functions outside the cli, each for an optional extra."""

PAGES_OF_STATUS = ("status", "explain")
"""What `status`, `list`, `show` and `explain` are made of."""


WHO_KNOWS_SQLITE = {
    "rodin_watchd.service.opening": "puts the parts together, and makes the file's backup",
    "rodin_watchd.service.journal_guard": "keeps the file in its place",
    "rodin_watchd.service.mounts": "says how the file is recovered",
    "rodin_watchd.client.journal": "opens the store for commands and the page",
    "rodin_watchd.client.asking": "writes commands into it",
    "rodin_watchd.cli.store": "copies it as a whole",
    "rodin_watchd.cli.check.service": "looks whether the file is whole",
}
"""Who may import `adapters.store` in service/, client/, cli/ and web/, and why; all others know the store by its protocol (`core.store`)."""


@dataclass(frozen=True)
class Import:
    """One import statement's target."""

    name: str
    line: int
    late: bool  # inside a function
    for_types: bool  # below `if TYPE_CHECKING`


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    return {dotted(path): path for path in sorted(ROOT.rglob("*.py"))}


def dotted(path: Path) -> str:
    """Return a module's dotted name."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(name: str) -> Sequence[Import]:
    """Return what a module imports, wherever the statement stands; nothing for one that is not ours."""
    path = MODULES.get(name)
    return tuple(_walk(ast.parse(path.read_text()), late=False, for_types=False)) if path else ()


def ours(name: str) -> Sequence[Import]:
    """Return what a module imports of the package."""
    return [i for i in imports_of(name) if i.name.split(".")[0] == "rodin_watchd"]


def _walk(node: ast.AST, *, late: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, late, for_types) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: a relative import"
            module = child.module or ""
            names = (f"{module}.{alias.name}" for alias in child.names)
            yield from (Import(_known(name, module), child.lineno, late, for_types) for name in names)
        else:
            inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing_only = for_types or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")
            yield from _walk(child, late=inside, for_types=typing_only)


def _known(name: str, module: str) -> str:
    """Return the module of `from module import name`: the name itself where it is one."""
    return name if name in MODULES else module


MODULES = modules()


def layer_of(name: str) -> str:
    """Return the layer of one of our modules, "" for the package itself."""
    part = [*name.split("."), ""][1]
    return PLACES.get(part, part)


EVERY = {layer_of(name) for name in MODULES}


def each(*layers: str) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    """Return what makes a rule for one module the test of all modules of these layers; it says of each one what is wrong.

    One test for each rule: as many as there are modules would cost more than the looking.
    """
    names = sorted(name for name in MODULES if layer_of(name) in layers)

    def test_of(rule: Callable[[str], None]) -> Callable[[], None]:
        def test() -> None:
            assert names
            broken = []
            for name in names:
                try:
                    rule(name)
                except AssertionError as error:
                    broken.append(AssertionError(f"{name}: {error}"))
            if broken:
                raise ExceptionGroup(f"{len(broken)} modules break it", broken)

        test.__doc__ = rule.__doc__
        return test

    return test_of


@cache
def nodes_of(name: str) -> tuple[ast.AST, ...]:
    """Return all that stands in a module; many tests look at the same ones."""
    return tuple(ast.walk(ast.parse(MODULES[name].read_text())))


def reached_from(start: str) -> set[str]:
    """Return all that is imported when a module is: its packages, and what those and it import, and so on."""
    reached: set[str] = set()
    new = {start}
    while new:
        reached |= new
        found = {i.name for name in new for i in imports_of(name) if not i.for_types}
        packages = {name.rpartition(".")[0] for name in new | found}
        new = (found | packages) - reached - {""}
    return reached


def test_every_module_has_its_layer() -> None:
    """A new folder or top-level module has to say what it may touch."""
    assert {layer_of(name) for name in MODULES} - {""} <= {*ORDER, "emulator", "testing"}
    assert len(MODULES) > 50


@each(*ORDER)
def test_imports_go_one_way(name: str) -> None:
    """Errors, model, core, config, adapters, service, client, web, cli: nobody imports from a later layer."""
    layer = layer_of(name)
    allowed = {"", *ORDER[: ORDER.index(layer) + 1], *(["emulator"] if layer == "cli" else [])}
    wrong = [f"line {i.line}: {i.name}" for i in ours(name) if layer_of(i.name) not in allowed]
    assert wrong == []


@each("errors", "model", "core")
def test_the_core_is_pure(name: str) -> None:
    """Errors, model and core import data and arithmetic alone: time, disk, network and threads are arguments or absent."""
    foreign = {i.name.split(".")[0] for i in imports_of(name)} - {"rodin_watchd"}
    assert foreign <= PURE
    assert not any(i.name.startswith("urllib.request") for i in imports_of(name))


@each("errors", "model", "core")
def test_the_core_does_not_ask_for_the_time(name: str) -> None:
    """`datetime` is there to write instants; nobody asks it what time it is, and nothing is opened or printed."""
    calls = [node.func for node in nodes_of(name) if isinstance(node, ast.Call)]
    called = {ast.unparse(call).rpartition(".")[2] for call in calls}
    assert not called & {"now", "utcnow", "today", "open", "print", "input", "sleep"}


@each("adapters")
def test_no_adapter_imports_another(name: str) -> None:
    """One outside thing each; what two of them have in common is data, and lies in the core."""
    if name.count(".") < 2:
        return
    own = name.split(".")[2]
    others = {
        i.name for i in ours(name) if layer_of(i.name) == "adapters" and i.name.split(".")[2:3] not in ([own], [])
    }
    assert others == set()


@each(*EVERY)
def test_the_emulator_stands_alone(name: str) -> None:
    """It must not share a mistake with the client that is tested against it; and only the cli starts it."""
    for found in ours(name):
        inside = layer_of(name) == "emulator"
        assert not inside or layer_of(found.name) in ("emulator", "")
        assert layer_of(found.name) != "emulator" or inside or layer_of(name) in ("cli", "testing")


@pytest.mark.parametrize("name", sorted(name for name, path in MODULES.items() if path.name == "__init__.py"))
def test_no_package_defines_what_is_called_like_its_module(name: str) -> None:
    """Which of the two the name stands for would depend on who imported what first."""
    defined = {
        node.name
        for node in ast.parse(MODULES[name].read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert not {one for one in defined if f"{name}.{one}" in MODULES}


def test_there_are_no_import_cycles() -> None:
    """Every module can be read by itself, types included."""
    graph = {name: {i.name for i in ours(name) if i.name in MODULES} for name in MODULES}
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(MODULES)


@each("service", "client", "cli", "web")
def test_nobody_reaches_through_the_store(name: str) -> None:
    """What works with jobs and money asks the protocol: another store changes the assembly and the files' keepers alone."""
    knows = any(i.name.startswith("rodin_watchd.adapters.store") for i in ours(name))
    assert knows == (name in WHO_KNOWS_SQLITE)
    assert not {i.name.split(".")[0] for i in imports_of(name)} & {"sqlite3"}


@each(*EVERY - {"cli"})
def test_imports_stand_at_the_top(name: str) -> None:
    """A hidden import hides a cycle or a cost; the cli's commands and optional extras may come late."""
    late = {i.name for i in imports_of(name) if i.late}
    assert late <= LATE_IMPORTS.get(name, set())


@pytest.mark.parametrize("page", [page for page in PAGES_OF_STATUS if f"rodin_watchd.cli.{page}" in MODULES])
def test_status_commands_never_load_the_daemon(page: str) -> None:
    """They read the journal and look: nothing that could submit, and no HTTP, is even imported."""
    reached = reached_from(f"rodin_watchd.cli.{page}")
    assert not reached & {
        "rodin_watchd.service.daemon",
        "rodin_watchd.service.dispatcher",
        "rodin_watchd.adapters.rodin_client",
    }
    assert not {name.split(".")[0] for name in reached} & {"requests", "urllib3", "http"}
    assert "rodin_watchd.adapters.store.reader" in reached


def test_the_page_never_loads_the_daemon() -> None:
    """It reads, and leaves commands: nothing that could submit or call the vendor is even imported."""
    reached = reached_from("rodin_watchd.web.app")
    assert not reached & {
        "rodin_watchd.service.daemon",
        "rodin_watchd.service.dispatcher",
        "rodin_watchd.service.pool",
        "rodin_watchd.adapters.rodin_client",
    }
    assert "rodin_watchd.adapters.store.reader" in reached


@each(*EVERY - {"emulator"})
def test_only_the_machine_moves_jobs(name: str) -> None:
    """Every rule of the state machine is in one file: others decide when a move is made, never what it does."""
    if name == "rodin_watchd.core.machine":
        return
    calls = [node for node in nodes_of(name) if isinstance(node, ast.Call)]
    called = [(ast.unparse(call.func).rpartition(".")[2], {word.arg for word in call.keywords}) for call in calls]
    moving = [what for what, words in called if what == "Transition" or (what == "replace" and "state" in words)]
    assert moving == []
    imported = {
        alias.name
        for node in nodes_of(name)
        if isinstance(node, ast.ImportFrom) and node.module == "rodin_watchd.core.machine"
        for alias in node.names
    }
    assert "move" not in imported


@each(*EVERY - {"emulator"})
def test_a_day_is_declared_once(name: str) -> None:
    """Waits and their limits have one home, so that one look shows how patient the service is."""
    if name == "rodin_watchd.core.waits":
        return
    numbers = [node.value for node in nodes_of(name) if isinstance(node, ast.Constant)]
    assert not any(number == 86_400 for number in numbers if isinstance(number, int | float))


FOREIGN = {
    "request.method",
    "request.url",
    "conn.cert_reqs",
    "pool.ConnectionCls",
    "db.row_factory",
    "db.text_factory",
    "getenv.restype",
    "metric.samples",
    "sys.excepthook",
    "sys.unraisablehook",
    "threading.excepthook",
    "record.msg",
    "record.args",
    "record.message",
    "info.file_size",
    "anyio.to_thread.current_default_thread_limiter().total_tokens",
}
"""Attributes of other libraries' objects, which these are set by."""


@each("adapters", "service", "client", "cli", "web")
def test_nothing_is_wired_by_assignment(name: str) -> None:
    """Constructors take what they need; what changes later, a method of the object says. So an object is never half made."""
    stored = [
        ast.unparse(node)
        for node in nodes_of(name)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) != "self"
    ]
    assert set(stored) <= FOREIGN


def test_each_class_has_a_name_of_its_own() -> None:
    """Nobody asks which of two is meant. What plugins' authors import has the project's words, in the form for plugins."""
    found: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        if name != "rodin_watchd.v1":
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found.setdefault(node.name, []).append(name)
    assert {what: names for what, names in found.items() if len(names) > 1} == {}


CONNECTION = "what is tested is the connection itself: its pragmas, what it asks, what it holds"
PRIVATE = {
    "adapters/test_store.py": CONNECTION,
    "adapters/test_store_growth.py": CONNECTION,
    "adapters/test_store_purchases.py": CONNECTION,
    "adapters/test_store_upgrade.py": "a step of an upgrade is made to fail",
    "adapters/test_watcher.py": "a thread is ended that nothing outside can end",
    "cli/test_status_commands.py": CONNECTION,
    "service/test_commands.py": CONNECTION,
    "service/test_daemon.py": CONNECTION,
    "service/test_journal_guard.py": CONNECTION,
    "service/test_turns.py": CONNECTION,
}
"""Tests that touch what is private, each with its reason."""

TESTS = Path(__file__).parent
OF_PYTHON = {"_replace", "_asdict", "_exit"}


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_tests_look_at_behaviour(path: Path) -> None:
    """What a test asks for is public, so that the code may change behind it; who needs more says why, and no longer than so."""
    touched = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and re.match(r"_[a-z]", node.attr, re.IGNORECASE)
        and node.attr not in OF_PYTHON
        and ast.unparse(node.value) not in ("self", "cls")
    }
    assert bool(touched) == (str(path.relative_to(TESTS)) in PRIVATE), touched


def test_the_daemon_stays_small() -> None:
    """Its attributes: what acts, what it shows, and how it ends."""
    [daemon] = [
        node
        for node in ast.walk(ast.parse(MODULES["rodin_watchd.service.daemon"].read_text()))
        if isinstance(node, ast.ClassDef) and node.name == "Daemon"
    ]
    stored = {
        node.attr
        for node in ast.walk(daemon)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    assert len(stored) < 10
