"""What servers send, read without a socket; and the model of our own engine as a target."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from engine.test_answer import Writer
from inglenook.errors import NookError
from inglenook.evals import heard, targets
from inglenook.evals.calls import Call, Image, Message, Reply, Settings
from inglenook.evals.completion import Reading
from inglenook.flow import drive as flow
from inglenook.wire import messages as wire


def chunk(text: str = "", finish: str | None = None, name: str = "1", **more: Any) -> bytes:
    told = {"id": name, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


USAGE = b'data: {"id":"1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
STREAM = b": hello\n\n" + chunk("H") + chunk("\u00e9 ") + chunk("", "length") + USAGE + b"data: [DONE]\n\n"
WHOLE = json.dumps(
    {"id": "1", "choices": [{"index": 0, "message": {"content": "H\u00e9 "}, "finish_reason": "length"}],
     "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
).encode()  # fmt: skip


def read(data: bytes, size: int = 1 << 20) -> Reply:
    ticks = count(1)
    reading = Reading(lambda: float(next(ticks)))
    for at in range(0, len(data), size):
        if reading.feed(data[at : at + size]):
            break
    return reading.reply()


@pytest.mark.parametrize("data", [STREAM, STREAM.replace(b"\n", b"\r\n"), WHOLE, b"\n\n" + WHOLE])
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_a_stream_and_a_whole_completion_say_the_same(data: bytes, size: int) -> None:
    reply = read(data, size)
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.completion_tokens) == ("H\u00e9 ", "length", 7, 2)
    assert 0 < reply.first_ms < reply.total_ms and reply.logprobs is None and not reply.error


def test_a_stream_without_its_last_line_is_whole_if_the_model_had_ended() -> None:
    assert read(chunk("a", "stop")).text == "a"
    assert read(chunk("a") + b"data: [DONE]").finish == "stop"
    assert read(b"data: [DONE]\n\n").text == ""


def test_log_probabilities_are_read() -> None:
    told = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1.0}]}
    choice = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop", "logprobs": {"content": [told]}}
    reply = read(json.dumps({"choices": [choice]}).encode())
    assert reply.logprobs == (wire.Logprob("a", [97], -0.5, [wire.Likely("b", [], -1.0)]),)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "not-json"),
        (b"\n  <html>\n</html>\n", "not-json"),
        (b"Bad gateway\n", "not-json"),
        (b"Bad gateway", "not-json"),
        (b"{}", "not-json"),
        (b'{"a": [}', "not-json"),
        (b"data: {}\n\n", "not-json"),
        (b"data: oops\n\n", "not-json"),
        (b"data: [1]\n\n", "not-json"),
        (b'{"choices": [{"message": {"content": 5}}]}', "not-json"),
        (b'{"choices": [{"message": [1], "finish_reason": "stop"}]}', "not-json"),
        (b'{"choices": [{"message": "hello", "finish_reason": "stop"}]}', "not-json"),
        (b'{"choices": [{"message": {"content": "a"}, "finish_reason": 5}]}', "not-json"),
        (b"[" * 200_000, "not-json"),
        (b"", "truncated"),
        (b"\n\n", "truncated"),
        (STREAM[: STREAM.index(b'"length"') - 2], "not-json"),
        (chunk("Once upon a"), "truncated"),
        (chunk("Once") + b": ping\n\n", "truncated"),
        (WHOLE[:-20], "truncated"),
        (chunk("a") + chunk("b", "stop", name="2"), "mixed"),
        (b'{"choices": [{"index": 1, "message": {"content": "a"}}]}', "mixed"),
        (chunk("a") + b'data: {"error": {"message": "out of memory"}}\n\n', "server"),
        (b'{"error": "no model is loaded"}', "server"),
    ],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_is_no_answer_is_named(data: bytes, code: str, size: int) -> None:
    if len(data) > 100_000 and size == 1:
        return
    with pytest.raises(NookError) as error:
        read(data, size)
    assert error.value.code == code and len(error.value.message) < 500


@pytest.mark.parametrize("usage", [b"5", b"[1]", b'"many"', b"null"])
def test_usage_that_says_nothing_costs_no_answer(usage: bytes) -> None:
    reply = read(b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": %b}' % usage)
    assert (reply.text, reply.prompt_tokens) == ("a", 0)


@pytest.mark.parametrize(
    "place",
    ["http://host:99999/v1", "http://[::1", "http://host/a b", "http://host/é", f"http://{'a' * 70}.x", "http://.",
     "gopher://host"],
)  # fmt: skip
def test_what_is_no_address_is_no_target(place: str) -> None:
    with pytest.raises(NookError) as error:
        targets.open(place)
    assert error.value.code == "no-target" and error.value.hint


@pytest.mark.parametrize("key", ["a\nb", "schlüssel", "a b"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(NookError) as error:
        targets.open("http://host", key=key)
    assert error.value.code == "bad-key" and key not in str(error.value)


def test_an_answer_without_end_is_refused() -> None:
    reading = Reading(lambda: 0.0)
    with pytest.raises(NookError, match="longer than"):
        for _ in range(100):
            reading.feed(b" " * 1_000_000)


# ── our own engine ────────────────────────────────────────────────────────────────────────────────────────────────


class Stub:
    """A nook that streams from the tests' engine."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def stream(self, request: wire.Request) -> Any:
        return flow(self.writer.library.handle(request), self.writer.perform)


@pytest.fixture
def writer() -> Writer:
    made = Writer("Hello STOP there")
    made.open()
    return made


def call(**settings: Any) -> Call:
    return Call("native", (Message("user", "Say hello"),), Settings(**settings))


def test_the_engines_own_model_answers(writer: Writer) -> None:
    reply = targets.Native(nook=Stub(writer))(call(stop=("STOP",), logprobs=2))
    assert (reply.text, reply.finish, reply.error) == ("Hello ", "stop", "")
    assert reply.prompt_tokens == writer.prompt and reply.completion_tokens >= 1
    assert 0 < reply.first_ms <= reply.total_ms and reply.logprobs and len(reply.logprobs[0].top) == 2
    assert targets.Native(nook=Stub(writer))(call(max_tokens=1)).finish == "length"


def test_a_level_is_the_targets_unless_the_call_names_one() -> None:
    asked = call(slo=wire.Slo(first=300))
    assert heard.request(asked).slo == wire.Slo(300.0) and heard.request(asked).level is None
    assert heard.request(asked, 2).level == 2
    assert heard.request(call(level=0), 2).level == 0


def test_what_goes_wrong_with_one_call_is_its_reply_and_with_all_of_them_an_error(writer: Writer) -> None:
    target = targets.Native(nook=Stub(writer))
    long = Call("native", (Message("user", "word " * 3000),))
    assert target(long).error.startswith("context: ")
    assert target(call(level=7)).error.startswith("level: ")
    picture = Call("native", (Message("user", ("see", Image(b"x"))),))
    assert "no text" in target(picture).error and target(picture).error.startswith("request: ")
    writer.library.tokenizers.clear()
    writer.models = False
    with pytest.raises(NookError) as error:
        target(call())
    assert error.value.code == "model-missing"


def test_the_model_of_an_event_loop_answers_the_same(writer: Writer) -> None:
    async def run(request: wire.Request, emit: Any) -> None:
        for event in Stub(writer).stream(request):
            emit(event)

    answering = targets.Resident(run)(call(stop=("STOP",)))
    with pytest.raises(StopIteration) as end:
        answering.__await__().send(None)  # type: ignore[attr-defined]
    assert end.value.value.text == "Hello "
    failing = targets.Resident(run, level=9)(call())
    with pytest.raises(StopIteration) as end:
        failing.__await__().send(None)  # type: ignore[attr-defined]
    assert end.value.value.error.startswith("level: ")
    names = [targets.Resident(run).name, targets.Resident(run, 2).name, targets.Resident(run, 2, "5f0c12ab").name]
    assert names == ["tab", "tab:2", "tab:2@5f0c12ab"]


def test_another_model_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model.onnx"
    monkeypatch.setenv("INGLENOOK_LM", str(model))
    assert targets.open("native").name == "native" and targets.open("native:2").name == "native:2"
    names = set()
    for data in (b"a" * 300_000, b"b" + b"a" * 299_999, b"a" * 299_999 + b"b", b"a" * 300_001):
        model.write_bytes(data)
        first, again = targets.open("native:2").name, targets.open("native:2").name
        assert first == again and first.startswith("native:2@") and len(first) == 17
        names.add(first)
    assert len(names) == 4


def test_targets_are_named() -> None:
    assert targets.open("http://localhost:8080/v1/", model="m").name == "http://localhost:8080/v1#m"
    for wrong in ("", "nativ", "native:x", "ftp://a", "http://"):
        with pytest.raises(NookError) as error:
            targets.open(wrong)
        assert error.value.code == "no-target" and error.value.hint
