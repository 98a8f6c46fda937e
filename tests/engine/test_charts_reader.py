"""The chart reader: parts of a picture, scales, tables of charts drawn here in layouts that the synthetic set does not
have, and questions in words that it does not use. Texts are given, so no model is needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from inglenook.errors import NookError
from inglenook.evals import finance
from inglenook.evals.calls import Call, Message, Reply
from inglenook.evals.charts.paint import png
from inglenook.evals.charts.plot import LEFT, RIGHT, Frame, titled
from inglenook.evals.charts.reader import ocr
from inglenook.evals.charts.reader.answer import chosen, numerical
from inglenook.evals.charts.reader.axes import axes
from inglenook.evals.charts.reader.characters import characters
from inglenook.evals.charts.reader.components import components
from inglenook.evals.charts.reader.ocr import Text
from inglenook.evals.charts.reader.picture import decoded, resized
from inglenook.evals.charts.reader.reading import read
from inglenook.evals.charts.reader.table import Table
from inglenook.evals.charts.reader.target import NOTHING, Prompt, Reader, guessed
from inglenook.evals.charts.reader.words import alike, best, mentioned, number
from inglenook.evals.charts.scene import COLOURS, GREY, Scene
from inglenook.evals.charts.scene import Text as Drawn
from inglenook.evals.charts.synthetic import rows
from inglenook.evals.finscore import mark
from inglenook.evals.items import Item

# ── parts, resizing, decoding ─────────────────────────────────────────────────────────────────────────────────────


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=60, deadline=None)
def test_components_are_those_of_a_flood_fill(mask: np.ndarray) -> None:
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    flooded = []
    while left:
        stack, part = [left.pop()], set()
        while stack:
            y, x = stack.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack += near
        flooded.append(part)
    found = [
        {(int(row), column) for row, start, end in part.runs for column in range(start, end)}
        for part in components(mask)
    ]
    assert sorted(map(sorted, found)) == sorted(map(sorted, flooded))
    for part, pixels in zip(components(mask), found):
        ys, xs = zip(*pixels)
        assert (part.left, part.top, part.right, part.bottom) == (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
        assert part.area == len(pixels)


def test_resizing_keeps_means_and_slopes() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None] * 6, (20, 40, 3))
    larger, smaller = resized(ramp, 40, 80), resized(ramp, 10, 20)
    assert larger.shape == (40, 80, 3) and smaller.shape == (10, 20, 3)
    assert abs(larger.mean() - ramp.mean()) < 0.5 and abs(smaller.mean() - ramp.mean()) < 0.5
    assert np.allclose(np.diff(larger[0, 2:-2, 0]), 3) and np.allclose(np.diff(smaller[0, :, 0]), 12)


def test_ctc_drops_repeats_and_blanks() -> None:
    path = [0, 1, 1, 0, 1, 2, 4, 3]  # blank, a, a, blank, a, b, the space after the last, c
    output = np.full((len(path), 5), 0.01, np.float32)
    output[range(len(path)), path] = 0.9
    text, places, sure = ocr.decode(output, ["a", "b", "c"])
    assert text == "aab c" and sure == pytest.approx(0.9) and places == sorted(places)


def test_ocr_asks_for_lines_and_then_for_their_characters() -> None:
    """A detector that marks one place, and a recogniser that always reads "a"."""
    work = ocr.read(np.full((64, 128, 3), 255, np.uint8), ["a"])
    run = next(work)
    _, _, height, width = run.x.shape
    assert run.model == "det" and height % 32 == width % 32 == 0 and min(height, width) >= 736 - 16
    assert run.x.min() == pytest.approx(1.0) and run.x.max() == pytest.approx(1.0)
    chances = np.zeros((1, 1, height, width), np.float32)
    chances[0, 0, 300:340, 400:700] = 0.9
    run = work.send(chances)
    assert run.model == "rec" and run.x.shape[:3] == (1, 3, 48)
    output = np.full((1, run.x.shape[3] // 8, 3), 0.0, np.float32)
    output[0, :, 0], output[0, 3] = 1.0, (0.0, 1.0, 0.0)
    with pytest.raises(StopIteration) as end:
        work.send(output)
    [text] = end.value.value
    scale = 128 / width
    assert text.text == "a" and text.left < 400 * scale < 700 * scale < text.right + 1 and text.sure == 1.0


def test_characters_stand_in_the_models_file() -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    entry = field(1, b"character") + field(2, "a\n字\n".encode())
    model = b"\x08\x07" + field(2, b"maker") + field(14, field(1, b"other") + field(2, b"x")) + field(14, entry)
    assert characters(model) == ["a", "字"]
    for broken in (b"", model[:-30], b"\x08\x07", b"\xff"):
        with pytest.raises(NookError) as error:
            characters(broken)
        assert error.value.code == "bad-model" and error.value.hint


# ── words and scales ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,200", 1200), ("−3.5%", -3.5), ("(7)", -7), ("2k", 2000), ("$1.5bn", 1.5e9), ("+12", 12), (".5", 0.5),
     ("1-3", None), ("2024E", None), ("a", None), ("", None), ("1,20", None)],
)  # fmt: skip
def test_numbers_as_charts_print_them(text: str, value: float | None) -> None:
    assert number(text) == value


def test_names_are_found_though_misread() -> None:
    assert alike("Day 6", "Day6") == 1.0 and alike("2021", "2022") == 0.0
    assert best("Contracts", ["Contacts", "Contracts"]) == "Contracts" and best("Gold", ["Silver"]) is None
    names = ["Value", "Growth", "Day 1", "Day 11", "1-3", "11-13", "North America"]
    said = "What value on Day11, not for 11-13, has NorthAmerica against Growht?"
    assert mentioned(said, names) == ["Day 11", "11-13", "North America", "Growth"]
    assert mentioned("What is it in 2021?", ["Wheat", "202"]) == []


def column(values: Iterable[float], places: Iterable[float], x: float = 40.0) -> list[Text]:
    return [Text(f"{value:g}", x - 20, y - 6, x, y + 6) for value, y in zip(values, places)]


@given(
    st.sampled_from([1, 2, 2.5, 5, 20, 500]), st.integers(-3, 3), st.integers(4, 8), st.floats(20, 60),
    st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_a_scale_is_found_among_other_numbers(step: float, first: int, count: int, pitch: float, lost: int) -> None:
    values = [step * (first + at) for at in range(count)]
    ticks = column(values, [400 - pitch * at for at in range(count)])
    del ticks[1 : 1 + min(lost, count - 4)]
    other = [Text("77", 300, 100, 320, 112), Text("12", 25, 430, 40, 442), Text("Unit", 20, 10, 60, 22)]
    [axis] = axes([*ticks, *other], "y")
    assert len(axis.ticks) == len(ticks) and not axis.log
    assert axis.at(400 - 2.5 * pitch) == pytest.approx(step * (first + 2.5), abs=0.02 * step)
    assert axis.place(axis.at(123.0)) == pytest.approx(123.0)


def test_scales_with_logarithms_rows_and_none() -> None:
    [log] = axes(column([1, 10, 100, 1000], [300, 220, 140, 60]), "y")
    assert log.log and log.at(180) == pytest.approx(10**1.5)
    row = [Text(f"{n}", x - 5, 390, x + 5, 400) for n, x in ((10, 100), (20, 200), (30, 300))]
    [across] = axes(row, "x")
    assert across.at(150) == pytest.approx(15)
    assert axes(column([31, 7, 55, 12, 40], [50, 100, 150, 200, 250]), "y") == []


# ── tables of charts ──────────────────────────────────────────────────────────────────────────────────────────────


def seen(scene: Scene) -> Table:
    """The table of a picture whose texts are known, with boxes as a detector has them."""
    pytest.importorskip("PIL.Image")
    texts = []
    for shape in scene.shapes:
        if isinstance(shape, Drawn) and shape.text:
            wide, tall = 0.5 * shape.size * len(shape.text), 0.7 * shape.size
            left = shape.x - {"start": 0.0, "middle": wide / 2, "end": wide}[shape.anchor]
            texts.append(Text(shape.text, left - 2, shape.y - tall, left + wide + 2, shape.y + tall))
    return read(decoded(png(scene)), texts)


def near(table: Table, wanted: dict[tuple[str, str], float], off: float) -> None:
    assert set(table.cells) == set(wanted), table
    assert all(abs(table.cells[key] - value) <= off for key, value in wanted.items()), (table, wanted)


def keyed(scene: Scene, names: Iterable[str], y: float = 402.0) -> None:
    for at, (name, colour) in enumerate(zip(names, COLOURS)):
        scene.box(LEFT + 120 * at, y - 5, LEFT + 10 + 120 * at, y + 5, colour)
        scene.text(LEFT + 16 + 120 * at, y, name, 11, "start")


QUARTERS = ("Q1", "Q2", "Q3", "Q4")


def test_grouped_bars_with_a_legend() -> None:
    scene = titled("Revenue by quarter and region, company accounts", "USD m")
    rows_ = {"Asia": (12.0, 30, 22, 41), "Europe": (35.0, 8, 27, 16)}
    frame = Frame.of(scene, [0, 45])
    for at in range(4):
        left, right = frame.slot(at, 4, 0.7)
        half = (left + right) / 2
        scene.box(left, frame.y(rows_["Asia"][at]), half, frame.bottom, COLOURS[0])
        scene.box(half, frame.y(rows_["Europe"][at]), right, frame.bottom, COLOURS[1])
    frame.labels(QUARTERS)
    keyed(scene, rows_)
    wanted = {(name, place): value for name, row in rows_.items() for place, value in zip(QUARTERS, row)}
    near(seen(scene), wanted, 0.6)


def test_stacked_bars_without_printed_numbers() -> None:
    scene = titled("Mix of energy by quarter, measured at the plants", "TWh")
    rows_ = {"Gas": (12.0, 10, 22, 6), "Wind": (15.0, 18, 7, 16), "Coal": (8.0, 9, 11, 14)}
    frame = Frame.of(scene, [0, 45])
    for at in range(4):
        left, right = frame.slot(at, 4, 0.5)
        below = 0.0
        for colour, row in zip(COLOURS, rows_.values()):
            scene.box(left, frame.y(below + row[at]), right, frame.y(below), colour)
            below += row[at]
    frame.labels(QUARTERS)
    keyed(scene, rows_)
    wanted = {(name, place): value for name, row in rows_.items() for place, value in zip(QUARTERS, row)}
    near(seen(scene), wanted, 0.6)


def test_lines_on_two_scales() -> None:
    scene = titled("Price and volume of the stock, by quarter", "USD; lots on the right")
    price, volume = (12.0, 30, 22, 38), (350.0, 150, 250, 90)
    frame = Frame.of(scene, [0, 40], right=RIGHT - 30)
    for tick in range(0, 401, 100):
        scene.text(frame.right + 8, frame.y(tick / 10), f"{tick}", 11, "start", colour=GREY)
    for row, colour in ((price, COLOURS[0]), ([v / 10 for v in volume], COLOURS[3])):
        scene.line([(frame.x(at, 4), frame.y(value)) for at, value in enumerate(row)], colour, 2)
    frame.labels(QUARTERS)
    scene.box(LEFT, 397, LEFT + 10, 407, COLOURS[0])
    scene.text(LEFT + 16, 402, "Price", 11, "start")
    scene.box(LEFT + 120, 397, LEFT + 130, 407, COLOURS[3])
    scene.text(LEFT + 136, 402, "Volume (RHS)", 11, "start")
    table = seen(scene)
    near(replace(table, cells={key: v for key, v in table.cells.items() if key[0] == "Price"}),
         {("Price", q): v for q, v in zip(QUARTERS, price)}, 0.9)  # fmt: skip
    near(replace(table, cells={key: v for key, v in table.cells.items() if key[0] != "Price"}),
         {("Volume (RHS)", q): v for q, v in zip(QUARTERS, volume)}, 9)  # fmt: skip


def test_bars_on_a_logarithmic_scale() -> None:
    scene = titled("Market size by quarter, logarithmic scale", "USD m")
    values = (3.0, 40, 900, 120)
    for at in range(4):
        y = 360 - 90 * at
        scene.line([(LEFT, y), (RIGHT, y)], "#dddddd")
        scene.text(LEFT - 8, y, f"{10**at:,}", 11, "end")
    frame = Frame(scene, 0, 3)
    for at, value in enumerate(values):
        left, right = frame.slot(at, 4, 0.5)
        scene.box(left, 360 - 90 * math.log10(value), right, 360, COLOURS[0])
    frame.labels(QUARTERS)
    table = seen(scene)
    assert list(table.categories) == list(QUARTERS)
    for place, value in zip(QUARTERS, values):
        assert table.cells["", place] == pytest.approx(value, rel=0.06)


def test_lying_bars_on_a_scale() -> None:
    scene = titled("Loan growth by bank, in the last year, published figures", "%")
    values = {"Arden": 17.0, "Bexley": 12.0, "Corfe": 9.0, "Dover": 4.0}
    for tick in range(0, 21, 5):
        x = 120 + 22 * tick
        scene.line([(x, 70), (x, 330)], "#dddddd")
        scene.text(x, 346, f"{tick}", 11)
    for at, (name, value) in enumerate(values.items()):
        y = 100 + 60 * at
        scene.box(120, y - 15, 120 + 22 * value, y + 15, COLOURS[0])
        scene.text(112, y, name, 12, "end")
    near(seen(scene), {("", name): value for name, value in values.items()}, 0.4)


def test_a_ring_with_a_legend_and_no_numbers() -> None:
    scene = titled("Allocation of the fund, end of the year, by asset", "%")
    shares = {"Stocks": 45.0, "Bonds": 30.0, "Gold": 25.0}
    turn = 0.0
    for share, colour in zip(shares.values(), COLOURS):
        scene.wedge((320, 220), 120, turn, turn + share / 100, colour)
        turn += share / 100
    scene.disc(320, 220, 60, "#ffffff")
    keyed(scene, shares)
    table = seen(scene)
    assert table.how == "sectors"
    near(table, {("", name): share for name, share in shares.items()}, 1.5)


def test_nothing_is_read_from_nothing() -> None:
    blank = np.full((300, 400, 3), 255, np.uint8)
    assert read(blank, []).cells == {}
    assert read(blank, [Text("Words and only words in here", 10, 10, 300, 30)]).cells == {}


def test_most_of_the_synthetic_kinds_are_read() -> None:
    """Development seeds; what the models misread is no part of this."""
    pytest.importorskip("PIL.Image")
    right: dict[str, list[bool]] = {}
    for row in islice(rows(1), 0, 63, 3):
        table, facts = seen(row["scene"]), row["facts"]
        for name, value in facts.values.items():
            asked = f"What is it for {name} ({facts.quantity})?"
            found = numerical(asked, table)
            off = math.inf if found is None else abs(found - value)
            right.setdefault(row["subclass"], []).append(off <= (facts.tolerance or 0.006))
    shares = {kind: sum(found) / len(found) for kind, found in right.items()}
    assert len(shares) == 21 and min(shares.values()) >= 0.5, shares
    assert sum(shares.values()) / 21 > 0.9, shares


# ── questions ─────────────────────────────────────────────────────────────────────────────────────────────────────

SALES = Table(cells={("", "2021"): 40.0, ("", "2022"): 50.0, ("", "2023"): 30.0, ("", "2024"): 60.0})
DAYS = Table(cells={("", "Day1"): 20.0, ("", "Day2"): 34.0, ("", "Day3"): 90.0})
REGIONS = Table(
    cells={
        (name, year): value
        for name, row in {"Asia": (10.0, 12.0), "Europe": (8.0, 16.0), "Africa": (6.0, 3.0)}.items()
        for year, value in zip(("2023", "2024"), row)
    }
)


@pytest.mark.parametrize(
    ("table", "question", "value"),
    [
        (SALES, "What were sales in 2022?", 50),
        (SALES, "By what percentage did sales grow from 2021 to 2022?", 25),
        (SALES, "What is the ratio of 2024 to 2023?", 2),
        (SALES, "What is the difference between 2024 and 2021?", 20),
        (SALES, "How much lower was 2023 than 2022?", 20),
        (SALES, "What is the average over all years shown?", 45),
        (SALES, "How many years were above 45?", 2),
        (SALES, "What is the highest value shown?", 60),
        (SALES, "What is the second highest value?", 50),
        (SALES, "What percentage of the total was sold in 2024?", 100 * 60 / 180),
        (SALES, "How much do 2021 and 2023 come to together?", 70),
        (REGIONS, "What was Europe's value in 2024?", 16),
        (REGIONS, "How much higher is Asia than Africa (Sales in 2024)?", 9),
        (REGIONS, "How much did Europe change from 2023 to 2024?", 8),
        (SALES, "What were sales in 2019?", None),
        (Table(), "What were sales in 2022?", None),
    ],
)
def test_numbers_that_are_asked_for(table: Table, question: str, value: float | None) -> None:
    found = numerical(question, table)
    assert found == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("table", "question", "options", "several", "right"),
    [
        (SALES, "Which year had the highest sales?", ("2021", "2024", "2023"), False, [1]),
        (SALES, "In which year were sales lowest?", ("2021", "2024", "2023"), False, [2]),
        (SALES, "Which years are below 45?", ("2021", "2022", "2023", "2024"), True, [0, 2]),
        (SALES, "What were sales in 2022?", ("40", "50", "60"), False, [1]),
        (SALES, "Which statements are true?", ("2024 is above 2023", "2021 exceeds 2022", "Sales in 2022 were 50"),
         True, [0, 2]),
        (DAYS, "Which statement is right?", ("Day 1 is above Day 3", "Day 3 is above Day 2"), False, [1]),
        (SALES, "Which statement is correct?", ("Sales fell from 2023 to 2024", "Sales rose from 2022 to 2024"), False,
         [1]),
        (REGIONS, "Which region had the largest value in 2024?", ("Asia", "Europe", "Africa"), False, [1]),
        (REGIONS, "Which region had the largest value in 2023?", ("Asia", "Europe", "Africa"), False, [0]),
        (Table(), "Which year had the highest sales?", ("2021", "2024"), False, []),
    ],
)  # fmt: skip
def test_options_that_fit(
    table: Table, question: str, options: tuple[str, ...], several: bool, right: list[int]
) -> None:
    assert chosen(question, options, table, several) == right


# ── the target ────────────────────────────────────────────────────────────────────────────────────────────────────


def item(kind: str = "numerical", options: str = "", **more: object) -> Item:
    return Item("1", "What were sales in 2022?", kind, "50", options=options, unit="%", **more)  # type: ignore[arg-type]


def test_prompts_are_understood() -> None:
    asked = Prompt.of(finance.prompt(item("single_choice", "A: 40\nB: 50")))
    assert asked == Prompt("single_choice", "What were sales in 2022?", ("40", "50"))
    assert Prompt.of(finance.prompt(item())) == Prompt("numerical", "What were sales in 2022?")
    assert Prompt.of("Hello") is None


def test_it_guesses_abstains_or_asks_the_writer() -> None:
    def eyes(pixels: np.ndarray) -> list[Text]:
        return [Text("Nothing that could be read as a chart", 5, 5, 300, 20)]

    class Writer:
        name = "writer"
        asked: tuple[Call, ...] = ()

        def __call__(self, call: Call) -> Reply:
            self.asked = (*self.asked, call)
            return Reply("Answer: 49.9")

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.closed = True

    pytest.importorskip("PIL.Image")
    picture = png(titled("Nothing that could be read as a chart", ""))
    call = finance.call(item(image=picture), "reader", finance.Plan(official=False))
    writer = Writer()
    with Reader(eyes, writer=writer) as reader:
        assert reader(call).text == "Answer: 49.9" and reader.name.endswith("+writer")
    assert writer.closed and "Nothing that could be read" in str(writer.asked[0].messages[0].content)
    sure, bold = Reader(eyes, guess=False), Reader(eyes)
    assert sure(call).text == NOTHING and not mark(item(), NOTHING).answered and sure.name != bold.name
    assert bold(call).text == f"Answer: {guessed(Prompt('numerical', 'What were sales in 2022?'))}"
    blind = finance.call(item(), "reader", finance.Plan(blind=True))
    assert bold(blind).text == bold(call).text


def test_guesses_are_spread_and_in_form() -> None:
    prompts = [Prompt("single_choice", f"Which? {n}", ("a", "b", "c", "d")) for n in range(200)]
    letters = [guessed(prompt) for prompt in prompts]
    assert all(30 <= letters.count(letter) <= 70 for letter in "ABCD") and set(letters) == set("ABCD")
    several = guessed(Prompt("multiple_choice", "Which?", ("a", "b", "c")))
    assert set(several.split(",")) <= set("ABC") and several


def test_what_cannot_be_answered_is_an_error() -> None:
    reader = Reader(lambda pixels: [])
    assert reader(Call("reader", (Message("user", "Hello"),))).error.startswith("no-question")
    pytest.importorskip("PIL.Image")
    broken = item(image=b"\x89PNG\r\n\x1a\n" + bytes(20) + b"IEND")
    reply = reader(finance.call(broken, "reader", finance.Plan(official=False)))
    assert reply.error.startswith("bad-image")
