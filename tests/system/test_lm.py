"""The language model of a machine: builds that compute wrongly are passed over, and any ONNX decoder may write."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inglenook.elastic.turns import App, Ticket
from inglenook.errors import NookError
from inglenook.flow import Forward
from inglenook.kernels import native
from inglenook.nook import Nook
from inglenook.platform.native import lm
from inglenook.platform.native.models import LanguageModel
from inglenook.wire import messages as wire
from system.test_onnx_model import minimind  # noqa: F401 - a fixture

LM = "static/models/smollm2-135m-instruct.nkm"
TOKENIZER = "static/models/smollm2-135m-instruct.tokenizer.json"
Needs = Callable[..., Path]
TOKENS = [504, 3575, 282, 4649, 314]


class Broken:
    """A build whose passes run through and leave wrong logits."""

    def __init__(self, right: ctypes.CDLL) -> None:
        self._right = right

    def __getattr__(self, name: str) -> Any:
        return getattr(self._right, name)

    def llama_forward(self, *given: Any) -> int:
        count: int = self._right.llama_forward(*given)
        ids, logits = given[-3], given[-2]
        top = given[6]
        row = (ctypes.c_float * top).from_address(logits)
        row[:count] = row[:count][::-1]
        assert ids
        return count


@pytest.fixture
def files(needs: Needs) -> tuple[Path, Path]:
    needs("pysrc/inglenook/kernels/libmodels.so", TOKENIZER, "static/models/smollm2-135m-instruct.check.json")
    return needs(LM), needs(TOKENIZER)


def test_the_model_of_the_build_is_right_and_that_is_known_at_once(files: tuple[Path, Path]) -> None:
    model, loaded = lm.kernel(*files)
    model.close()
    assert loaded.pages == model.pages and loaded.context == model.context and loaded.config["levels"]
    reference = files[0].with_suffix(".check.json").read_bytes()
    alone = LanguageModel(files[0], threads=1)  # threads that wait in a loop use CPU time too
    took = []
    for _ in range(5):
        began = time.process_time()
        assert lm.right([lambda: alone], reference) is alone
        took.append((time.process_time() - began) * 1e3)
    alone.close()
    assert min(took) < 100, f"{took} ms of CPU"


def test_a_wrong_build_is_passed_over(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = native.library

    def library(plain: bool | None = None) -> Any:
        return whole(plain) if plain else Broken(whole(plain))

    model, _ = lm.kernel(*files)
    wanted = model.forward(TOKENS, 0, 8)
    model.close()
    monkeypatch.setattr(native, "library", library)
    wrong = LanguageModel(files[0], threads=1)
    assert wrong.forward(TOKENS, 0, 8).logits.tolist() != wanted.logits.tolist()
    wrong.close()
    model, _ = lm.kernel(*files)
    best = model.forward(TOKENS, 0, 8)
    assert best.ids.tolist() == wanted.ids.tolist() and best.logits.tolist() == wanted.logits.tolist()
    model.close()


def test_where_all_are_wrong_there_is_no_model(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = native.library
    monkeypatch.setattr(native, "library", lambda plain=None: Broken(whole(plain)))
    with pytest.raises(NookError) as error:
        lm.kernel(*files)
    assert error.value.code == "backend" and error.value.hint


@pytest.fixture
def folder(minimind: dict[str, Path], tmp_path: Path) -> Path:  # noqa: F811
    """The real decoder, laid out as Hugging Face does."""
    (tmp_path / "onnx").mkdir()
    for name, path in minimind.items():
        (tmp_path / ("onnx" if path.suffix == ".onnx" else "") / name).symlink_to(path)
    return tmp_path / "onnx" / "model_quantized.onnx"


def test_an_onnx_decoder_writes_in_its_place(folder: Path, tmp_path: Path) -> None:
    asked = wire.Chat([wire.Turn("user", "请介绍一下你自己。")], max_tokens=30)
    with Nook.open(tmp_path / "a.nook", lm=folder) as nook:
        events = list(nook.stream(asked))
        again = list(nook.stream(asked))
    text = "".join(event.text for event in events if isinstance(event, wire.Token))
    [timing] = [event for event in events if isinstance(event, wire.Timing)]
    assert timing.tokens == 30 and len(text) > 20 and "\ufffd" not in text
    assert any(isinstance(event, wire.Token) for event in again)  # from the cache


def test_a_decoder_without_its_tokenizer_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(NookError) as error:
        lm.onnx(folder)
    assert error.value.code == "model-missing" and "tokenizer.json" in error.value.message


def test_the_face_is_one(folder: Path, files: tuple[Path, Path]) -> None:
    """The same effect to both."""
    for model, loaded in (lm.onnx(folder), lm.kernel(*files)):
        best = lm.forward(model, Forward([5, 6, 7], 0, 9, each=2, pages=[1]))
        assert best.ids.shape == (2, 9) and best.total.shape == (2,) and loaded.tokenizer.startswith(b'{"format":1')
        model.close()


def test_answers_written_together_are_those_written_alone(files: tuple[Path, Path], tmp_path: Path) -> None:
    """Six chats with seeds, one of them held to a form, on the event loop: the same texts, in passes they share."""
    asked = [
        wire.Chat(
            [wire.Turn("user", f"Say something about {what}.")], max_tokens=24, temperature=0.8, seed=n, level=n % 2,
            form=wire.Form("regex", "[a-z ]{5,40}\\.") if n == 4 else None,
        )
        for n, what in enumerate(("rivers", "bread", "the moon", "glass", "trains", "wool"))
    ]  # fmt: skip
    with Nook.open(tmp_path / "a.nook", apps={"": App(open=8)}) as nook:
        turns, others = nook._engine.turns, list[int]()
        done = turns.done

        def noted(ticket: Ticket) -> None:
            done(ticket)
            others.append(ticket.runs[-1].others)

        turns.done = noted  # type: ignore[method-assign]
        alone = [_text(list(nook.stream(chat))) for chat in asked]
        assert max(others) == 0

        async def all_of_them() -> list[str]:
            heard: list[list[object]] = [[] for _ in asked]
            await asyncio.gather(
                *(nook.astream(chat, events.append) for chat, events in zip(asked, heard, strict=True))
            )
            return [_text(events) for events in heard]

        assert asyncio.run(all_of_them()) == alone and all(alone)
        assert max(others) >= 2


def _text(events: list[Any]) -> str:
    return "".join(event.text for event in events if isinstance(event, wire.Token))
