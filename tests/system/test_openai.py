"""The HTTP face, with the official `openai` client over a real socket: whole answers, streams, errors, who leaves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from inglenook.completions import MODEL
from inglenook.embed.encoder import SPACE
from inglenook.errors import NookError
from inglenook.nook import Nook
from inglenook.serve.access import Rules, Tickets
from inglenook.wire import messages as wire
from system.test_serve import Fountain, served, wait

openai = pytest.importorskip("openai", reason="the openai client is not here (python3 build.py dev)")

HI = [{"role": "user", "content": "hi"}]


class Scripted:
    """In place of a nook: says what it is told to, and keeps what it was asked."""

    def __init__(self, *events: wire.Event | Exception) -> None:
        self.events, self.asked = events, list[Any]()
        self.library = SimpleNamespace(status=lambda: SimpleNamespace(documents=0, chunks=0))

    async def astream(
        self, request: Any, emit: Callable[[object], None], before: Callable[[], Awaitable[None]]
    ) -> None:
        self.asked.append(request)
        for event in self.events:
            await before()
            await asyncio.sleep(0)
            if isinstance(event, Exception):
                raise event
            emit(event)

    async def aembed(self, texts: list[str]) -> tuple[np.ndarray, int]:
        return np.array([[len(text), 0.25] for text in texts], np.float32), 7


def client(host: str, key: str = "none") -> Any:
    return openai.OpenAI(base_url=f"http://{host}/v1", api_key=key, max_retries=0, timeout=120)


def said(*texts: str, stop: str = "end") -> list[wire.Event]:
    return [*map(wire.Token, texts), wire.Timing(prompt_tokens=3, tokens=len(texts), stop=stop)]


def test_a_whole_answer() -> None:
    nook = Scripted(*said("Hello", " there", stop="length"))
    with served(nook) as host:
        made = client(host).chat.completions.create(
            model=MODEL, messages=HI, seed=7, stop=["x"], max_tokens=9, extra_body={"slo": {"first": 800, "token": 60}}
        )
    assert made.choices[0].message.content == "Hello there" and made.choices[0].finish_reason == "length"
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.model) == (3, 2, MODEL)
    [asked] = nook.asked
    assert (asked.seed, asked.stop, asked.max_tokens, asked.slo) == (7, ["x"], 9, wire.Slo(800.0, 60.0))


def test_a_stream_with_its_usage_and_logprobs() -> None:
    likely = wire.Logprob("Hi", [72, 105], -0.5, [wire.Likely("Ho", [72, 111], -1.5)])
    with served(Scripted(wire.Token("Hi", [likely]), wire.Timing(prompt_tokens=3, tokens=1))) as host:
        stream = client(host).chat.completions.create(
            model=MODEL, messages=HI, stream=True, logprobs=True, top_logprobs=1,
            stream_options={"include_usage": True},
        )  # fmt: skip
        first, token, last, usage = list(stream)
    assert first.choices[0].delta.role == "assistant" and token.choices[0].delta.content == "Hi"
    assert token.choices[0].logprobs.content[0].top_logprobs[0].token == "Ho"
    assert last.choices[0].finish_reason == "stop" and usage.usage.total_tokens == 4 and not usage.choices


def test_calls_of_functions() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    call = wire.Called([wire.Call("weather", '{"city":"Paris"}')])
    nook = Scripted(call, wire.Timing())
    with served(nook) as host:
        ask: dict[str, Any] = {"model": MODEL, "messages": HI, "tools": [tool], "tool_choice": "required"}
        made = client(host).chat.completions.create(**ask)
        streamed = [
            c for c in client(host).chat.completions.create(**ask, stream=True) if c.choices[0].delta.tool_calls
        ]
    assert made.choices[0].message.tool_calls[0].function.arguments == '{"city":"Paris"}'
    assert made.choices[0].finish_reason == "tool_calls" and made.choices[0].message.content is None
    assert streamed[0].choices[0].delta.tool_calls[0].function.name == "weather"
    assert nook.asked[0].choice == "required" and nook.asked[0].tools[0].name == "weather"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (NookError("context", "It is too long.", "Send less."), openai.BadRequestError, "context"),
        (NookError("busy", "Too many.", "Wait."), openai.RateLimitError, "busy"),
        (NookError("model-missing", "No model.", "Build."), openai.InternalServerError, "model-missing"),
        (ValueError("/etc/secret"), openai.InternalServerError, "internal"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_before_the_first_token_has_a_status(error: Exception, kind: Any, code: str, stream: bool) -> None:
    with served(Scripted(error)) as host, pytest.raises(kind) as raised:
        client(host).chat.completions.create(model=MODEL, messages=HI, stream=stream)
    assert raised.value.code == code and raised.value.body["hint"] and "secret" not in str(raised.value)


def test_what_fails_after_it_is_told_in_the_stream() -> None:
    with served(Scripted(wire.Token("Hi"), NookError("worker-died", "It went.", "Ask again."))) as host:
        stream = client(host).chat.completions.create(model=MODEL, messages=HI, stream=True)
        with pytest.raises(openai.APIError, match=r"It went\. Ask again\.") as raised:
            list(stream)
    assert raised.value.code == "worker-died"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"nonsense", 400, "request"), (b"[]", 400, "request"), (b"\xff", 400, "request"),
        (b"[" * 100_000, 400, "request"), (b'{"model":"gpt-9","messages":[]}', 404, "no-model"),
        (b'{"messages":[]}', 404, "no-model"), (b" " * 8_000_001, 413, "too-large"),
        (b'{"model":"%s","messages":"hi"}' % MODEL.encode(), 400, "request"),
        (b'{"model":"%s","messages":[],"n":2}' % MODEL.encode(), 400, "request"),
        (b'{"model":"%s","messages":[],"stream_options":5}' % MODEL.encode(), 400, "request"),
    ],
)  # fmt: skip
def test_bad_requests(body: bytes, status: int, code: str) -> None:
    with served(Scripted(*said("x"))) as host:
        answer = httpx.post(f"http://{host}/v1/chat/completions", content=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code) and error["hint"] and error["message"]


def test_models() -> None:
    with served(Scripted()) as host:
        assert [model.id for model in client(host).models.list()] == [MODEL, SPACE]
        assert client(host).models.retrieve(MODEL).id == MODEL
        with pytest.raises(openai.NotFoundError) as raised:
            client(host).models.retrieve("gpt-9")
    assert MODEL in str(raised.value)


def test_vectors_of_texts() -> None:
    with served(Scripted()) as host:
        embeddings = client(host).embeddings
        packed = embeddings.create(model=SPACE, input=["a", "bcd"])  # the client asks for base64
        plain = embeddings.create(model=SPACE, input="four", encoding_format="float")
        assert [row.embedding for row in packed.data] == [[1.0, 0.25], [3.0, 0.25]] and packed.usage.total_tokens == 7
        assert plain.data[0].embedding == [4.0, 0.25]
        wrong: list[dict[str, Any]] = [{"input": []}, {"input": [5]}, {"input": ""}, {"input": "a", "dimensions": 5}]
        for given in wrong:
            with pytest.raises(openai.BadRequestError):
                embeddings.create(model=SPACE, **given)
        with pytest.raises(openai.NotFoundError):
            embeddings.create(model=MODEL, input="a")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_work(stream: bool) -> None:
    fountain = Fountain(width=10)
    with served(fountain, Rules(waiting=8)) as host:
        name, port = host.split(":")
        body = b'{"model":"%s","messages":[],"stream":%s}' % (MODEL.encode(), b"true" if stream else b"false")
        with socket.create_connection((name, int(port))) as line:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
            line.sendall(head.encode() + body)
            wait(lambda: fountain.made > 20)
        wait(lambda: fountain.closed == 1)


def test_a_reader_that_never_reads_is_given_up() -> None:
    fountain = Fountain(width=50_000)
    with served(fountain, Rules(patience=0.5)) as host:
        stream = client(host).chat.completions.create(model=MODEL, messages=HI, stream=True)
        wait(lambda: fountain.closed == 1)
        assert fountain.made < 1500
        stream.close()


# ── who may come in ───────────────────────────────────────────────────────────────────────────────────────────────


def test_with_a_key_only_who_knows_it_is_answered() -> None:
    with served(Scripted(*said("x")), Rules(key="secret")) as host:
        assert client(host, "secret").chat.completions.create(model=MODEL, messages=HI).choices
        for wrong in ("wrong", "secre", "ключ"):
            headers = {"Authorization": f"Bearer {wrong}".encode()}
            answer = httpx.get(f"http://{host}/v1/models", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key")
        with pytest.raises(openai.AuthenticationError):
            client(host, "wrong").models.list()
        assert httpx.get(f"http://{host}/healthz").status_code == 200


def test_pages_are_told_by_their_origin() -> None:
    with served(Scripted(*said("x")), Rules(frozenset({"https://docs.example"}), key="secret")) as host:
        url, good = f"http://{host}/v1/models", {"Origin": "https://docs.example"}
        before = httpx.options(
            url, headers={**good, "Access-Control-Request-Method": "POST",
                          "Access-Control-Request-Headers": "authorization"},
        )  # fmt: skip
        assert before.status_code == 204 and before.headers["access-control-allow-headers"] == "authorization"
        assert before.headers["access-control-allow-origin"] == "https://docs.example"
        told = httpx.get(url, headers={**good, "Authorization": "Bearer secret"})
        assert told.status_code == 200 and told.headers["access-control-allow-origin"] == "https://docs.example"
        assert told.headers["vary"] == "Origin"
        bad = httpx.get(url, headers={"Origin": "https://evil.example", "Authorization": "Bearer secret"})
        assert (bad.status_code, bad.json()["error"]["code"]) == (403, "origin")
        assert "access-control-allow-origin" not in bad.headers


def test_a_ticket_is_good_once_and_for_a_minute() -> None:
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    first, second = tickets.mint(), tickets.mint()
    assert first != second
    assert not tickets.redeem(["inglenook.v1"]) and not tickets.redeem([f"ticket.{first}", f"ticket.{second}"])
    third = tickets.mint()
    assert tickets.redeem(["inglenook.v1", f"ticket.{third}"]) and not tickets.redeem([f"ticket.{third}"])
    late = tickets.mint()
    now[0] = 60.0
    assert not tickets.redeem([f"ticket.{late}"])


def test_no_more_tickets_than_there_may_be() -> None:
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    for _ in range(4096):
        tickets.mint()
    with pytest.raises(NookError, match="busy"):
        tickets.mint()
    now[0] = 61.0
    assert tickets.redeem([f"ticket.{tickets.mint()}"])


# ── the real models ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def real(needs: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs("static/models/smollm2-135m-instruct.nkm", "static/models/minilm-l6.nkm")
    with Nook(tmp_path_factory.mktemp("openai") / "a.nook", where="server") as nook, served(nook) as host:
        yield host


def test_the_model_writes_the_same_whole_and_streamed(real: str) -> None:
    ask: dict[str, Any] = {"model": MODEL, "messages": HI, "max_tokens": 8, "temperature": 1, "seed": 3}
    whole = client(real).chat.completions.create(**ask).choices[0].message.content
    stream = client(real).chat.completions.create(**ask, stream=True)
    assert whole and "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole


def test_the_model_writes_json_of_a_schema(real: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    made = client(real).chat.completions.create(model=MODEL, messages=HI, max_tokens=30, response_format=form)
    assert made.choices[0].message.content.startswith('{"n":')


def test_meaning_is_near_meaning(real: str) -> None:
    texts = ["The cat sleeps.", "A kitten is napping.", "Interest rates rose."]
    rows = np.array([row.embedding for row in client(real).embeddings.create(model=SPACE, input=texts).data])
    assert rows.shape == (3, 384) and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2
    with pytest.raises(openai.BadRequestError) as raised:
        client(real).embeddings.create(model=SPACE, input="word " * 400)
    assert raised.value.code == "context"
    with pytest.raises(openai.BadRequestError):
        client(real).chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 9000}])
