"""What an engine of ours is made of: a model that answers passes, its tokenizer, and how each can be had otherwise."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from inglenook.doctor.plain import Paged, Rounded
from inglenook.doctor.truth import LOUD, Truth
from inglenook.elastic import selfcheck
from inglenook.elastic.convert import NAMES, numbers
from inglenook.elastic.gguf import Gguf
from inglenook.elastic.levels import whole
from inglenook.elastic.shape import Shape
from inglenook.elastic.tokenizer import FORMAT
from inglenook.errors import NookError
from inglenook.flow import Forward, Loaded, drive
from inglenook.kernels import artifact
from inglenook.types import Json

Damages = Mapping[str, tuple[str, ...]]


class Kit(Protocol):
    """Makes the model of an engine."""

    @property
    def name(self) -> str:
        """Of the kind of engine."""

    @property
    def switches(self) -> frozenset[str]:
        """The interventions on the model that it can make."""

    @property
    def damages(self) -> Damages:
        """The ways in which a file can be damaged, with the codes of errors one of which should come."""

    @property
    def activations(self) -> str:
        """How values between operations are rounded (`plain.ACTIVATIONS`)."""

    @property
    def backend(self) -> str:
        """What computes."""

    def open(self, switches: frozenset[str]) -> tuple[Any, Loaded]:
        """The model (`platform.native.lm.Model`) and what is told of it. Raises NookError."""

    def truth(self) -> Truth | None:
        """The plain way to do all it does, from the same files; None where there is none."""

    def damaged(self, damage: str) -> Kit:
        """The same with one file damaged."""


@dataclass(frozen=True)
class PlainKit:
    """The plain pass over the bytes of a GGUF file; `tokenizer` is a file as `Tokenizer.load` reads it."""

    gguf: bytes
    tokenizer: bytes
    activations: str = "f32"
    context: int = 512
    pages: int = 24
    check: bytes = b""
    name: str = "plain"
    backend: str = "numpy"
    switches: frozenset[str] = frozenset({"fp32", "loud"})

    @property
    def damages(self) -> Damages:
        found: dict[str, tuple[str, ...]] = {
            "model cut short": ("model-corrupt",),
            "other architecture": ("model-unsupported",),
            "later format of the model": ("model-unsupported", "model-corrupt"),
            "a setting is missing": ("model-unsupported", "model-corrupt"),
            "a matrix is missing": ("model-unsupported", "model-corrupt"),
            "tokenizer is no JSON": ("model-corrupt",),
            "tokenizer that cuts otherwise": ("model-unsupported", "model-corrupt"),
            "later format of the tokenizer": ("model-corrupt", "model-unsupported"),
        }
        return found | ({"first logits of another model": ("backend",)} if self.check else {})

    def open(self, switches: frozenset[str]) -> tuple[Any, Loaded]:
        source = Gguf(self.gguf)
        activations = "f32" if "fp32" in switches else self.activations
        model = Paged(source, activations, context=self.context, pages=self.pages)
        if self.check:
            answer: Callable[[Any, Any], Any] = lambda effect, emit: _passed(model, effect)
            list(drive(selfcheck.flow(self.check), answer))
        if "loud" in switches:
            model.loud(LOUD)
        return model, Loaded(self.tokenizer, config_of(model.shape, self.name), model.pages, model.context, 1, "here")

    def truth(self) -> Truth:
        made = lambda activations: Rounded(Gguf(self.gguf), activations)
        return Truth(made, self.tokenizer, self.activations, self.context, told=_told(Shape.of(Gguf(self.gguf))))

    def checked(self) -> PlainKit:
        """With the first logits of the plain pass to be held against at load."""
        model = Rounded(Gguf(self.gguf), self.activations)
        reference = selfcheck.make([model.logits(selfcheck.prompt(model.shape.vocabulary))[-1]])
        return dataclasses.replace(self, check=reference)

    def damaged(self, damage: str) -> PlainKit:

        def replace(**new: Any) -> PlainKit:
            return dataclasses.replace(self, **new)

        match damage:
            case "model cut short":
                return replace(gguf=self.gguf[: len(self.gguf) * 2 // 3])
            case "other architecture":
                return replace(gguf=self.gguf.replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0mamba", 1))
            case "later format of the model":
                return replace(gguf=self.gguf[:4] + b"\7" + self.gguf[5:])
            case "a setting is missing":
                return replace(gguf=self.gguf.replace(b"llama.block_count", b"llama.block_c0unt", 1))
            case "a matrix is missing":
                return replace(gguf=self.gguf.replace(b"blk.0.ffn_up.weight", b"blk.0.ffn_up.we1ght", 1))
            case "tokenizer that cuts otherwise":
                return replace(tokenizer=json.dumps(json.loads(self.tokenizer) | {"cut": r"\w+|\W"}).encode())
            case "tokenizer is no JSON":
                return replace(tokenizer=self.tokenizer[:-9])
            case "later format of the tokenizer":
                return replace(tokenizer=json.dumps(json.loads(self.tokenizer) | {"format": FORMAT + 1}).encode())
            case "first logits of another model":
                return replace(check=_turned(self.check))
        raise NookError("damage", f"There is no damage {damage!r}.", f"One of: {', '.join(self.damages)}.")


@dataclass(frozen=True)
class NativeKit:
    """Our kernel over an artifact, with its tokenizer and, where it lies beside it, its first logits."""

    artifact: Path
    tokenizer: Path
    activations: str = "int8"
    context: int = 0
    pages: int = 0
    name: str = "native"
    switches: frozenset[str] = frozenset({"scalar kernels", "one thread"})

    @property
    def backend(self) -> str:
        from inglenook.kernels import native

        return "kernels: " + Path(native.library()._name).name

    @property
    def damages(self) -> Damages:
        if self.artifact.stat().st_size > 4 << 20:  # a copy of a large file for each is too much
            return {}
        return {
            "model cut short": ("model-corrupt",),
            "model with a changed byte": ("model-corrupt",),
            "later format of the model": ("model-corrupt", "model-unsupported"),
        }

    def open(self, switches: frozenset[str]) -> tuple[Any, Loaded]:
        from inglenook.platform.native import lm
        from inglenook.platform.native.models import LanguageModel

        check = self.artifact.with_suffix(".check.json")
        model = lm.right(
            [
                lambda: LanguageModel(
                    self.artifact,
                    threads=1 if "one thread" in switches else None,
                    context=self.context or None,
                    pages=self.pages or None,
                    plain="scalar kernels" in switches or None,
                )
            ],
            check.read_bytes() if check.is_file() else b"",
        )
        return model, Loaded(self.tokenizer.read_bytes(), model.config, model.pages, model.context, 1, "here")

    def truth(self) -> Truth:
        made = lambda activations: Rounded(self.artifact, activations)
        shape = Shape.of_config(artifact.read_header(self.artifact).config)
        context = self.context or min(2048, shape.context)
        told = _told(shape)
        tokenizer = self.tokenizer.read_bytes()
        return Truth(made, tokenizer, self.activations, context, told=told, noise="kernel", layer=self._layer)

    @contextmanager
    def single(self, layer: int) -> Iterator[NativeKit]:
        """The same with this layer only. The kernel does not let one look into a pass; so its layers are run alone, and
        the first that differs is found without it."""
        header = artifact.read_header(self.artifact)
        shape = dataclasses.replace(Shape.of_config(header.config), layers=1)
        names = ["rotation", "token_embd.weight", "output_norm.weight", *(f"blk.{layer}.{p}.weight" for p in NAMES)]
        with self.artifact.open("rb") as file:
            tensors = [_tensor(file, header, name) for name in names]
        for i, name in enumerate(NAMES, 3):
            tensors[i] = dataclasses.replace(tensors[i], name=f"blk.0.{name}.weight")
        level = whole(1, shape.hidden, shape.kv_heads)
        told = numbers(shape, [level], tensors)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "layer.nkm"
            artifact.write(path, "lm", told, config_of(shape, f"layer {layer}"), tensors)
            yield dataclasses.replace(self, artifact=path)

    def _layer(self, layer: int, ids: Sequence[int]) -> np.ndarray:
        with self.single(layer) as one:
            return Rounded(one.artifact, self.activations).logits(list(ids))

    def damaged(self, damage: str) -> NativeKit:
        data = bytearray(self.artifact.read_bytes())
        if damage == "model cut short":
            del data[len(data) * 2 // 3 :]
        elif damage == "model with a changed byte":
            data[-4000] ^= 4
        elif damage == "later format of the model":
            data[3] += 1
        else:
            raise NookError("damage", f"There is no damage {damage!r}.", f"One of: {', '.join(self.damages)}.")
        path = Path(tempfile.mkdtemp()) / self.artifact.name
        path.write_bytes(data)
        return dataclasses.replace(self, artifact=path)


@dataclass(frozen=True)
class OnnxKit:
    """An ONNX decoder, with what lies beside it (`elastic.onnx_folder`). There is no plain way to run any ONNX file, so
    it is held against another path only where `weights` of the same numbers are given, as a GGUF file's bytes."""

    path: Path
    weights: bytes = b""
    activations: str = "f32"
    name: str = "onnx"
    backend: str = "onnxruntime"
    switches: frozenset[str] = frozenset()
    damages: Damages = dataclasses.field(default_factory=dict)

    def open(self, switches: frozenset[str]) -> tuple[Any, Loaded]:
        from inglenook.platform.native import lm

        return lm.onnx(self.path)

    def truth(self) -> Truth:
        model, loaded = self.open(frozenset())
        model.close()
        if not self.weights:
            return Truth(None, loaded.tokenizer, self.activations, loaded.context)
        made = lambda activations: Rounded(Gguf(self.weights), activations)
        return Truth(made, loaded.tokenizer, self.activations, loaded.context)

    def damaged(self, damage: str) -> OnnxKit:
        raise NookError("damage", f"There is no damage {damage!r}.", "")


def plain_of(path: Path, activations: str = "f32") -> PlainKit:
    """The plain pass over a GGUF file, with the tokenizer that is in it."""
    from inglenook.elastic import convert

    with tempfile.TemporaryDirectory() as folder:
        convert.export(path, tokenizer := Path(folder) / "tokenizer.json")
        return PlainKit(path.read_bytes(), tokenizer.read_bytes(), activations)


def _tensor(file: BinaryIO, header: artifact.Header, name: str) -> artifact.Tensor:
    """A tensor of an artifact as it stands there."""
    place = header.places[name]
    file.seek(header.start + place.offset)
    data = np.frombuffer(file.read(place.bytes), np.uint8)
    return artifact.Tensor(name, place.format, place.shape, data)


def config_of(shape: Shape, name: str) -> Json:
    """What an artifact would say of a model of this shape."""
    levels = [whole(shape.layers, shape.hidden, shape.kv_heads).json()]
    config: Json = {"name": name, **dataclasses.asdict(shape), "levels": levels}
    return config


def _told(shape: Shape) -> dict[str, Any]:
    return dataclasses.asdict(shape)


def _passed(model: Any, effect: Any) -> Any:
    assert isinstance(effect, Forward)
    return model.forward(effect.tokens, effect.at, effect.top, level=effect.level, each=effect.each, allow=effect.allow)


def _turned(check: bytes) -> bytes:
    """The logits in another order."""
    rows = json.loads(check)
    for row in rows:
        row["logits"] = np.roll(row["logits"], 7).tolist()
    return json.dumps(rows).encode()
