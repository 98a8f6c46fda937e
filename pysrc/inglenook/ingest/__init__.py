"""From files to passages: `read` knows the formats, `chunk` cuts the text, `page` draws a page.

Every format's module has a generator `parse(…, writer)` that puts plain text and its blocks into a `Writer` and yields
how far it is after every bit of work, so that a long file never holds up anything else.
"""

from inglenook.ingest.chunk import chunk
from inglenook.ingest.read import read

__all__ = ["chunk", "read"]
