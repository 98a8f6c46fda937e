"""A reader of charts: what a picture says, as a table, and answers computed from it. No vision model is needed.

    picture ─ ocr (components, glyphs, characters) → texts ─┐
    picture ─ colours (ground, legend, texts wiped out) ────┴ reading → table ─ question, answer → an option, a number

| what a table is made from | module |
|---|---|
| which numbers are a scale's ticks | `axes` |
| bars, lines, areas, boxes, candles over places (`plot`) | `columns`, with a legend `series` |
| named marks between two scales; sectors of a disc | `marks` |
| tables, maps, funnels: numbers that stand there | `printed` |

Two models find and read text (PP-OCRv4, through `inglenook.onnx`); all else is arithmetic on pixels. `target` makes of
it something that answers FinMME's prompts, beside language models.
"""
