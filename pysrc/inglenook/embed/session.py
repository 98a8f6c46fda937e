"""The encoder as an ONNX model: the second backend of `Encode`, beside the C kernel, and its oracle."""

from __future__ import annotations

import numpy as np

from inglenook.onnx import InferenceSession

PAD = 0


class OnnxEncoder:
    """Embeds token sequences with all-MiniLM-L6-v2 as ONNX: float32 rows of unit length, shape (sequences, 384)."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session
        self._inputs = [entry.name for entry in session.get_inputs()]
        self._output = session.get_outputs()[0].name

    def encode(self, tokens: list[list[int]]) -> np.ndarray:
        """Embed and wait. The sequences should be of like length: the shorter ones are padded."""
        ids, mask = pad(tokens)
        [hidden] = self.session.run([self._output], self._feeds(ids, mask))
        return pool(hidden, mask)

    async def encode_async(self, tokens: list[list[int]]) -> np.ndarray:
        """The same without blocking."""
        ids, mask = pad(tokens)
        [hidden] = await self.session.run_async([self._output], self._feeds(ids, mask))
        return pool(hidden, mask)

    def _feeds(self, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: feeds[name] for name in self._inputs}


def pad(tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask, both int64 of shape (sequences, longest)."""
    lengths = np.array([len(sequence) for sequence in tokens])
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    ids = np.full(mask.shape, PAD, np.int64)
    ids[mask] = [token for sequence in tokens for token in sequence]
    return ids, mask.astype(np.int64)


def pool(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean over the tokens that are not padding, at unit length; `hidden` is (sequences, longest, 384)."""
    weights = mask[:, :, None].astype(np.float32)
    mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    rows: np.ndarray = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return rows
