"""The tokenizers of a fleet's models, wherever they lie, each with its model's way of chatting."""

from __future__ import annotations

from pathlib import Path

from inglenook import completions
from inglenook.elastic import chat as chats
from inglenook.elastic import convert, onnx_folder
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.embed import encoder
from inglenook.errors import NookError
from inglenook.fleet.config import Config
from inglenook.fleet.convert import TOKENIZER


def tokenizers(config: Config) -> dict[str, Tokenizer]:
    """The tokenizer of every model of a fleet that is to start.

    Raises NookError("fleet" | "model-missing" | "model-corrupt" | "model-unsupported" | "no-jinja").
    """
    made = {}
    for name, model in config.models.items():
        if name in (completions.MODEL, encoder.SPACE):
            hint = f"Give models.{name} another name."
            raise NookError("fleet", f"{config.file.name}: {name} is the server's own model.", hint)
        try:
            known = made[name] = tokenizer(model.tokenizer, name)
            chats.encode([("user", "")], known)  # its chat format is known, too
        except NookError as error:
            raise NookError(error.code, f"models.{name}: {error.message}", error.hint) from error
    return made


def tokenizer(path: Path, name: str) -> Tokenizer:
    """The tokenizer at `path`: our file, or a folder of it or of Hugging Face's files; that of a .gguf file is in it.
    Chats go by its template; where there is none they are ChatML.

    Raises NookError("model-missing" | "model-corrupt" | "model-unsupported" | "no-jinja")."""
    known = _tokenizer(path)
    if known.template:
        try:
            from inglenook.elastic.template import Template
        except ImportError as error:
            hint = 'Install it: pip install "inglenook[cluster]"'
            raise NookError("no-jinja", "The chat template of a model needs Jinja.", hint) from error
        known.chat = Template(known, name)
    return known


def _tokenizer(path: Path) -> Tokenizer:
    if path.suffix == ".gguf":
        return Tokenizer.load(convert.tokenizer(path))
    if path.is_file() or (path / TOKENIZER).is_file():
        return Tokenizer.load((path / TOKENIZER if path.is_dir() else path).read_bytes())
    names = (*onnx_folder.FILES, onnx_folder.TEMPLATE)
    files = {name: (path / name).read_bytes() for name in names if (path / name).is_file()}
    return Tokenizer.load(onnx_folder.loaded(files).tokenizer)
