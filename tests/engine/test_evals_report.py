"""Tables as text and as a page that needs nothing else and lets nothing in."""

from __future__ import annotations

import json

from inglenook.evals import report
from inglenook.evals.report import Table


def test_text_is_in_columns_and_numbers_stand_right() -> None:
    table = Table("Counts", ("what", "n"), [["a", 5], ["much longer", 12345], ["none", 0]], "A note.")
    assert report.text([table]).splitlines() == [
        "Counts", "  what              n", "  a                 5", "  much longer  12,345", "  none              0",
        "  A note.",
    ]  # fmt: skip
    assert report.text([Table("Empty", ("a", "b"))]).splitlines() == ["Empty", "  a  b"]
    assert "-" in report.text([Table("", ("a",), [[None]])])


def test_the_page_holds_what_was_told_and_escapes_it() -> None:
    evil = "</script><script>alert(1)</script>"
    page = report.html(evil, [Table(evil, (evil,), [[evil]], evil)], {"name": evil})
    assert "alert(1)</script><" not in page.replace("&lt;", "") and page.count("<script") == 1
    inside = page.split('id="results">')[1].split("</script>")[0]
    assert json.loads(inside) == {"name": evil}
    assert "http:" not in page and "https:" not in page and "src=" not in page
