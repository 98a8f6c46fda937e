"""The sizes of a Llama model, as its file tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inglenook.errors import NookError
from inglenook.types import Json

if TYPE_CHECKING:
    from inglenook.elastic.gguf import Gguf  # no tab has it


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model. `group` query heads share one of the `kv_heads`; a head has `head` channels."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    theta: float
    epsilon: float

    @property
    def head(self) -> int:
        return self.width // self.heads

    @property
    def group(self) -> int:
        return self.heads // self.kv_heads

    @classmethod
    def of(cls, gguf: Gguf) -> Shape:
        """Read the sizes from a file's metadata; NookError("model-unsupported") for what this pass cannot do."""
        meta = gguf.metadata

        def refuse(what: str) -> NookError:
            return NookError("model-unsupported", f"This model is not supported: {what}.", "Use a plain Llama model.")

        def get(key: str, default: Any = None) -> Any:
            value = meta.get("llama." + key, default)
            if value is None:
                raise refuse(f"its file does not say llama.{key}")
            return value

        if meta.get("general.architecture") != "llama":
            raise refuse(f"its architecture is {meta.get('general.architecture')}")
        if meta.get("llama.rope.scaling.type", "none") != "none":
            raise refuse("it scales its rotary positions")
        heads = get("attention.head_count")
        shape = cls(
            layers=get("block_count"),
            width=get("embedding_length"),
            hidden=get("feed_forward_length"),
            heads=heads,
            kv_heads=get("attention.head_count_kv", heads),
            vocabulary=gguf.tensor("token_embd.weight").shape[0],
            context=get("context_length"),
            theta=get("rope.freq_base", 10000.0),
            epsilon=get("attention.layer_norm_rms_epsilon"),
        )
        if shape.width % heads or heads % shape.kv_heads or get("rope.dimension_count", shape.head) != shape.head:
            raise refuse("its heads do not divide its width")
        return shape

    @classmethod
    def of_config(cls, config: Json) -> Shape:
        """The sizes an artifact's `config` tells."""
        told: Any = config
        whole = ("layers", "width", "hidden", "heads", "kv_heads", "vocabulary", "context")
        return cls(**{name: int(told[name]) for name in whole}, theta=told["theta"], epsilon=told["epsilon"])
