"""The doctor from outside: its command line, servers behind a URL, our kernel and ONNX over models of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine import faulty
from engine.faulty import Fault, Patch
from engine.replays import REPLAYS, Replay
from inglenook.doctor import probes, report, run
from inglenook.doctor.asks import Chat
from inglenook.doctor.engine import Engine
from inglenook.doctor.kits import NativeKit, OnnxKit
from inglenook.doctor.local import Local
from inglenook.doctor.remote import Remote
from inglenook.elastic import convert
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.kernels.artifact import Tensor, read_header, write

from tests.reference import decoders

ROOT = Path(__file__).parents[2]
Needs = Callable[..., Path]


@contextlib.contextmanager
def served(engine: Engine, spoil: Callable[[bytes], bytes] = lambda data: data) -> Iterator[str]:
    """An engine behind a URL; `spoil` changes what is sent."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send(200, b'{"data": []}')

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body.pop("model", None)
            try:
                with lock:
                    answer: Any = engine.answer(Chat(body))
            except NookError as error:
                self.send(400, json.dumps({"error": {"message": error.message}}).encode())
                return
            if body.get("stream"):
                data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in answer) + "data: [DONE]\n\n"
            else:
                data = json.dumps(answer)
            self.send(200, spoil(data.encode()))

        def send(self, status: int, data: bytes) -> None:
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signs(made: Any) -> set[str]:
    return {f"{outcome.probe.name}: {finding.sign}" for outcome in made.failed for finding in outcome.findings}


# ── servers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_good_server_is_well_with_and_without_the_truth() -> None:
    kit = faulty.kit()
    with served(Local(kit)) as url:
        for truth in (None, kit.truth()):
            made = run.report(run.examine(Remote(url), truth))
            assert not made.failed, report.text(made, url)
            states = {outcome.probe.name: outcome.state for outcome in made.outcomes}
            assert states["chat"] == states["bad requests"] == "passed" and states["scores"] == "cannot tell"


@pytest.mark.parametrize("replay", REPLAYS, ids=lambda replay: str(replay.fault.name))
def test_real_bugs_are_found_again_through_the_url(replay: Replay) -> None:
    kit = faulty.kit()
    with served(replay.fault.engine(kit)) as url:
        made = run.report(run.examine(Remote(url), kit.truth(), deep=False))
    assert replay.signs & signs(made)
    if replay.fault.name == "missing BOS":  # of a stale cache only interventions tell more, which a URL does not allow
        assert replay.fault.cause in [suspect.cause.name for suspect in made.suspects[:3]]


def test_of_a_missing_beginning_nothing_in_the_answers_tells() -> None:
    """Only counting does, where it is known what should be counted."""
    with served(REPLAYS[0].fault.engine(faulty.kit())) as url:
        assert not run.report(run.examine(Remote(url), None, deep=False)).failed


@pytest.mark.parametrize(
    ("spoil", "sign"),
    [
        (lambda data: b"<!doctype html><p>Busy", "chat: error"),
        (lambda data: data[: len(data) // 2], "chat: error"),
        (lambda data: data.replace(b'"length"', b'"max_length"'), "chat: stop reason"),
        (lambda data: data.replace(b"chat.completion.chunk", b"chunk"), "chat: format"),
        (lambda data: data.replace(b'"prompt_tokens": ', b'"prompt_tokens": 1'), "chat: usage"),
    ],
)  # fmt: skip
def test_servers_that_speak_otherwise(spoil: Callable[[bytes], bytes], sign: str) -> None:
    chosen = [probe for probe in probes.PROBES if probe.name == "chat"]
    with served(Local(faulty.kit()), spoil) as url:
        made = run.report(run.examine(Remote(url), None, deep=False, chosen=chosen))
    assert sign in signs(made)


def test_a_server_that_is_not_there_is_an_error_with_a_hint() -> None:
    with pytest.raises(NookError) as error:
        Remote("http://127.0.0.1:9/v1", timeout=2).answer(Chat({"messages": []}))
    assert error.value.code == "no-answer" and error.value.hint
    with pytest.raises(NookError) as error:
        Remote("ftp://x")
    assert error.value.code == "no-target" and error.value.hint


# ── our kernel, ONNX ──────────────────────────────────────────────────────────────────────────────────────────────


def artifact(folder: Path, seed: int = 5, kind: str = "Q4_1") -> Path:
    """A model of two layers for our kernel, with its tokenizer and its first logits."""
    file = model(seed, kind)
    path = folder / "tiny.nkm"
    convert.build(path, Shape.of(file), file.tensor, name="tiny")
    convert.check(path, path.with_suffix(".check.json"))
    path.with_suffix(".tokenizer.json").write_bytes(faulty.tokenizer())
    return path


def model(seed: int = 5, kind: str = "Q4_1") -> Gguf:
    from engine.tiny import llama

    sizes = {"vocabulary": faulty.VOCABULARY, "width": 64, "hidden": 128, "heads": 2, "kv_heads": 1}
    return llama(**sizes, seed=seed, kind=kind, **{"llama.context_length": 512})  # type: ignore[arg-type]


@pytest.fixture
def built(needs: Needs, tmp_path: Path) -> Path:
    needs("pysrc/inglenook/kernels/libmodels.so")
    return artifact(tmp_path)


def test_our_kernel_is_well(built: Path) -> None:
    kit = NativeKit(built, built.with_suffix(".tokenizer.json"), context=512, pages=24)
    made = run.report(run.examine(Local(kit), kit.truth()))
    assert not made.failed, report.text(made, "native")


def test_a_layer_that_computes_otherwise_is_named(built: Path) -> None:
    """Of an engine whose passes cannot be looked into."""

    class Wrong(NativeKit):
        @contextlib.contextmanager
        def single(self, layer: int) -> Iterator[NativeKit]:
            with super().single(layer) as one:
                if layer == 1:
                    data = bytearray(one.artifact.read_bytes())
                    header = read_header(one.artifact)
                    place = header.places["blk.0.ffn_norm.weight"]
                    at = header.start + place.offset
                    values = np.frombuffer(data[at : at + place.bytes], np.float32) * np.float32(1.3)
                    data[at : at + place.bytes] = values.tobytes()
                    tensors = [
                        Tensor(n, p.format, p.shape, np.frombuffer(data, np.uint8, p.bytes, header.start + p.offset))
                        for n, p in header.places.items()
                    ]
                    write(one.artifact, header.kind, header.words, header.config, tensors)
                yield one

    how: Any = {"artifact": built, "tokenizer": built.with_suffix(".tokenizer.json"), "context": 512, "pages": 24}
    chosen = [probe for probe in probes.PROBES if probe.name == "layers"]
    for kit, wanted in ((NativeKit(**how), set()), (Wrong(**how), {"layers: operation layer"})):
        made = run.report(run.examine(Local(kit), NativeKit(**how).truth(), deep=False, chosen=chosen))
        assert signs(made) == wanted
    assert "Layer 1" in made.failed[0].findings[0].text


def test_a_kernel_with_other_weights_is_not(built: Path, tmp_path: Path) -> None:
    other = artifact(tmp_path / "other", seed=6) if (tmp_path / "other").mkdir() is None else None
    assert other
    kit = NativeKit(built, built.with_suffix(".tokenizer.json"), context=512, pages=24)
    truth = NativeKit(other, other.with_suffix(".tokenizer.json"), context=512).truth()
    made = run.report(run.examine(Local(kit), truth, deep=False))
    assert {"scores: logits", "greedy: choice"} <= signs(made)


def onnx(folder: Path, seed: int = 5, form: decoders.Form = "f32") -> OnnxKit:
    """The same as an ONNX file, laid out as exporters do; in smaller forms its weights are others than the kit's."""
    file = model(seed, "F32")
    shape = Shape.of(file)
    sizes = decoders.Sizes(
        shape.layers, shape.heads, shape.kv_heads, shape.head, context=512, theta=shape.theta, epsilon=shape.epsilon
    )
    path = folder / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True)
    weights = {name: tensor.dequantise() for name, tensor in file.tensors.items()}
    path.write_bytes(decoders.llama(weights, sizes, form))
    told = json.loads(faulty.tokenizer())
    tokens, merges = told["tokens"].split("\n"), told["merges"].split("\n")
    added = [{"id": i, "content": tokens[i]} for i in told["special"]]
    plain = {token: i for i, token in enumerate(tokens) if i not in told["special"]}
    bpe = {"type": "BPE", "vocab": plain, "merges": merges}
    pre = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel"}]}
    for one in pre["pretokenizers"][1:]:
        one |= {"add_prefix_space": False, "use_regex": True}  # type: ignore[operator]
    files = {
        "tokenizer.json": {"model": bpe, "added_tokens": added, "pre_tokenizer": pre, "normalizer": None},
        "config.json": {
            "eos_token_id": told["ends"], "vocab_size": len(tokens), "num_hidden_layers": shape.layers,
            "intermediate_size": shape.hidden, "num_key_value_heads": shape.kv_heads, "max_position_embeddings": 512,
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return OnnxKit(path, bytes(file._data))


def test_an_onnx_folder_is_well_and_held_against_its_weights(tmp_path: Path) -> None:
    kit = onnx(tmp_path)
    made = run.report(run.examine(Local(kit), kit.truth()))
    assert not made.failed, report.text(made, "onnx")
    assert {outcome.state for outcome in made.outcomes if outcome.probe.name == "scores"} == {"passed"}


# ── the command line ──────────────────────────────────────────────────────────────────────────────────────────────


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inglenook", "doctor", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": "pysrc", "PATH": ""}, capture_output=True, text=True, check=False
    )


def test_the_command_line_says_that_all_is_well(built: Path) -> None:
    done = doctor(str(built), "--probe", "tokens", "--probe", "template")
    assert done.returncode == 0, done.stderr
    assert "2 probes passed, 0 failed" in done.stdout and "tokens" in done.stderr
    told = json.loads(doctor(str(built), "--probe", "tokens", "--json").stdout)
    assert told["probes"][0]["state"] == "passed" and told["reproducer"] is None


def test_the_command_line_says_what_is_wrong_and_how_to_see_it_again() -> None:
    fault = Fault("x", "Response formatting", "x", (
        Patch("inglenook.completions:_usage", lambda usage: lambda timing: usage(timing) | {"total_tokens": 1}),
    ))  # fmt: skip
    with served(fault.engine(faulty.kit())) as url:
        done = doctor(url, "--probe", "chat")
        assert done.returncode == 4, done.stderr
        assert "Symptom: Silent error" in done.stdout and "Response formatting" in done.stdout
        told = json.loads(doctor(url, "--probe", "chat", "--json").stdout)
        again = doctor(url, "--case", json.dumps(told["reproducer"]))
    assert again.returncode == 4 and "usage" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nowhere",), "no-target"), ((".",), "no-target"), (("README.md",), "no-target"),
        (("http://127.0.0.1:9", "--probe", "nothing"), "no-probe"), (("http://127.0.0.1:9", "--case", "{"), "case"),
        (("http://127.0.0.1:9", "--case", "{}"), "case"), (("http://127.0.0.1:9", "--case", "[" * 100_000), "case"),
        (("http://127.0.0.1:99999",), "no-target"), (("http://127.0.0.1:9", "--key-file", "gone"), "io"),
        (("http://127.0.0.1:9", "--key-file", "tests/reference/embed.npy"), "bad-key"),
    ],
)  # fmt: skip
def test_what_cannot_be_examined_is_told_in_a_line(arguments: tuple[str, ...], code: str) -> None:
    done = doctor(*arguments)
    assert done.returncode == 1 and f"({code})" in done.stderr and not done.stdout


def test_clean_runs_go_on_where_they_stopped(tmp_path: Path) -> None:
    from bench.ward import Finished

    path = tmp_path / "doctor" / "clean.jsonl"
    first = Finished(path)
    first.add("plain f32", [])
    first.add("kernel Q8_0", ["scores, logits: é"])
    with path.open("a") as file:
        file.write('{"engine": "torn')
    second = Finished(path)
    assert second.alarms == first.alarms and second.ill == ["kernel Q8_0"]
    second.add("onnx", [])
    assert len(Finished(path).alarms) == 3
