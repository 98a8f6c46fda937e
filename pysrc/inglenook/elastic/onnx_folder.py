"""A language model as Hugging Face lays it out: an ONNX file, and beside it or in the folder above what tells of it.

root/config.json, generation_config.json, tokenizer.json, tokenizer_config.json, onnx/model_quantized.onnx
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inglenook.elastic import tokenizer_json
from inglenook.elastic.levels import whole
from inglenook.errors import NookError
from inglenook.flow import Loaded
from inglenook.types import Json

FILES = {"config.json": True, "tokenizer.json": True, "generation_config.json": False, "tokenizer_config.json": False}
"""What is read, and whether it must be there."""
TEMPLATE = "chat_template.jinja"
"""Where a chat's template lies that is not in tokenizer_config.json, and that goes before it."""
CHECK = "selfcheck"
"""The entry of config.json that first logits are held against, where there is one."""


def root(model: str) -> str:
    """Where those files lie: the path or URL of the ONNX file's folder, or of the one above where that is `onnx/`."""
    folder, _, _ = model.rpartition("/")
    return folder[: -len("onnx")] if folder.rpartition("/")[2] == "onnx" else f"{folder}/" if folder else ""


def loaded(files: Mapping[str, bytes]) -> Loaded:
    """What `Load("lm")` answers of such a model, but for its pages. Raises NookError("model-missing" |
    "model-corrupt" | "model-unsupported")."""
    missing = [name for name, needed in FILES.items() if needed and name not in files]
    if missing:
        raise NookError(
            "model-missing", f"Beside the model there is no {missing[0]}.", "Add it, as exporters write it."
        )
    told = {name: _object(name, data) for name, data in files.items() if name in FILES and name != "tokenizer.json"}
    config = told["config.json"]
    ends = told.get("generation_config.json", {}).get("eos_token_id", config.get("eos_token_id"))
    words = told.get("tokenizer_config.json", {})
    template = words.get("chat_template")
    if isinstance(template, list):
        template = next((entry.get("template") for entry in template if entry.get("name") == "default"), "")
    if TEMPLATE in files:
        template = files[TEMPLATE].decode("utf-8", "replace")
    named = {name: token.get("content") if isinstance(token, dict) else token for name, token in words.items()}
    names = {name: token for name, token in named.items() if name.endswith("_token") and isinstance(token, str)}
    numbers = [end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)]
    sizes = [config.get(name) or 0 for name in ("num_hidden_layers", "intermediate_size", "num_key_value_heads")]
    ours = {"vocabulary": config.get("vocab_size"), "levels": [whole(*map(int, sizes)).json()]}  # it cannot be cut
    return Loaded(tokenizer_json.convert(files["tokenizer.json"], numbers, str(template or ""), names), config | ours)


def reference(config: Json) -> bytes:
    """What `selfcheck.flow` takes; empty if the config holds none."""
    return json.dumps(config[CHECK]).encode() if CHECK in config else b""


def _object(name: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError(name)
        return found
    except ValueError as error:
        raise NookError("model-corrupt", f"{name} is damaged.", "Download it again.") from error
