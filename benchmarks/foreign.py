"""Another project's watcher, run from its checkout as it is: `python foreign.py NAME CHECKOUT INBOX HOME`.

`watchers.py` starts it with a Python that has that project's libraries, so it uses nothing of this project. What is replaced is only
what comes after the watcher's decision that a file is ready: a recorder writes down the file, its digest and the time into
HOME/taken.jsonl. `WORK_SECONDS` later the file is worked off, as the project's own task would have done by then.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

WORK_SECONDS = 5.0

Finish: TypeAlias = Callable[[Path], object]


class Recorder:
    """Writes down what is taken, and finishes the work on it a while later, in a thread of its own."""

    def __init__(self, home: Path, finish: Finish) -> None:
        """`finish` is called with each path that was taken, `WORK_SECONDS` afterwards; it may raise OSError."""
        self._taken, self._finish = home / "taken.jsonl", finish
        self._open: queue.SimpleQueue[tuple[Path, float]] = queue.SimpleQueue()

    def begin(self) -> None:
        """Start to finish what is taken."""
        threading.Thread(target=self._work, daemon=True).start()

    def take(self, path: Path) -> None:
        """Write down the file as it is now. From any thread."""
        at = time.time()
        digest = digest_of(path)
        with self._taken.open("a") as file:
            file.write(json.dumps({"path": str(path), "digest": digest, "at": at}) + "\n")
        self._open.put((path, time.monotonic() + WORK_SECONDS))

    def _work(self) -> None:
        while True:
            path, due_at = self._open.get()
            time.sleep(max(0.0, due_at - time.monotonic()))
            self._finish(path)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, "" of one that is gone."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def module(name: str, **contents: object) -> types.ModuleType:
    """Put a module of this name in place of theirs."""
    made = types.ModuleType(name)
    made.__dict__.update(contents)
    sys.modules[name] = made
    return made


# ---- paperless-ngx ----------------------------------------------------------------------------------------------------


def paperless(checkout: Path, inbox: Path, home: Path) -> None:
    """Run the command that watches the folder for documents.

    Replaced: the task that it queues and what that is given (`documents.tasks`, `.models`, `.data_models`), and the list of file
    names that its parsers support, for none of them reads a model. Its settings have its own defaults and its own environment.
    """
    recorder = Recorder(home, lambda path: _consumed(path, home))
    recorder.begin()
    sys.path.insert(0, str(checkout / "src"))
    module("documents", __path__=[str(checkout / "src" / "documents")])
    module("documents.tasks", consume_file=types.SimpleNamespace(apply_async=_queued(recorder)))
    module("documents.models", PaperlessTask=types.SimpleNamespace(TriggerSource=_Anything()), Tag=None)
    module(
        "documents.data_models",
        ConsumableDocument=types.SimpleNamespace,
        DocumentMetadataOverrides=types.SimpleNamespace,
        DocumentSource=_Anything(),
    )
    module("documents.parsers", get_supported_file_extensions=lambda: {".glb", ".obj", ".png"})
    settings = importlib.import_module("django.conf").settings
    settings.configure(CONSUMPTION_DIR=inbox, SCRATCH_DIR=home / "scratch", **_consumer_settings(checkout))
    command = importlib.import_module("documents.management.commands.document_consumer").Command()
    command.handle(directory=str(inbox))


class _Anything:
    """Has every attribute, as its name."""

    def __getattr__(self, name: str) -> str:
        return name


def _queued(recorder: Recorder) -> Callable[..., None]:
    return lambda *, kwargs, headers: recorder.take(kwargs["input_doc"].original_file)  # noqa: ARG005 - by their names


def _consumed(path: Path, home: Path) -> None:
    """Do what the task does at its end: remove a document that could be read, leave one that could not."""
    if (home / "whole" / digest_of(path)).is_file():
        path.unlink(missing_ok=True)


def _consumer_settings(checkout: Path) -> dict[str, Any]:
    """Return what their settings module assigns to CONSUMER_…, without the rest of it, which needs all of their libraries."""
    folder = checkout / "src" / "paperless" / "settings"
    parsers: dict[str, Any] = {}
    exec(compile((folder / "parsers.py").read_text(), "parsers.py", "exec"), parsers)  # noqa: S102 - their module, by its path
    names = {**parsers, "json": json, "os": os}
    wanted = ("POLLING_INTERVAL", "STABILITY_DELAY", "RECURSIVE", "IGNORE_PATTERNS", "IGNORE_DIRS", "SUBDIRS_AS_TAGS")
    keys = {f"CONSUMER_{name}" for name in wanted}
    for node in ast.parse((folder / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in keys:
            exec(compile(ast.Module([node], []), "settings", "exec"), names)  # noqa: S102 - their own assignment
    return {key: names[key] for key in keys}


# ---- Unmanic ----------------------------------------------------------------------------------------------------------

PLUGIN = "takes_each_file"


@dataclass(frozen=True, slots=True)
class Unmanic:
    """Their modules."""

    config: Any
    eventmonitor: Any
    taskhandler: Any
    plugins: Any
    library: Any
    session: Any
    tasks: Any


def unmanic(checkout: Path, inbox: Path, home: Path) -> None:
    """Run the event monitor, with their database, plugins and task list. Who starts this sets `HOME`, below which all of that is.

    Replaced: the workers, and the call that registers an installation over the network. A plugin says of each file that it is to be
    worked on, as users' plugins do of the files that they want, and is called with each new task.
    """
    sys.path.insert(0, str(checkout))
    os.environ.update(library_path=str(inbox), cache_path=str(home / "cache"))
    theirs = Unmanic(
        config=importlib.import_module("unmanic.config"),
        eventmonitor=importlib.import_module("unmanic.libs.eventmonitor"),
        taskhandler=importlib.import_module("unmanic.libs.taskhandler"),
        plugins=importlib.import_module("unmanic.libs.plugins"),
        library=importlib.import_module("unmanic.libs.library"),
        session=importlib.import_module("unmanic.libs.session"),
        tasks=importlib.import_module("unmanic.libs.unmodels.tasks"),
    )
    theirs.session.Session.register_unmanic = lambda *_arguments, **_named: True
    database = _their_database(theirs.config.Config().get_config_path(), checkout)
    recorder = Recorder(
        home, lambda path: theirs.tasks.Tasks.delete().where(theirs.tasks.Tasks.abspath == str(path)).execute()
    )
    recorder.begin()
    _install_plugin(theirs, recorder)
    queues: dict[str, queue.Queue[Any]] = {name: queue.Queue() for name in ("scheduledtasks", "inotifytasks")}
    event = threading.Event()
    threads = (
        theirs.taskhandler.TaskHandler(queues, None, event),
        theirs.eventmonitor.EventMonitorManager(queues, event),
    )
    for thread in threads:
        thread.daemon = True
        thread.start()
    signal.sigwait({signal.SIGTERM})
    event.set()
    for thread in threads:
        thread.stop()
        thread.join(10)
    database.stop()


def _their_database(config_path: str, checkout: Path) -> Any:  # noqa: ANN401 - theirs
    """Make their database, by their migrations, as their service does at its start."""
    settings = {
        "TYPE": "SQLITE",
        "FILE": f"{config_path}/unmanic.db",
        "MIGRATIONS_DIR": str(checkout / "unmanic" / "migrations_v1"),
        "MIGRATIONS_HISTORY_VERSION": "v1",
    }
    database = importlib.import_module("unmanic.libs.unmodels.lib").Database.select_database(settings)
    importlib.import_module("unmanic.libs.db_migrate").Migrations(settings).update_schema()
    return database


def _install_plugin(theirs: Unmanic, recorder: Recorder) -> None:
    """Install the plugin for their first library, and switch the file monitor of that on."""
    folder = Path(theirs.config.Config().get_plugins_path()) / PLUGIN
    folder.mkdir(parents=True, exist_ok=True)
    handler = theirs.plugins.PluginsHandler()
    about = dict.fromkeys(("name", "author", "version", "tags", "description", "icon"), PLUGIN)
    (folder / "info.json").write_text(json.dumps({**about, "id": PLUGIN, "compatibility": [handler.version]}))
    (folder / "__init__.py").touch()
    (folder / "plugin.py").touch()
    module(
        f"{PLUGIN}.plugin",
        on_library_management_file_test=lambda data: data.update(add_file_to_pending_tasks=True),
        emit_task_queued=lambda data: recorder.take(Path(data["source_data"]["abspath"])),
    )
    handler.write_plugin_data_to_db({**about, "plugin_id": PLUGIN}, str(folder))
    library = theirs.library.Library(theirs.library.Library.get_all_libraries()[0]["id"])
    library.set_enable_inotify(True)
    library.save()
    library.set_enabled_plugins([{"plugin_id": PLUGIN}])
    for kind in ("library_management.file_test", "events.task_queued"):
        handler.set_plugin_flow(kind, library.get_id(), [{"plugin_id": PLUGIN}])


WATCHERS = {"paperless": paperless, "unmanic": unmanic}

if __name__ == "__main__":
    name, *paths = sys.argv[1:]
    if name == "unmanic":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    WATCHERS[name](*map(Path, paths))
