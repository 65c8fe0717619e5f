"""A page for this machine alone: bound to 127.0.0.1, deaf to requests that name another host or come from elsewhere."""

import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from electrain.errors import UserError

HOST = "127.0.0.1"
_HERE = re.compile(r"(127\.0\.0\.1|localhost)(:\d+)?")
TRIED = 100  # ports from the one that is asked for
# Nothing is fetched from outside, and no other page may hold this one in a frame.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def guarded(app: App) -> App:
    """An ASGI application behind a check of every request (`refusal`), with headers that keep the page to itself."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await app(scope, receive, send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if why := refusal(headers):
            if scope["type"] == "websocket":
                return await send({"type": "websocket.close", "code": 1008})
            body = f"{why}\n".encode()
            kind = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": kind})
            return await send({"type": "http.response.body", "body": body})

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = {
                    b"content-security-policy": _POLICY.encode(),
                    b"x-content-type-options": b"nosniff",
                    b"referrer-policy": b"no-referrer",
                }
                message = {**message, "headers": [*message["headers"], *more.items()]}
            await send(message)

        await app(scope, receive, marked)

    return call


def refusal(headers: MutableMapping[str, str]) -> str:
    """Why a request with these headers (names in lower case) is refused, or "".

    A page elsewhere can have its own name lead to 127.0.0.1 (DNS rebinding): then it is named in Host. It can send
    requests here without reading the answer: then it is named in Origin or Sec-Fetch-Site.
    """
    host = headers.get("host", "")
    if not _HERE.fullmatch(host):
        return "this page is served to 127.0.0.1 and localhost only"
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "requests from other pages are refused"
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        return "requests from other pages are refused"
    return ""


def bound(port: int) -> socket.socket:
    """A socket that listens on 127.0.0.1, at the port or the next free one. UserError if there is none."""
    if not 1 <= port <= 65535:
        raise UserError(f"--port {port}: choose one from 1 to 65535")
    for number in range(port, min(port + TRIED, 65536)):
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((HOST, number))
            opened.listen(128)
        except PermissionError as error:
            opened.close()
            raise UserError(f"--port {port}: this user may not listen there; choose one from 1024 on") from error
        except OSError:
            opened.close()
            continue
        return opened
    raise UserError(f"--port {port}: it and the {TRIED - 1} after it are busy; choose another")
