"""The page as an ASGI application: its routes; and serving it until the end."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from rodin_watchd.adapters.host import give_way, local_zone, return_memory, share_memory_pool
from rodin_watchd.adapters.thumbnails import Thumbnails
from rodin_watchd.config import Config
from rodin_watchd.errors import RodinWatchdError
from rodin_watchd.service.commands import APPROVE, JOB_VERBS, PAUSE, RESUME
from rodin_watchd.web.access import LOGIN, Access, credentials_in, find_tokens, refuse_open
from rodin_watchd.web.api import operations
from rodin_watchd.web.api import routes as api_routes
from rodin_watchd.web.drops import Drops
from rodin_watchd.web.files import Files
from rodin_watchd.web.live import News, SharedPages
from rodin_watchd.web.pages import Failures, Pages
from rodin_watchd.web.site import Website, acting
from rodin_watchd.web.slow import PatientProtocol, WholeBodies
from rodin_watchd.web.uploads import Uploads
from rodin_watchd.web.words import ENGLISH, LANGUAGES, Words

THREADS: Final = 3
"""So many requests are answered at the same time; each takes milliseconds, and memory."""

STOP_SECONDS: Final = 2
"""How long open connections may take to end: streams of events never would."""

NICENESS: Final = 5
"""The service goes first."""

MOST_CONNECTIONS: Final = 400


def application(config: Config, environ: Mapping[str, str]) -> Starlette:
    """Return the whole page. Raises ConfigError where it would be open to strangers, or a token cannot be used."""
    tokens = find_tokens(config.web, credentials_in(environ))
    refuse_open(config.web, tokens)
    zone = local_zone()
    thumbnails = Thumbnails()
    words = {language: Words(language, zone) for language in LANGUAGES}
    words[ENGLISH].prepare()  # another language takes its memory when somebody asks for it
    site = Website(config, zone, words, thumbnails)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        try:
            yield
        finally:
            thumbnails.close()

    failures = Failures(site)
    return Starlette(
        routes=_routes(site),
        middleware=[Middleware(WholeBodies), Middleware(Access, web=config.web, tokens=tokens)],
        exception_handlers={HTTPException: failures.http, RodinWatchdError: failures.ours},
        lifespan=lifespan,
    )


def _routes(site: Website) -> list[BaseRoute]:
    news, files = News(site.config), Files(site)
    uploads = Uploads(site, Drops(site.config, site.inbox))
    found = (*operations(site, news), *uploads.operations())
    pages, shared = Pages(site, found), SharedPages().shared
    return [
        Route("/", shared(pages.sets)),
        Route("/money", shared(pages.money)),
        Route("/api", pages.api),
        Route(LOGIN, pages.login),
        *(Route(f"/{verb}", acting(pages.of_service(verb)), methods=["POST"]) for verb in (PAUSE, RESUME, APPROVE)),
        Route("/sets/{job_id}", shared(pages.set)),
        Route("/sets/{job_id}/siblings", shared(pages.siblings)),
        Route("/sets/{job_id}/picture", files.picture),
        Route("/sets/{job_id}/results.zip", files.zip),
        Route("/sets/{job_id}/files/{where}/{name:path}", files.file),
        Route("/sets/{job_id}/small/{where}/{name:path}", files.small),
        *(Route(f"/sets/{{job_id}}/{verb}", acting(pages.about_set(verb)), methods=["POST"]) for verb in JOB_VERBS),
        *uploads.routes(),
        *api_routes(found),
        Mount("/static", OwnFiles(directory=Path(__file__).parent / "static")),
    ]


class OwnFiles(StaticFiles):
    """The files of the page itself: a browser keeps them, and asks each time whether they have changed."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return one file, or that it is still the same."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def serve(config: Config, environ: Mapping[str, str], ready: Callable[[str, Callable[[], None]], None]) -> None:
    """Serve the page until SIGTERM or Ctrl-C. Raises ConfigError; OSError where its address is taken.

    `ready` is called with the address, and with what ends the page from any thread.
    """
    share_memory_pool()
    give_way(NICENESS)
    app = application(config, environ)
    return_memory()
    host, port = config.web.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=128) as listening:
        settings = uvicorn.Config(
            app,
            http=PatientProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=STOP_SECONDS,
            limit_concurrency=MOST_CONNECTIONS,
        )
        server = EndingServer(settings)
        ready(config.web.listen, server.end)
        server.run([listening])


class EndingServer(uvicorn.Server):
    """A server that can be ended from another thread."""

    def end(self) -> None:
        """Have it end in order."""
        self.should_exit = True
