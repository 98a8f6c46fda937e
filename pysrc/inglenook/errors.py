"""Errors that tell a person what to do next.

    Exception
    ├── NookError(code, message, hint)   everything that can go wrong; `code` is a stable word
    └── Cancelled                        the person pressed Stop: not an error, so outside the tree

`code` is what programs test, `message` is one sentence for people, `hint` says what to do about it.
"""

from __future__ import annotations


class NookError(Exception):
    """Something went wrong. `code` is a stable word such as ``encrypted`` or ``quota``."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" + (f" {self.hint}" if self.hint else "")


class Cancelled(BaseException):
    """The work was stopped on request. Derives from BaseException so `except Exception` lets it pass."""
