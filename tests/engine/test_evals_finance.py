"""FinMME: rows read, replies marked, and both scores against sums done by hand."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from inglenook.errors import NookError
from inglenook.evals import finance, items
from inglenook.evals.calls import Call, Image, Reply
from inglenook.evals.drive import drive
from inglenook.evals.finscore import Mark, Mode, earned, extracted, finscore, mark, right, strictly, wrong
from inglenook.evals.items import Item

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")


def item(kind: str = "single_choice", answer: str = "A", **more: Any) -> Item:
    return Item("1", "Which is largest?", kind, answer, **{"options": "A: x\nB: y\nC: z", **more})


# ── marks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Answer: C", "C"), ("so\nanswer : **B**", "B"), ("Answer: A, C", "A,"), ("Answer: $\\boxed{12.5}$", "12.5"),
        ("Answer: {7}", "7}"), ("It is C.", ""), ("", ""), ("Answer: A\nAnswer: B", "A"), ("Answer:\n\n4", "4"),
    ],
)  # fmt: skip
def test_the_official_script_takes_the_first_word(reply: str, answer: str) -> None:
    assert extracted(reply) == answer


@pytest.mark.parametrize(
    ("kind", "reply", "answer"),
    [
        ("multiple_choice", "Answer: A, C", "AC"), ("multiple_choice", "Answer: A and C.", "AC"),
        ("multiple_choice", "Answer: ACD", "ACD"), ("single_choice", "Answer: A\nno,\nAnswer: (B)", "B"),
        ("single_choice", "C", "C"), ("single_choice", "A question of taste, I think", ""),
        ("numerical", "Answer: 1,234.5 million", "1234.5"), ("numerical", "Answer: −3 %", "-3"),
        ("numerical", "Answer: none", ""), ("numerical", "42", "42"), ("single_choice", "Answer: none of these", ""),
    ],
)  # fmt: skip
def test_strictly_the_whole_line_is_read(kind: str, reply: str, answer: str) -> None:
    assert strictly(kind, reply) == answer


def test_right_is_as_the_official_script_says() -> None:
    number = item("numerical", "12.5%", tolerance=0.5)
    assert right(number, "13") and right(number, "$12.0") and not right(number, "13.01") and not right(number, "1-2")
    assert not right(number, "") and not right(number, "about")
    assert not right(item("numerical", "3"), "3") and right(item("numerical", "3"), "3", strict=True)
    assert right(item("multiple_choice", "A,C"), "ca") and not right(item("multiple_choice", "AC"), "A")
    assert right(item(answer="B"), "b)") and not right(item(answer="B"), "BX" + "C")


def test_a_mark_tells_picks_abstention_and_what_a_strict_reading_would_say() -> None:
    both = mark(item("multiple_choice", "AC"), "Answer: A, C")
    assert not both.right and both.strict and both.picks == {"A"} and both.several and both.options == 3
    assert mark(item(), "").answered is False and mark(item(), "Answer: N/A").answered is False
    assert mark(item(), "Answer: unknown").picks == frozenset() and mark(item(), "Answer: B").answered
    assert mark(item("numerical", "5", tolerance=0.0), "Answer: cannot tell").answered is False


# ── scores, by hand ───────────────────────────────────────────────────────────────────────────────────────────────

MARKS = [
    Mark("single_choice", "Rates", True, picks=frozenset("A"), gold=frozenset("A"), options=4),
    Mark("single_choice", "Rates", False, picks=frozenset("B"), gold=frozenset("A"), options=4),
    Mark("numerical", "Rates", False, answered=False),
    Mark("multiple_choice", "Equity", True, True, frozenset("AB"), frozenset("AB"), 4, True),
    Mark("multiple_choice", "Equity", False, True, frozenset("ABC"), frozenset("AB"), 4, True),
    Mark("multiple_choice", "Equity", False, True, frozenset("C"), frozenset("AB"), 5, True),
    Mark("multiple_choice", "Equity", True, True, frozenset("D"), frozenset("D"), 4, False),
]
# repo: Rates 1/3, Equity 2/4, F 5/12; of the three with several answers two are wrong: 5/12 · 1/3.
# paper, n = options: Equity 2/4, 2/4 − 1/3, 0, 1/4 → mean 11/48; n = gold: 1, 1 − 1/3, 0, 1 → 2/3; Rates 1/3 in both.
# i/s: 0 1 0 | 0 1/3 1 0 → 7/3 of 7 items: 1/3.
HAND = [
    ("repo", "options", 5 / 12, 2 / 3), ("paper", "options", (1 / 3 + 11 / 48) / 2, 1 / 3),
    ("paper", "gold", (1 / 3 + 2 / 3) / 2, 1 / 3),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "n", "fscore", "penalty"), HAND)
def test_both_scores_are_those_done_by_hand(mode: Mode, n: Any, fscore: float, penalty: float) -> None:
    score = finscore(MARKS, mode, n)
    assert score.fscore == pytest.approx(fscore, abs=1e-15) and score.penalty == pytest.approx(penalty, abs=1e-15)
    assert score.score == pytest.approx(fscore * (1 - penalty), abs=1e-15)
    assert (score.coverage, score.abstained, score.items) == (pytest.approx(6 / 7), 1, 7)
    assert score.accuracy == pytest.approx(3 / 7) and score.kinds["single_choice"] == 0.5


def test_a_perfect_reader_has_all_under_repo_and_less_under_the_papers_n() -> None:
    perfect = [one for one in MARKS if one.right]
    assert finscore(perfect).score == 1.0 and finscore(perfect, "paper", "gold").score == 1.0
    assert finscore(perfect, "paper", "options").score < 1.0


def test_guessing_pays_under_repo_and_abstaining_under_paper() -> None:
    multi = [Mark("multiple_choice", "d", False, True, frozenset("C"), frozenset("AB"), 4, True)] * 2
    sure = [Mark("single_choice", "d", True, True, frozenset("A"), frozenset("A"), 4)] * 4
    wild = Mark("single_choice", "d", False, True, frozenset("B"), frozenset("A"), 4)
    lucky = Mark("single_choice", "d", True, True, frozenset("A"), frozenset("A"), 4)
    shy = Mark("single_choice", "d", False, False)
    guesses, none = [*multi[:1], *sure, wild, wild, wild, lucky], [*multi[:1], *sure, shy, shy, shy, shy]
    assert finscore([*sure, wild, lucky]).score > finscore([*sure, shy, shy]).score
    assert finscore(guesses, "paper").score < finscore(none, "paper").score


def test_scores_of_odd_runs() -> None:
    with pytest.raises(NookError, match="nothing to score"):
        finscore([])
    alone = finscore([Mark("numerical", None, True), Mark("numerical", None, False)])
    assert alone.score == 0.5 and alone.domains == {"all": 0.5} and alone.penalty == 0
    named = finscore([Mark("numerical", None, False), Mark("numerical", "Rates", True)])
    assert named.fscore == 1.0 and named.accuracy == 0.5
    assert earned(Mark("multiple_choice", "d", False)) == 0.0 and wrong(Mark("multiple_choice", "d", False)) == 1.0


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A: x\nB: y, z\nC: w", ["x", "y, z", "w"]), ("A. x; B. y", ["x", "y"]), ("(A) x, (B) y", ["x", "y"]),
        ('["A: x", "B: y"]', ["x", "y"]), ("['x', 'y']", ["x", "y"]), ('{"A": "x", "B": 2}', ["x", "2"]),
        ("x; y; z", ["x", "y", "z"]), ("x | y", ["x", "y"]), ("", []), ("[broken", ["[broken"]),
        ("A: Up 3.2%, B: Down", ["Up 3.2%", "Down"]),
    ],
)  # fmt: skip
def test_options_are_told_apart_however_they_are_written(text: str, found: list[str]) -> None:
    assert items.choices(text) == found


def rows(path: Path, *told: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in told))
    return path


ROW = {"question_text": "q?", "question_type": "numerical", "answer": 5}


def test_rows_are_read_with_pictures_and_what_else_they_hold(tmp_path: Path) -> None:
    (tmp_path / "chart.png").write_bytes(PNG)
    path = rows(
        tmp_path / "set.jsonl",
        {**ROW, "id": 7, "image": "chart.png", "tolerance": 1, "related_sentences": ["a", "b"], "asset_class": "Rates"},
        {**ROW, "image": {"bytes": base64.b64encode(PNG).decode(), "path": None}, "knowledge_domain": "TMT"},
        {**ROW, "image": f"data:image/png;base64,{base64.b64encode(PNG).decode()}", "tolerance": float("nan")},
    )
    first, second, third = items.load(path)
    assert (first.id, first.answer, first.image, first.tolerance) == ("7", "5", PNG, 1.0)
    assert first.related == "['a', 'b']" and first.more == {"asset_class": "Rates"} and first.unit is None
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as some editors begin a file
    assert next(items.load(path)) == first
    assert (second.id, second.image, second.domain) == ("2", PNG, "TMT") and (third.image, third.tolerance) == (
        PNG,
        None,
    )


@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        ({"question_text": "q"}, "missing-columns", "row 1 has no question_type and no answer"),
        (5, "bad-item", "row 1 is no object"), ({**ROW, "question_type": "essay"}, "bad-item", "'essay'"),
        ({**ROW, "tolerance": "x"}, "bad-item", "tolerance 'x'"),
        ({**ROW, "image": "none.png"}, "bad-image", "none.png"),
        ({**ROW, "image": base64.b64encode(PNG[:-20]).decode()}, "bad-image", "breaks off"),
        ({**ROW, "image": base64.b64encode(b"GIMP file").decode()}, "bad-image", "no PNG"),
        *(
            ({**ROW, "image": told}, "bad-image", "no image")
            for told in ("../secret.png", "a\0b", -1, 10**13, 1.5, [1, 300], {"bytes": {"a": 1}})
        ),
        ({**ROW, "tolerance": 10**400}, "bad-item", "tolerance"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_read_are_named(tmp_path: Path, row: Any, code: str, said: str) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "in").mkdir()
    path = rows(tmp_path / "in" / "set.jsonl", row)
    with pytest.raises(NookError) as error:
        list(items.load(path))
    assert error.value.code == code and said in error.value.message and str(path) in error.value.message
    assert error.value.hint


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("x")
    (tmp_path / "set.jsonl").write_text('{"a"\n')
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\n")
    (tmp_path / "plain.jsonl.gz").write_bytes(b"hello")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode() * 99)[:60])
    broken = [(name, "bad-lines") for name in ("set", "deep", "latin")]
    for name, code in [
        ("none.parquet", "no-file"), ("set.csv", "bad-item"), ("plain.jsonl.gz", "bad-lines"),
        ("cut.jsonl.gz", "bad-lines"), *((f"{name}.jsonl", code) for name, code in broken),
    ]:  # fmt: skip
        with pytest.raises(NookError) as error:
            list(items.load(tmp_path / name))
        assert error.value.code == code and error.value.hint


# ── the run ───────────────────────────────────────────────────────────────────────────────────────────────────────

AS_IS = finance.Plan(official=False)


def test_the_prompt_is_the_official_one() -> None:
    asked = finance.prompt(item(caption="Fig. 1", related="['s']"))
    assert asked.startswith(
        "Please answer this single choice question about the image. The caption of the image is Fig. 1."
    )
    assert asked.endswith("D, etc.).\nQuestion: Which is largest?\nOptions: A: x\nB: y\nC: z")
    number = finance.prompt(item("numerical", unit="%"))
    assert "The unit of the answer is %." in number and "The caption of the image is None." in number
    assert number.endswith("text).\nQuestion: Which is largest?") and "Options" not in number
    assert finance.prompt(item(options=None)).endswith("Options: None") and "Options" not in finance.prompt(
        item(options="")
    )


def test_a_picture_goes_along_unless_it_is_blind() -> None:
    seen = finance.call(item(image=PNG), "t", AS_IS)
    assert seen.messages[0].content[1] == Image(PNG, "image/png") and seen.settings.max_tokens == 1280
    blind = finance.call(item(image=PNG), "t", finance.Plan(blind=True))
    assert isinstance(blind.messages[0].content, str) and blind.key != seen.key
    with pytest.raises(NookError, match="no PNG"):
        finance.call(item(image=b"x"), "t", AS_IS)


def test_a_run_is_marked_and_summed_up() -> None:
    asked = [item(domain="a", more={"level": "low"}), item(domain="b", answer="B", more={"level": "high"}),
             item("numerical", "3", domain="b", tolerance=0.0)]  # fmt: skip

    def answer(call: Call) -> Reply:
        numerical = "numerical" in str(call.messages[0].content)
        return Reply.failed(NookError("timeout", "slow")) if numerical else Reply("Answer: A")

    marked = drive(finance.ask(iter(asked), "t", AS_IS), answer)
    told = finance.summary("t", marked, by=("level", "none"))
    assert [one.right for _, one in marked] == [True, False, False] and told["by"] == {
        "level": {"high": 0.0, "low": 1.0}
    }
    assert told["repo"]["fscore"] == 0.5 and told["repo"]["abstained"] == 1  # type: ignore[index]
