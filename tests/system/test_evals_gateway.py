"""A gateway as a target: the real one over a real socket, in front of a model that is scripted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from inglenook.errors import NookError
from inglenook.evals import targets
from inglenook.evals.calls import Call, Message, Settings
from inglenook.evals.gateway import Gateway
from inglenook.wire import messages as wire
from system.test_serve import served
from websockets.sync.server import ServerConnection, serve

ASKED = Call("t", (Message("user", "hi"),), Settings(max_tokens=5))


class Model:
    """In place of a nook: answers with the level that was asked for, or does what `act` says."""

    def __init__(self, act: Callable[[wire.Chat], None] = lambda request: None) -> None:
        self.act, self.asked = act, list[wire.Chat]()
        self.library = SimpleNamespace(status=wire.Status)

    async def astream(
        self, request: Any, emit: Callable[[object], None], before: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.asked.append(request)
        self.act(request)
        emit(wire.Token("level "))
        emit(wire.Token(f"{request.level}"))
        emit(wire.Timing(prompt_tokens=7, tokens=2, stop="length"))


def test_a_gateway_answers_at_the_level_of_its_address() -> None:
    model = Model()
    with served(model) as host:
        reply = Gateway(f"ws://{host}#2")(ASKED)
        own = Gateway(f"ws://{host}/ws/")(Call("t", ASKED.messages, Settings(level=1)))
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("level 2", "length", 7, 2)
    assert own.text == "level 1" and 0 < reply.first_ms <= reply.total_ms and not reply.error
    assert model.asked[0].messages == [wire.Turn("user", "hi")] and model.asked[0].max_tokens == 5


def raising(code: str) -> Callable[[wire.Chat], None]:
    def act(request: wire.Chat) -> None:
        raise NookError(code, "It cannot be.", "Do otherwise.")

    return act


def test_what_goes_wrong_is_told_as_on_this_machine() -> None:
    with served(Model(raising("context"))) as host:
        assert Gateway(f"ws://{host}")(ASKED).error == "context: It cannot be. Do otherwise."
    with served(Model(raising("model-missing"))) as host, pytest.raises(NookError) as error:
        Gateway(f"ws://{host}")(ASKED)
    assert error.value.code == "model-missing" and error.value.hint


@pytest.fixture
def line() -> Iterator[Callable[[Callable[[ServerConnection], None]], str]]:
    """A WebSocket server that does something else; gives its address."""
    servers = []

    def start(act: Callable[[ServerConnection], None]) -> str:
        server = serve(act, "127.0.0.1", 0)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}"

    yield start
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([], "truncated"), (['{"type":"Token","id":"1","text":"Once"}'], "truncated"),
        (['{"type":"Token","id":"9","text":"x"}'], "mixed"), (["<html>"], "protocol"), ([b"\xff\xff"], "protocol"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_named(line: Any, said: list[str | bytes], code: str) -> None:
    def act(connection: ServerConnection) -> None:
        connection.recv()
        for frame in said:
            connection.send(frame)

    assert Gateway(line(act))(ASKED).error.startswith(f"{code}: ")


def test_one_that_takes_too_long_and_one_that_is_not_there(line: Any) -> None:
    over = threading.Event()
    assert Gateway(line(lambda connection: bool(over.wait(5))), timeout=0.3)(ASKED).error.startswith("timeout: ")
    over.set()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NookError) as error:
        Gateway(f"ws://127.0.0.1:{port}")(ASKED)
    assert error.value.code == "unreachable"


def test_a_server_that_is_no_gateway_ends_the_run() -> None:
    with served(Model()) as host, pytest.raises(NookError) as error:
        Gateway(f"ws://{host}/elsewhere")(ASKED)
    assert error.value.code == "refused" and "inglenook serve" in error.value.hint


def test_gateways_are_named() -> None:
    assert targets.open("ws://localhost:8765#2").name == "ws://localhost:8765#2"
    for wrong in ("ws://", "wss://host#small", "ws://host:99999", "ws://[::1"):
        with pytest.raises(NookError) as error:
            targets.open(wrong)
        assert error.value.code == "no-target" and error.value.hint
    with pytest.raises(NookError) as error:
        Gateway("http://host")
    assert error.value.code == "no-target" and error.value.hint
