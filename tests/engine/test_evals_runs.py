"""Calls, rows and drivers: a run that breaks goes on where it was, and nothing is asked twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from inglenook.errors import Cancelled, NookError
from inglenook.evals.calls import Call, Image, Message, Reply, Settings, Work, body, dump, load
from inglenook.evals.drive import Progress, drive
from inglenook.evals.rows import Rows, parsed, row
from inglenook.wire.messages import Likely, Logprob, Slo


def call(text: str, **more: object) -> Call:
    return Call("t", (Message("user", text),), **more)  # type: ignore[arg-type]


def echo(call: Call) -> Reply:
    return Reply(f"re: {call.messages[0].content}", total_ms=1.5)


def asks(*batches: Sequence[str]) -> Work[list[str]]:
    heard: list[str] = []
    for batch in batches:
        heard += [reply.text or reply.error for reply in (yield [call(text) for text in batch])]
    return heard


# ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_is_of_all_that_is_asked_and_of_nothing_else() -> None:
    plain = call("a")
    assert len(plain.key) == 32 and plain.key == call("a", settings=Settings(temperature=0)).key
    others = [
        call("b"), call("a", seed=1), Call("u", plain.messages), Call("t", (Message("system", "a"),)),
        Call("t", (Message("user", ("a",)),)), Call("t", (Message("user", (Image(b"a"),)),)),
        Call("t", (Message("user", (Image(b"b"),)),)), Call("t", (Message("user", (Image(b"b", "image/jpeg"),)),)),
        *(call("a", settings=one) for one in (
            Settings(max_tokens=1), Settings(temperature=0.5), Settings(top_p=0.5), Settings(stop=("x",)),
            Settings(response_format={"type": "json_object"}), Settings(logprobs=2), Settings(slo=Slo(first=300)),
            Settings(level=1), Settings(level=0),
        )),
    ]  # fmt: skip
    assert len({plain.key, *(other.key for other in others)}) == len(others) + 1


def test_an_address_does_not_change_from_version_to_version() -> None:
    asked = call("a", settings=Settings(max_tokens=5, slo=Slo(first=300)), seed=2)
    assert asked.canonical() == (
        '{"messages":[{"content":"a","role":"user"}],"seed":2,"settings":{"max_tokens":5,"slo":{"first":300.0}},'
        '"target":"t"}'
    )
    assert asked.key == "736b4de20ecd8f6983e70e41e6ded78f"


def test_the_body_is_openais() -> None:
    message = Message("user", ("see", Image(b"\x00", "image/png")))
    settings = Settings(stop=("x",), logprobs=2, response_format={"type": "json_object"}, max_tokens=9)
    assert body(Call("t", (Message("system", "s"), message), settings, 4)) == {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        ],
        "max_tokens": 9, "temperature": 0.0, "top_p": 1.0, "seed": 4, "stop": ["x"],
        "response_format": {"type": "json_object"}, "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    assert "stop" not in body(call("a")) and "logprobs" not in body(call("a"))


def test_a_reply_is_the_same_after_json() -> None:
    told = Reply("é\n", "length", 1.0, 2.0, 3, 4, (Logprob("é", [195, 169], -0.5, [Likely("e", [101], -1.0)]),))
    for reply in (told, Reply(), Reply(error="timeout: x")):
        assert load(json.loads(json.dumps(dump(reply)))) == reply
    for wrong in (None, 5, {"texts": "x"}, {"logprobs": [{"token": "a"}]}):
        with pytest.raises(ValueError):
            load(wrong)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_is_known_by_its_address_alone() -> None:
    asked, reply = call("é\n"), Reply("\ud800")
    line = row(asked, reply)
    found = parsed(line, asked.key)
    assert line.count(b"\n") == 1 and found and load(found["reply"]) == reply
    assert parsed(line, call("b").key) is None and parsed(line[:-3], asked.key) is None


def test_rows_are_found_again_in_another_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Rows(path) as rows:
        rows.put(call("a"), Reply("1"))
        rows.put(call("b"), Reply("zwei\n\ud800"))
        rows.put(call("a"), Reply("later"))
    with Rows(path) as rows:
        assert rows.find([call("b"), call("x"), call("a")]) == [Reply("zwei\n\ud800"), None, Reply("later")]
        assert len(rows) == 2 and call("a") in rows and call("x") not in rows
        assert [reply.text for _, reply in rows] == ["later", "zwei\n\ud800"]
    assert all(json.loads(line)["call"]["target"] == "t" for line in path.read_bytes().splitlines())


def test_a_torn_row_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Rows(path) as rows:
        rows.put(call("a"), Reply("1"))
        first = path.stat().st_size
        rows.put(call("b"), Reply("2"))
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        with Rows(path) as rows:
            kept = rows.find([call("a"), call("b")])
            assert kept == [Reply("1") if end >= first else None, Reply("2") if end == len(whole) else None]
            rows.put(call("b"), Reply("again"))
        with Rows(path) as rows:
            assert rows.find([call("b")]) == [Reply("again")] and rows.damaged == 0


def test_a_damaged_row_is_asked_again_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Rows(path) as rows:
        for text in "abc":
            rows.put(call(text), Reply(text))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b'"reply":', b'"reply";') + b"what?\n" + lines[2])
    with Rows(path) as rows:
        assert rows.find([call("a"), call("b"), call("c")]) == [Reply("a"), None, Reply("c")]
        assert rows.damaged == 2


def test_what_is_no_file_of_rows_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    for text in ("dear diary\n", "dear diary", "a\nb"):
        path.write_text(text)
        with pytest.raises(NookError) as error:
            Rows(path)
        assert error.value.code == "no-rows" and error.value.hint and path.read_text() == text
    with pytest.raises(NookError, match="not there"):
        Rows(tmp_path / "no" / "run.jsonl")
    with pytest.raises(NookError, match="could not be opened"):
        Rows(tmp_path)


# ── drivers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_replies_come_in_the_order_of_the_calls_and_each_call_is_made_once() -> None:
    asked: list[Call] = []

    def answer(call: Call) -> Reply:
        asked.append(call)
        return echo(call)

    assert drive(asks("ab", "ba", "a"), answer) == ["re: a", "re: b", "re: b", "re: a", "re: a"]
    assert drive(asks("aab"), answer) == ["re: a", "re: a", "re: b"]
    assert [one.messages[0].content for one in asked] == [*"ab", *"ba", *"a", *"ab"]


def test_a_second_run_asks_only_what_is_new(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with Rows(tmp_path / "run.jsonl") as rows:
        drive(asks("abc"), echo, rows)
        assert drive(asks("abcd"), echo, rows, total=4, report=seen.append)[3] == "re: d"
    assert (seen[-1].asked, seen[-1].found, seen[-1].done, seen[-1].total, seen[-1].failed) == (1, 3, 4, 4, 0)
    assert [progress.done for progress in seen] == [3, 4]


def broken_at(text: str, error: BaseException) -> Callable[[Call], Reply]:
    def answer(call: Call) -> Reply:
        if call.messages[0].content == text:
            raise error
        return echo(call)

    return answer


@pytest.mark.parametrize("error", [NookError("unreachable", "gone"), KeyboardInterrupt(), Cancelled()])
def test_a_run_that_breaks_resumes_and_loses_no_finished_row(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "run.jsonl"
    with Rows(path) as rows, pytest.raises(type(error)):
        drive(asks("abc", "def"), broken_at("e", error), rows)
    asked: list[str] = []
    with Rows(path) as rows:
        assert len(rows) == 4
        drive(asks("abc", "def"), lambda one: asked.append(str(one.messages[0].content)) or echo(one), rows)  # type: ignore[func-returns-value]
    assert asked == ["e", "f"]


def test_stop_is_asked_before_each_call_and_the_core_cleans_up(tmp_path: Path) -> None:
    cleaned: list[bool] = []

    def work() -> Work[None]:
        try:
            yield from asks("abcdef")
        finally:
            cleaned.append(True)

    with Rows(tmp_path / "run.jsonl") as rows:
        with pytest.raises(Cancelled):
            drive(work(), echo, rows, stop=lambda: len(rows) == 2)
        assert len(rows) == 2 and cleaned == [True]


def test_a_call_that_failed_is_told_not_kept_and_asked_again(tmp_path: Path) -> None:
    failing = lambda one: Reply.failed(NookError("timeout", "slow")) if one == call("b") else echo(one)
    with Rows(tmp_path / "run.jsonl") as rows:
        assert drive(asks("abc"), failing, rows) == ["re: a", "timeout: slow", "re: c"]
        assert len(rows) == 2
        assert drive(asks("abc"), echo, rows) == ["re: a", "re: b", "re: c"]


def test_a_target_that_only_fails_ends_the_run() -> None:
    count: list[int] = []

    def answer(one: Call) -> Reply:
        count.append(1)
        return Reply.failed(NookError("timeout", "slow"))

    with pytest.raises(NookError, match="3 calls failed") as error:
        drive(asks("abcdefgh"), answer, patience=3)
    assert error.value.code == "target-failing" and "timeout: slow" in error.value.message and len(count) == 3
    assert len(drive(asks("abcdefgh"), answer, patience=0)) == 8


def test_a_core_that_handles_trouble_goes_on() -> None:
    def work() -> Work[str]:
        try:
            yield [call("bad")]
        except NookError:
            return (yield [call("good")])[0].text
        return ""

    assert drive(work(), broken_at("bad", NookError("x", "y"))) == "re: good"
