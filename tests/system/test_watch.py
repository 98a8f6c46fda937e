"""What an operator sees: metrics that Prometheus reads, the page, the log."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from inglenook.errors import NookError
from inglenook.nook import Nook, Worker
from inglenook.serve import logs
from inglenook.serve.access import Rules
from inglenook.serve.metrics import Family, Histogram, exposition
from inglenook.wire import frames
from inglenook.wire import messages as wire
from system.test_openai import Scripted
from system.test_serve import events, served
from websockets.sync.client import connect

from buildlib.project import ROOT

SAMPLE = re.compile(r'^(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)+)\})? (\S+)$')


class Answering(Scripted):
    """A nook of one worker whose answers met what they promised, or did not."""

    def workers(self) -> list[Worker]:
        return [Worker("this process", "m", 1, 2, 3, 4)]


def read(text: str) -> dict[str, float]:
    """Samples by name and labels, as the format says: anything else on a line fails."""
    found: dict[str, float] = {}
    kinds: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds and kind in ("counter", "gauge", "histogram")
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match, line
            assert match[1] in kinds or re.sub(r"_(bucket|sum|count)$", "", match[1]) in kinds
            found[f"{match[1]}{{{match[2]}}}" if match[2] else match[1]] = float(match[3])
    assert text.endswith("\n")
    return found


def test_what_is_asked_is_counted() -> None:
    timing = wire.Timing(first_ms=300, token_ms=20, tokens=2, prompt_tokens=7, slo=wire.Slo(500), met=True)
    nook = Answering(wire.Token("a"), wire.Token("b"), timing)
    with served(nook) as host, connect(f"ws://{host}/ws") as client:
        for n in "12":
            client.send(frames.encode(wire.Chat([]), n))
            events(client, n)
        nook.events = (NookError("busy", "m", "h"),)
        client.send(frames.encode(wire.Look(), "3"))
        events(client, "3")
        httpx.post(f"http://{host}/v1/embeddings", json={"model": "minilm-l6-v2", "input": "x"})
        answer = httpx.get(f"http://{host}/metrics")
        told = httpx.get(f"http://{host}/metrics.json").json()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = read(answer.text)
    assert found["inglenook_connections"] == 1 and found["inglenook_requests_open"] == 0
    assert found['inglenook_requests_total{request="Chat",end="done"}'] == 2
    assert found['inglenook_requests_total{request="Look",end="busy"}'] == 1
    assert found['inglenook_requests_total{request="Embed",end="done"}'] == 1
    assert found["inglenook_written_tokens_total"] == 4 and found["inglenook_read_tokens_total"] == 14 + 7
    assert found['inglenook_slo_total{met="true"}'] == 2 and found['inglenook_slo_total{met="false"}'] == 0
    assert found['inglenook_first_token_seconds_bucket{le="0.25"}'] == 0
    assert found['inglenook_first_token_seconds_bucket{le="0.5"}'] == found["inglenook_first_token_seconds_count"] == 2
    assert found['inglenook_kv_pages_used{worker="this process",model="m"}'] == 3
    assert (told["pieces"], told["answers"], told["slo"]) == (4, 2, {"promised": 2, "met": 2})
    assert told["first_ms"] == {"p50": 300, "p99": 300} and told["workers"][0]["queued"] == 2
    assert ["Look", "busy", 1] in told["requests"]


def test_text_is_escaped_and_buckets_add_up() -> None:
    histogram = Histogram([1, 2.5])
    for value in (1, 1.5, 2.5, 9):
        histogram.add(value)
    odd = Family("odd", "gauge", 'a "b"\n\\', [("", {"x": 'a "b"\n\\'}, 0.5)])
    text = exposition([odd, histogram.family("h", "")])
    assert text.splitlines()[:3] == [
        '# HELP odd a "b"\\n\\\\', "# TYPE odd gauge", 'odd{x="a \\"b\\"\\n\\\\"} 0.5',
    ]  # fmt: skip
    found = read(text)
    assert [found[f'h_bucket{{le="{bound}"}}'] for bound in ("1", "2.5", "+Inf")] == [1, 3, 4]
    assert (found["h_sum"], found["h_count"]) == (14, 4)


def test_a_real_nook_tells_of_its_pages(tmp_path: Path, needs: Callable[..., Path]) -> None:
    needs("static/models/smollm2-135m-instruct.nkm")
    with Nook(tmp_path / "a.nook", where="server") as nook:
        assert nook.workers() == [Worker("this process", "smollm2-135m-instruct", 0, 0, 0, 0)]
        stream = nook.chat([{"role": "user", "content": "hi"}], max_tokens=4, stream=True)
        next(stream)
        next(stream)
        [worker] = nook.workers()
        assert worker.running == 1 and 0 < worker.used <= worker.pages
        stream.close()  # type: ignore[attr-defined]
        assert nook.workers()[0].running == 0


def test_figures_are_for_who_has_the_key() -> None:
    with served(Answering(), Rules(key="secret")) as host:
        for path in ("/metrics", "/metrics.json"):
            assert httpx.get(f"http://{host}{path}").status_code == 401
            assert httpx.get(f"http://{host}{path}", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_page_is_served_under_a_strict_policy() -> None:
    with served(Answering()) as host:
        page = httpx.get(f"http://{host}/operator", follow_redirects=True)
        assert page.url.path == "/operator/" and "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style", page.text)
        for name in re.findall(r'(?:src|href)="\./([\w.]+)"', page.text):
            assert httpx.get(f"http://{host}/operator/{name}").status_code == 200


def test_the_page_has_the_colours_of_the_app() -> None:
    colours = [
        dict(re.findall(r"(--[\w-]+): (light-dark\([^)]*\))", (ROOT / path).read_text("utf-8")))
        for path in ("pysrc/inglenook/serve/page/operator.css", "web/theme.css")
    ]
    ours, theirs = colours
    assert ours and ours.items() <= theirs.items()


def test_a_line_of_the_log_is_json_and_tells_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    root, serve = logging.getLogger(), logging.getLogger("inglenook.serve")
    before: tuple[Any, ...] = (root.handlers[:], serve.level)
    try:
        logs.start("json")
        with served(Answering(wire.Token("secret"), wire.Timing(tokens=1, first_ms=5))) as host:
            with connect(f"ws://{host}/ws") as client:
                client.send(frames.encode(wire.Chat([wire.Turn("user", "secret")]), "1"))
                events(client, "1")
        try:
            raise ValueError("broken")
        except ValueError:
            serve.exception("a %s failed", "Chat")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        logs.start("quiet")
        serve.info("nothing")
        assert capsys.readouterr().err == ""
    finally:
        root.handlers, serve.level = before
    [chat] = [line for line in lines if line.get("request") == "Chat"]
    assert (chat["end"], chat["tokens"], chat["first_ms"], chat["level"]) == ("done", 1, 5, "info")
    assert chat["app"].startswith("client ") and "secret" not in json.dumps(chat) and chat["time"].endswith("+00:00")
    assert "ValueError: broken" in lines[-1]["error"]
