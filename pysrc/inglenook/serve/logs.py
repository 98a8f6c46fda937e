"""The log: nothing but what is wrong, or a line for every request, as text or as JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

KINDS = ("quiet", "text", "json")
_PLAIN = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message", "taskName"}


class Json(logging.Formatter):
    """One object a line: time (UTC), level, message, and whatever else was told of it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        line = {"time": when, "level": record.levelname.lower(), "message": record.getMessage(), **told}
        return json.dumps(line, ensure_ascii=False, default=str)


def start(kind: str) -> None:
    """Log to stderr from now on; `kind` is one of KINDS."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if kind == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    logging.getLogger("inglenook.serve").setLevel(logging.WARNING if kind == "quiet" else logging.INFO)
