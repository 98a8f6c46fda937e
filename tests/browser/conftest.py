"""Profiles and sites for tests of the page. What is not built is skipped with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.fakes import site as sites

PATIENCE = 20_000  # milliseconds for one thing to happen on a busy machine
expect.set_options(timeout=PATIENCE)


@pytest.fixture
def profile(browser):
    """A fresh profile. A script error in any of its pages fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    context.close()
    assert not errors, f"uncaught in the page: {errors}"


@pytest.fixture(scope="session")
def pretended(tmp_path_factory):
    """The page's files with a scripted engine, to serve from."""
    return sites.pretend(tmp_path_factory.mktemp("pretended"))


@pytest.fixture
def stage(pretended):
    """The pretended site, running."""
    with sites.running(pretended) as running:
        yield running


@pytest.fixture
def room(profile, stage):
    """The page of the pretended site, ready for a question."""
    room = profile.new_page()
    room.goto(stage.url)
    room.get_by_text("Ready", exact=True).wait_for()
    return room


@pytest.fixture
def sampled(room):
    """The page with the sample library open."""
    room.get_by_role("button", name="Open the sample library").click()
    room.get_by_role("heading", name="What would you like to know?").wait_for()
    return room


@pytest.fixture(scope="session")
def built():
    """The real site; skipped where the build has not made the engine's files."""
    manifest = Path(sites.ROOT / "static" / "assets.json")
    groups = {file["group"] for file in json.loads(manifest.read_text())["files"]} if manifest.exists() else set()
    missing = {"core", "encoder", "sample"} - groups
    if missing:
        pytest.skip(f"not built: {', '.join(sorted(missing))} (python3 build.py dev)")
    with sites.running(sites.ROOT) as running:
        yield running


@pytest.fixture(scope="session")
def scripted(built, tmp_path_factory):
    """A folder with all of the real site, but for a scripted engine: for tests that ask nothing of the tab's model."""
    folder = sites.pretend(tmp_path_factory.mktemp("scripted"))
    shutil.rmtree(folder / "static")
    (folder / "static").symlink_to(built.root / "static")
    return folder
