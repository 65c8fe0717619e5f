"""The page is for this machine alone."""

import asyncio
import socket
import sys
from typing import Any

import pytest

from electrain.cli import main
from electrain.errors import UserError
from electrain.inspect.serve import bound, guarded, refusal


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({"host": "127.0.0.1:7860"}, True),
        ({"host": "localhost:8000"}, True),
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}, True),
        ({"host": "127.0.0.1:7860", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
        ({"host": "127.0.0.1:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),
        ({"host": "evil.example:7860"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "evil.example@127.0.0.1"}, False),
        ({"host": "[::1"}, False),
        ({"host": ""}, False),
        ({}, False),
        ({"host": "evil.example", "origin": "http://evil.example"}, False),
        ({"host": "127.0.0.1:7860", "origin": "http://evil.example"}, False),
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:9999"}, False),
        ({"host": "127.0.0.1:7860", "origin": "null"}, False),
        ({"host": "127.0.0.1:7860", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, False),
    ],
)
def test_who_is_answered(headers: dict[str, str], fine: bool) -> None:
    assert (refusal(headers) == "") is fine
    sent: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"secret"})

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.title().encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(guarded(application)({"type": "http", "headers": pairs}, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == (200 if fine else 403)
    assert (sent[1]["body"] == b"secret") is fine
    if fine:
        policy = dict(sent[0]["headers"])[b"content-security-policy"].decode()
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy


def test_a_busy_port_and_the_next() -> None:
    first = bound(23457)
    try:
        taken = first.getsockname()
        assert taken[0] == "127.0.0.1"
        second = bound(taken[1])
        assert second.getsockname()[1] > taken[1]
        second.close()
    finally:
        first.close()
    for wrong in (0, -1, 65536):
        with pytest.raises(UserError, match="from 1 to 65535"):
            bound(wrong)
    held = socket.socket()
    held.bind(("127.0.0.1", 65535))
    held.listen()
    with pytest.raises(UserError, match="are busy"):
        bound(65535)
    held.close()


def test_without_gradio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)  # importing it fails
    with pytest.raises(SystemExit) as left:
        main(["inspect", "--model", "nowhere"])
    said = capsys.readouterr().err
    assert left.value.code == 2 and said.count("\n") == 1 and "pip install 'electrain[demo]'" in said
