"""Tables as text and as a page that needs nothing else and lets nothing in."""

from __future__ import annotations

import base64
import hashlib
import json

from inglenook.evals import page
from inglenook.evals.page import Badge, Mark, Passage, Share, Table


def test_text_is_in_columns_and_numbers_stand_right() -> None:
    table = Table("Counts", ("what", "n"), [["a", 5], ["much longer", 12345], ["none", 0]], "A note.")
    assert page.text([table]).splitlines() == [
        "Counts", "  what              n", "  a                 5", "  much longer  12,345", "  none              0",
        "  A note.",
    ]  # fmt: skip
    assert page.text([Table("Empty", ("a", "b"))]).splitlines() == ["Empty", "  a  b"]
    assert "-" in page.text([Table("", ("a",), [[None]])])


def test_the_page_holds_what_was_told_and_escapes_it() -> None:
    evil = "</script><script>alert(1)</script>"
    parts = [
        Table(evil, (evil,), [[evil, Badge(evil, "bad"), Share(0.25)]], evil),
        Passage(evil, [(evil, [Mark(evil, evil, "good"), Mark(evil)])], evil),
    ]
    made = page.html(evil, parts, {"name": evil}, Badge(evil), evil)
    assert "alert(1)</script><" not in made.replace("&lt;", "") and made.count("<script") == 1
    inside = made.split('id="results">')[1].split("</script>")[0]
    assert json.loads(inside) == {"name": evil}
    assert "http:" not in made and "https:" not in made and "src=" not in made and " style=" not in made
    assert '<meter value="0.2500">25%</meter>25%' in made


def test_the_page_forbids_all_but_its_own_style() -> None:
    made = page.html("x", [], {})
    style = made.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = made.split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'") and policy.endswith(f"style-src 'sha256-{digest}'")
