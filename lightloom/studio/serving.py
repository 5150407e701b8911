"""Serving the studio: to this machine only unless said otherwise, and from one folder only. Light to import.

The work folder is gradio's only root: uploads and results lie in it, and its file route serves nothing else. What
gradio would fetch from elsewhere is refused, as are requests that another site's page makes through the browser.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from editing.settings import FilmSettings
from manifests.errors import InputError

_ELSEWHERE = re.compile(r"/(file|proxy)=\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

Scope = Mapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


def require_gradio() -> None:
    """Raise InputError where the extra `studio` is not installed."""
    if find_spec("gradio") is None:
        raise InputError("gradio is not installed", "pip install 'lightloom[studio]'")


class Guard:
    """ASGI middleware: answers 403 to requests for other hosts' names, from other sites' pages, and for URLs."""

    def __init__(self, app: Application, hosts: frozenset[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and not self._welcome(scope):
            head = {"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]}
            await send(head)
            await send({"type": "http.response.body", "body": b"refused"})
            return
        await self._app(scope, receive, send)

    def _welcome(self, scope: Scope) -> bool:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts is not None and urlsplit(f"//{host}").hostname not in self._hosts:
            return False  # a name that someone made point here
        if origin is not None and urlsplit(origin).netloc != host:
            return False
        return _ELSEWHERE.search(unquote(scope["path"])) is None


def serve(
    settings: FilmSettings,
    sources: Mapping[str, str],
    *,
    host: str,
    port: int,
    work: Path | None,
    most_frames: int,
    megabytes: int,
) -> None:
    """Serve clips of so many frames and uploads of so many megabytes, until interrupted. InputError: port is taken."""
    from editing.film import make_folder

    with ExitStack() as stack:
        if work is None:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lightloom-studio-")))
        else:
            make_folder(work)
        work = work.resolve()
        private = {"GRADIO_TEMP_DIR": work, "GRADIO_EXAMPLES_CACHE": work / "examples"}
        os.environ.update({name: str(path) for name, path in private.items()}, GRADIO_ANALYTICS_ENABLED="False")
        import gradio as gr
        from starlette.middleware import Middleware

        from lightloom.studio.app import CSS, Page
        from lightloom.studio.workshop import Workshop

        page = Page(Workshop(settings, most_frames, work, sources)).build()
        page.queue(max_size=16, default_concurrency_limit=4, api_open=False)
        fonts = ["system-ui", "sans-serif"]
        hosts = _LOCAL if _is_local(host) else None
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                ssr_mode=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],
                max_file_size=megabytes * 2**20,
                allowed_paths=[],
                theme=gr.themes.Base(
                    primary_hue="orange", neutral_hue="zinc", font=fonts, font_mono=["ui-monospace", "monospace"]
                ),
                css=CSS,
                js="() => document.body.classList.add('dark')",
                app_kwargs={"middleware": [Middleware(Guard, hosts=hosts)]},
            )
        except OSError as error:
            raise InputError(
                f"{host}:{port} cannot be served: {error}", "choose another `port`", fields=("port",)
            ) from None
        print(f"studio     {url}", flush=True)
        print("stop it with ctrl-c", flush=True)
        page.block_thread()


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
