"""What stands before the studio's page: requests that no page of ours makes, and bodies without end; colours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightloom.studio.page_content import hex_colour, material_values
from lightloom.studio.serving import Guard
from manifests.errors import InputError

HERE = "127.0.0.1:7860"
LARGEST = 1 << 20


class Reader:
    """An application that reads every body to its end, as gradio's routes do, and says how much there was."""

    def __init__(self) -> None:
        self.read = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            self.read += len(message["body"])
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


def ask(
    guard: Guard, path: str = "/config", method: str = "GET", chunks: int = 1, size: int = 0, **headers: str
) -> int:
    """Status of the answer to a request with a body of so many chunks."""
    sent: list[Any] = []
    head = {"host": HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in head.items()],
    }
    left = iter(range(chunks - 1, -1, -1))

    async def receive() -> Any:
        return {"type": "http.request", "body": bytes(size), "more_body": next(left) > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:7860"}, 200),
        ({"host": "[::1]:7860"}, 200),
        ({"origin": f"http://{HERE}"}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "https://example.org"}, 403),
        ({"host": "example.org"}, 403),
        ({"host": f"example.org@{HERE}"}, 403),
        ({"host": f"{HERE}/"}, 403),
        ({"host": ""}, 403),
        ({"host": "127.0.0.1:x"}, 403),
    ],
)
def test_only_the_pages_own_requests_are_passed_on(headers: dict[str, str], status: int) -> None:
    reader = Reader()
    assert ask(Guard(reader, frozenset({"localhost", "127.0.0.1", "::1"}), LARGEST), **headers) == status


def test_a_link_to_the_page_may_be_followed() -> None:
    followed = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    guard = Guard(Reader(), frozenset({"127.0.0.1"}), LARGEST)
    assert ask(guard, "/", **followed) == 200
    assert ask(guard, "/", "POST", **followed) == 403


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/run/x", "/"])
def test_a_body_ends_at_its_limit_whatever_it_says(path: str) -> None:
    limit = LARGEST + (1 << 20) if path.endswith("upload") else 1 << 20
    reader = Reader()
    assert ask(Guard(reader, None, LARGEST), path, "POST", chunks=10_000, size=1 << 16) == 413
    assert reader.read <= limit
    assert ask(Guard(reader, None, LARGEST), path, "POST", content_length=str(limit + 1)) == 413
    for odd in ("-1", "x", "9" * 5000):
        assert ask(Guard(reader, None, LARGEST), path, "POST", content_length=odd) == 413
    assert ask(Guard(reader, None, LARGEST), path, "POST", chunks=4, size=1 << 16) == 200


def test_uploads_end_when_the_folder_is_full_and_the_page_goes_on() -> None:
    guard = Guard(Reader(), None, LARGEST)
    answers = [ask(guard, "/gradio_api/upload", "POST", chunks=4, size=1 << 18) for _ in range(18)]
    assert answers == [200] * 16 + [507] * 2
    assert ask(guard, "/gradio_api/queue/join", "POST", size=1000) == 200


def test_an_error_of_the_application_is_its_own() -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        ask(Guard(broken, None, LARGEST))


@pytest.mark.parametrize(
    ("given", "colour"),
    [
        ("#a01515", "#a01515"),
        (" #A01515 ", "#A01515"),
        ("rgb(255, 0, 16)", "#ff0010"),
        ("rgba(255, 0.4, 127.6, 1)", "#ff0080"),
        ("rgba(300,0,0,0.5)", "#ff0000"),
    ],
)
def test_colours_of_a_picker_become_hexadecimal(given: str, colour: str) -> None:
    assert hex_colour(given) == colour


@pytest.mark.parametrize(
    "given",
    [
        "/etc/secret.png",
        "secret.png",
        "#abc",
        "#a01515.png",
        "rgb(/a.png)",
        "rgb(1,2)",
        "rgb(" + "9" * 10_000,
        "",
        "red",
    ],
)
def test_a_colour_that_is_a_path_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="no colour"):
        material_values(["base colour"], given, None, 0.5, 0.0)
