"""Text in a picture, by PP-OCR's models: one finds lines of text, one reads them.

The models are those of PP-OCRv4 (2206.03001 and its successors): detection gives the probability that a pixel lies in
the shrunken middle of a line (DB, 1911.08947), recognition gives each eighth of a line's height the probabilities of
characters (CTC). What stands around them is ours: boxes are upright ones of connected parts, grown back by DB's
`area * ratio / perimeter`.

`read` is a core without I/O: it yields what to run and is sent the output, so that a machine may wait and a tab await.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from inglenook.evals.charts.reader.bounds import Bounds
from inglenook.evals.charts.reader.components import Part, components
from inglenook.evals.charts.reader.glyphs import Box, glyphs
from inglenook.evals.charts.reader.picture import resized

SIDE, MOST, STRIDE = 736, 1600, 32  # detection: least shorter side, most longer side, sides are multiples of this
PIXEL, BOX, GROW = 0.3, 0.5, 1.6  # detection: probability of a pixel, mean of a box, how far it is grown (DB's ratio)
LINE, NARROW, STEP = 48, 192, 8  # recognition: height, least width, columns of pixels for one of output
BATCH = 8
SURE, SURE_GLYPH = 0.5, 0.75


@dataclass(frozen=True, slots=True)
class Run:
    """One pass: the model's name, its input "x"; its first output is wanted."""

    model: Literal["det", "rec"]
    x: np.ndarray


@dataclass(frozen=True, slots=True)
class Text(Bounds):
    """A line of text and its box in pixels; `sure` is the mean probability of its characters. `places` are the middles
    of its characters along the line, as shares of its length."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    sure: float = 1.0
    places: tuple[float, ...] = ()

    def part(self, start: int, end: int) -> Text:
        """Some of its characters as a text of its own."""
        if not self.places:
            return replace(self, text=self.text[start:end])
        pitch = self.width / max(1, len(self.text))
        left = self.left + self.places[start] * self.width - pitch / 2
        right = self.left + self.places[end - 1] * self.width + pitch / 2
        return replace(
            self, text=self.text[start:end], left=max(left, self.left), right=min(right, self.right), places=()
        )


def read(pixels: np.ndarray, characters: Sequence[str]) -> Generator[Run, np.ndarray, list[Text]]:
    """The texts of a picture (uint8, red first), from the top down. `characters` are those of the recognition model's
    classes after its blank; the last class is the space."""
    height, width = pixels.shape[:2]
    scale = max(1.0, SIDE / min(height, width))
    scale = min(scale, MOST / max(height, width))
    size = [max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width)]
    chances = yield Run("det", _input(resized(pixels, *size))[None])
    found = boxes(chances[0, 0], height, width)
    single = len(found)
    found += glyphs(pixels, found)
    crops = [_upright(pixels[top:bottom, left:right]) for left, top, right, bottom in found]
    texts: list[Text] = []
    order = sorted(range(len(crops)), key=lambda at: crops[at].shape[1] / crops[at].shape[0])
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        lines = [_line(crops[at]) for at in batch]
        wide = max(NARROW, *(line.shape[2] for line in lines))
        wide = -(-wide // STEP) * STEP
        x = np.zeros((len(batch), 3, LINE, wide), np.float32)
        for row, line in enumerate(lines):
            x[row, :, :, : line.shape[2]] = line
        outputs = yield Run("rec", x)
        for at, line, output in zip(batch, lines, outputs):
            text, places, sure = decode(output, characters)
            if text.strip() and sure >= (SURE if at < single else SURE_GLYPH):
                shares = tuple(min(1.0, place * wide / line.shape[2]) for place in places)
                left, top, right, bottom = map(float, found[at])
                texts.append(Text(text, left, top, right, bottom, sure, shares))
    return sorted(texts, key=lambda one: (one.top, one.left))


def boxes(chances: np.ndarray, height: int, width: int) -> list[Box]:
    """Left, top, right, bottom of lines of text in a picture of this size, from DB's map of probabilities."""
    mask = chances > PIXEL
    mask[1:] |= mask[:-1].copy()
    mask[:, 1:] |= mask[:, :-1].copy()
    across, down = width / chances.shape[1], height / chances.shape[0]
    found = []
    for part in components(mask, 6):
        if _mean(chances, part) < BOX:
            continue
        grow = part.width * part.height * GROW / (2 * (part.width + part.height))
        box = (
            max(0, int((part.left - grow) * across)),
            max(0, int((part.top - grow) * down)),
            min(width, round((part.right + grow) * across)),
            min(height, round((part.bottom + grow) * down)),
        )
        if box[2] - box[0] >= 3 and box[3] - box[1] >= 3:
            found.append(box)
    return found


def decode(output: np.ndarray, characters: Sequence[str]) -> tuple[str, list[float], float]:
    """The likeliest path of a CTC output (steps, classes), blank first: its text, where each character stands (0 to 1),
    and their mean probability."""
    best = output.argmax(axis=1)
    chances = output.max(axis=1)
    kept = [at for at in np.flatnonzero(best) if at == 0 or best[at] != best[at - 1]]
    text = "".join(characters[best[at] - 1] if best[at] <= len(characters) else " " for at in kept)
    sure = float(chances[kept].mean()) if kept else 0.0
    return text, [(at + 0.5) / len(best) for at in kept], sure


def _mean(chances: np.ndarray, part: Part) -> float:
    inside = np.concatenate([chances[row, start:end] for row, start, end in part.runs])
    return float(inside[inside > PIXEL].mean())


def _upright(crop: np.ndarray) -> np.ndarray:
    """Text that is set from the bottom upwards is turned."""
    return np.rot90(crop, -1) if crop.shape[0] > 1.5 * crop.shape[1] else crop


def _line(crop: np.ndarray) -> np.ndarray:
    width = max(STEP, round(LINE * crop.shape[1] / crop.shape[0]))
    return _input(resized(crop, LINE, width))


def _input(pixels: np.ndarray) -> np.ndarray:
    """Blue first, -1 to 1, channels first."""
    scaled: np.ndarray = (pixels[:, :, ::-1] / 127.5 - 1).transpose(2, 0, 1)
    return np.ascontiguousarray(scaled, np.float32)
