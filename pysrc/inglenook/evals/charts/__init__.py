"""Synthetic charts in FinMME's format: data drawn by chance, a picture of it, and questions whose answers are computed
from the data.

A picture is shapes first (`scene`), without any library, so it can be made wherever Python runs. Its SVG is written
here, for pages and reports; models and readers want pixels, and these come from Pillow (`paint`), which Pyodide has,
too, and which sends pictures as the official script does anyway. matplotlib would be ten times that, in the tab
alone ten megabytes.
"""
