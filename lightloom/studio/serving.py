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
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?")
_UPLOAD = "/gradio_api/upload"
_LARGEST_EVENT = 1 << 20
_UPLOADS = 16
"""Bytes of a request that is no upload, and how many of the largest uploads may lie in the work folder."""

Scope = Mapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


def require_gradio() -> None:
    """Raise InputError where the extra `studio` is not installed."""
    if find_spec("gradio") is None:
        raise InputError("gradio is not installed", "pip install 'lightloom[studio]'")


class Guard:
    """ASGI middleware: refuses what a page of ours never asks, before anything of it is read, and bounds what is read.

    403 for requests under other hosts' names, from other sites' pages, and for URLs; 413 for a body larger than an
    event or a file may be, whatever its header says; 507 once uploads would fill more than 16 of the largest.

    Args:
        app: what is guarded.
        hosts: names under which it is asked; None is any.
        largest: bytes of a file that may be uploaded.
    """

    def __init__(self, app: Application, hosts: frozenset[str] | None, largest: int) -> None:
        self._app, self._hosts, self._largest = app, hosts, largest
        self._uploaded = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not _welcome(scope, self._hosts):
            await _refuse(send, 403, b"refused")
        else:
            await self._bounded(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass a request on, counting its body; what the application says of one that is cut is dropped."""
        upload = scope["path"].rstrip("/") == _UPLOAD
        limit = _LARGEST_EVENT + (self._largest if upload else 0)
        read, refused, answered = 0, False, False

        async def counted() -> Any:
            nonlocal read, refused
            message = await receive()
            size = len(message.get("body", b""))
            read += size
            self._uploaded += size if upload else 0
            refused = refused or read > limit or (upload and self._full)
            return {"type": "http.disconnect"} if refused else message

        async def answer(message: Any) -> None:
            nonlocal answered
            if not refused:
                answered = True
                await send(message)

        claimed = _headers(scope).get("content-length", "0")
        if not claimed.isdecimal() or len(claimed) > 18 or int(claimed) > limit:
            await _refuse(send, 413, b"too large")
            return
        try:
            await self._app(scope, counted, answer)
        except Exception:
            if not refused:
                raise
        if refused and not answered:
            full = upload and self._full
            await _refuse(send, *((507, b"too many uploads") if full else (413, b"too large")))

    @property
    def _full(self) -> bool:
        return self._uploaded > _UPLOADS * self._largest


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _welcome(scope: Scope, hosts: frozenset[str] | None) -> bool:
    headers = _headers(scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    if _HOST.fullmatch(host) is None:
        return False
    if hosts is not None and urlsplit(f"//{host}").hostname not in hosts:
        return False  # a name that someone made point here
    if origin is not None and urlsplit(origin).netloc != host:
        return False
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if headers.get("sec-fetch-site") in {"cross-site", "same-site"}:  # browsers say so even where there is no origin
        return scope["method"] == "GET" and scope["path"] == "/" and followed  # a link to the page itself
    return _ELSEWHERE.search(unquote(scope["path"])) is None


async def _refuse(send: Any, status: int, why: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": why})


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
                js=(Path(__file__).parent / "dragging.js").read_text(),
                app_kwargs={"middleware": [Middleware(Guard, hosts=hosts, largest=megabytes * 2**20)]},
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
