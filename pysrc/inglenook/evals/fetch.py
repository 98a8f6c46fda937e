"""Published data for those who want it: each file over HTTPS from its own repository, at one commit, by sha256."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Callable
from pathlib import Path

from inglenook.errors import NookError

BIASLENS = "https://raw.githubusercontent.com/LLMBias/BiasLens/acf8cb214ba012ef083f35956d1b757d8d36a749/"
# Below questions/: with the role, without it.
QUESTIONS = {
    "ability": (
        "ef7ae0cd6ac5d29b6eee89c573692a9ae5133380867e0f96ee99fab97048cff6",
        "e749197ab6bb1d2610e52daf29ebd3694b50a8eae6826b27391fead8ec3589e2",
    ),
    "age": (
        "d8dea45ed9fa1813736aaca001a38c06d74b09643bb32894a44a486cd57e4699",
        "999a08f2dcbd5eeaa53198548cfa8dc5421771b422332c987f06a0fd9d225299",
    ),
    "body": (
        "62a79070b361dc53d3947bdc0d4f702cf0660175ffaefcb29d0da13fca6559da",
        "9e744551a4b77c86ff0c9080517c566bbb5f8767f7c785fa3be12ac460bfb7a2",
    ),
    "character": (
        "84e13de0d82179f7f28c955785f38f10ca5afaccf95be1a9d119cd27f0c4f9fa",
        "052ead217cd10189b47c88121d8704c670868206bd20512e11a3d49d5343487d",
    ),
    "culture": (
        "0dbae838b1bca04674ff363ffbc22af29864e919c230ab7c405e2427b13cd187",
        "f0b566b6248b58f34615e47f0c19eaaa9241359f9b84bff5b3839aa7037789a4",
    ),
    "gender": (
        "1ebced83982ee9699c59cbc00c9ae7274ba4e44188738662b906285e115af92f",
        "1c50391f7155d0db177968cb8416e515a31d37b13aac300aa5e9bd72fdf46d6c",
    ),
    "occupations": (
        "151498b29fd0e7138744f6affd8c40f8a84e52e645c33c6fe423d0406554d044",
        "fe3918588404b32ff6ab2c55354b2f545f6c41aea5e5eb863c7ad780bb378075",
    ),
    "race": (
        "cfbad3b9c6624b5a9e6018df61b49afee2a38989d792f3a5e3e11bf7c1be3d28",
        "ecfdaa1e10b8f2541e1b2ea161a4e0e51ab75c62b9b10a2d4e29c2b9af50fe21",
    ),
    "religion": (
        "b7c4d9c4b42330eef8b3f43599ccba297f5a4cfa824e97891d495aba9516d48f",
        "9b989e7d60d1fe89496956068310f6282da1379571b9bf0263b8c24bb5b79e9c",
    ),
    "social": (
        "22b8225eab5dc8d58f8cebecdbd26df32b32f8bf117c4d482bf25220e96c5742",
        "25a659f35edeec2f10c487692a1a3f59e74464207fe5d4488fc961fcaa5b9d4d",
    ),
    "victim": (
        "a004f8dbb4bb24ce45b833664a5d1cba6dea7a17e949d22daf4e0e62d8f3bfd3",
        "1d793885aa396aaa2c0f4c90b631a098780d9a2f9c1eeb48c4563f1fd23799d2",
    ),
}
MOST = 4_000_000


def biaslens(folder: Path, base: str = BIASLENS, report: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The 32,864 questions, into `folder`; what is there and whole is not loaded again. Returns the folder. Raises
    NookError("unreachable" | "wrong-file")."""
    files = {
        f"questions/{side}/{attribute}_questions.csv": digest
        for attribute, digests in QUESTIONS.items()
        for side, digest in zip(("role", "without_role"), digests)
    }
    for done, (name, digest) in enumerate(files.items()):
        report(done, len(files))
        path = folder / name
        if not path.exists() or _digest(path.read_bytes()) != digest:
            data = _load(base + name)
            if _digest(data) != digest:
                hint = "It was changed on its way or at its source; nothing was kept of it."
                raise NookError("wrong-file", f"{base}{name} is not the file it was.", hint)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".part")
            partial.write_bytes(data)
            partial.replace(path)
    report(len(files), len(files))
    return folder


def _load(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            data: bytes = answer.read(MOST)
            return data
    except (OSError, http.client.HTTPException) as error:
        hint = "Is this machine online? Otherwise name a copy: --questions PATH."
        raise NookError("unreachable", f"{url} cannot be loaded: {error}.", hint) from None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
