"""What every suite shares: the site, a browser, a page that fails its test when the console shows an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from buildlib import server, venv
from buildlib.project import ROOT, Problem

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = """--no-sandbox --disable-quic --no-first-run --disable-background-networking
  --disable-component-update --disable-sync --enable-blink-features=ForceEagerMeasureMemory""".split()  # noqa: SIM905

# Machines that test are busy: how long an example takes says nothing.
settings.register_profile("inglenook", deadline=None)
settings.load_profile("inglenook")


@dataclass
class Console:
    """What a page said on its console. `allow` names errors that the test provokes on purpose."""

    errors: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    allowed: list[re.Pattern[str]] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        self.allowed.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        return [error for error in self.errors if not any(pattern.search(error) for pattern in self.allowed)]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The URL of the site with the headers that isolate it (so it has threads). Ends with "/"."""
    with server.serve(ROOT, isolated=True) as url:
        yield url


@pytest.fixture(scope="session")
def plain_site() -> Iterator[str]:
    """The URL of the site as an ordinary server gives it. Ends with "/"."""
    with server.serve(ROOT, isolated=False) as url:
        yield url


@pytest.fixture(scope="session")
def needs() -> Callable[..., Path]:
    """`needs("static/models/x")`: the path, or the test is skipped and says why."""

    def check(*names: str) -> Path:
        for name in names:
            if not (ROOT / name).exists():
                pytest.skip(f"{name} is not built (python3 build.py dev)")
        return ROOT / names[0]

    return check


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program."""
    try:
        return venv.browser(install=False)
    except Problem as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """A headless Chromium, one for each module of tests."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def console() -> Console:
    return Console()


@pytest.fixture
def page(browser: Browser, console: Console) -> Iterator[Page]:
    """A page with storage of its own. An error on its console, or one nobody caught, fails the test."""
    context = browser.new_context()
    opened = context.new_page()
    opened.on("console", lambda message: _hear(console, message.type, message.text, message.location["url"]))
    opened.on("pageerror", lambda error: console.errors.append(str(error)))
    yield opened
    context.close()
    assert not console.unexpected, "errors on the console:\n" + "\n".join(console.unexpected)


def _hear(console: Console, kind: str, text: str, url: str) -> None:
    console.lines.append(f"{kind}: {text}")
    if kind == "error" and not url.endswith("/favicon.ico"):  # asked for by the browser where a page names no icon
        console.errors.append(text)
