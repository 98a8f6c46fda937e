"""The pixels of a picture, by Pillow: a PNG file."""

from __future__ import annotations

import io

from inglenook.evals.charts.scene import Area, Line, Scene, Text
from inglenook.evals.pictures import pillow

FINE = 2  # drawn so many times as large, then made smaller: edges are smooth
_ANCHORS = {"start": "lm", "middle": "mm", "end": "rm"}


def png(scene: Scene) -> bytes:
    """The file. Raises NookError("no-pillow")."""
    drawing, fonts = pillow("ImageDraw"), pillow("ImageFont")
    image = pillow().new("RGB", (scene.width * FINE, scene.height * FINE), "#ffffff")
    draw = drawing.Draw(image)
    for shape in scene.shapes:
        match shape:
            case Line(points, colour, width):
                draw.line([(x * FINE, y * FINE) for x, y in points], colour, max(1, round(width * FINE)), "curve")
            case Area(points, fill):
                draw.polygon([(x * FINE, y * FINE) for x, y in points], fill)
            case Text(x, y, text, size, anchor, colour):
                font = fonts.load_default(size * FINE)
                draw.text((x * FINE, y * FINE), text, colour, font, _ANCHORS[anchor])
    made = io.BytesIO()
    image.resize((scene.width, scene.height), pillow().Resampling.LANCZOS).save(made, format="PNG", optimize=True)
    return made.getvalue()
