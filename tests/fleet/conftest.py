"""What tests with a real Ray need."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def token() -> Iterator[None]:
    """Before Ray is imported, which looks for it once: nodes off loopback need it. What Ray keeps goes with it."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory("ray", ignore_cleanup_errors=True) as kept:
        patch.setenv("RAY_TMPDIR", kept)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield
