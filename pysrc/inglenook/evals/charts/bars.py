"""Charts of bars: histogram, waterfall, funnel, league table, stacked bars."""

from __future__ import annotations

from random import Random

from inglenook.evals.charts.plot import Chart, Facts, Frame, legend, number, shown, titled
from inglenook.evals.charts.scene import COLOURS, GREY
from inglenook.evals.charts.subject import Subject


def values(chance: Random, subject: Subject, count: int) -> list[float]:
    """Numbers of the subject's range, no two of them within a fortieth of it."""
    apart = (subject.high - subject.low) / 40
    found: list[float] = []
    while len(found) < count:
        value = shown(chance.uniform(subject.low, subject.high))
        if all(abs(value - other) >= apart for other in found):
            found.append(value)
    return found


def parts(chance: Random, count: int) -> list[int]:
    """Shares of 100, no two alike, none below 6."""
    while True:
        cuts = sorted(chance.sample(range(6, 95), count - 1))
        shares = [end - start for start, end in zip([0, *cuts], [*cuts, 100])]
        if len(set(shares)) == count and min(shares) >= 6:
            return shares


def histogram(chance: Random, subject: Subject) -> Chart:
    """How many companies fall into each range. The numbers have to be read off the scale."""
    width = max(1, round((subject.high - subject.low) / 6))
    start = round(subject.low)
    ranges = [f"{start + n * width}-{start + (n + 1) * width}" for n in range(6)]
    counts = chance.sample(range(4, 60), 6)
    scene = titled(f"Distribution of {subject.quantity} ({subject.unit})", f"number of {subject.noun} entries")
    frame = Frame.of(scene, counts)
    for at, count in enumerate(counts):
        left, right = frame.slot(at, 6, 0.96)
        scene.box(left, frame.y(count), right, frame.bottom, COLOURS[0])
    frame.labels(ranges)
    told = dict(zip(ranges, map(float, counts)))
    return Chart(scene, Facts("Number of entries", "entries", "range", told, frame.tolerance, adds=True))


def waterfall(chance: Random, subject: Subject) -> Chart:
    """From a start over steps to an end; each step's number is printed."""
    names = ("Price", "Volume", "Costs", "FX", "Tax")
    scale = subject.high / 6
    sizes = [shown(share * scale / 100) for share in chance.sample(range(25, 100), len(names))]
    moves = [chance.choice((-1, 1)) * size for size in sizes]
    start = shown(subject.high)
    tops, level = [start], start
    for move in moves:
        level += move
        tops.append(level)
    scene = titled(f"{subject.quantity} of {subject.names[0]}: from last year to this year", subject.unit)
    frame = Frame.of(scene, [*tops, 0])
    labels = ["Last year", *names, "This year"]
    for at in range(len(labels)):
        left, right = frame.slot(at, len(labels))
        whole = at in (0, len(labels) - 1)
        low, high = (0.0, tops[min(at, len(tops) - 1)]) if whole else sorted((tops[at - 1], tops[at]))
        colour = COLOURS[0] if whole else COLOURS[2] if moves[at - 1] > 0 else COLOURS[3]
        scene.box(left, frame.y(high), right, frame.y(low), colour)
        if not whole:
            scene.text((left + right) / 2, frame.y(high) - 9, f"{moves[at - 1]:+g}", 11)
    frame.labels(labels)
    return Chart(scene, Facts("Contribution", subject.unit, "step", dict(zip(names, moves)), adds=True))


def funnel(chance: Random, subject: Subject) -> Chart:
    """Fewer and fewer; the numbers are printed."""
    stages = ("Leads", "Contacts", "Offers", "Trials", "Contracts")
    count, told = chance.randint(700, 990), {}
    scene = titled(f"Sales funnel, {subject.names[1]} ({subject.domain})", "thousand customers")
    for at, stage in enumerate(stages):
        told[stage] = float(count)
        half, top = 250 * count / told[stages[0]], 80 + 62 * at
        scene.box(360 - half, top, 360 + half, top + 50, COLOURS[at])
        scene.text(20, top + 25, stage, 12, "start")
        scene.text(360, top + 25, number(count), 12, colour="#ffffff")
        count = round(count * chance.uniform(0.5, 0.85))
    return Chart(scene, Facts("Number of customers", "thousand", "stage", told))


def league(chance: Random, subject: Subject) -> Chart:
    """Lying bars, the longest first; the numbers are printed."""
    told = dict(sorted(zip(subject.names, values(chance, subject, 6)), key=lambda one: -one[1]))
    scene = titled(f"{subject.quantity} by {subject.noun}", subject.unit)
    most = max(told.values())
    for at, (name, value) in enumerate(told.items()):
        y, end = 85 + 52 * at, 130 + 420 * value / most
        scene.text(120, y, name, 12, "end")
        scene.box(130, y - 15, end, y + 15, COLOURS[0])
        scene.text(end + 8, y, number(value), 12, "start")
    return Chart(scene, Facts(subject.quantity, subject.unit, subject.noun, told))


def stacked(chance: Random, subject: Subject) -> Chart:
    """Shares of four in three years, printed within the bars; asked is the last year."""
    names, years = subject.names[:4], ("2022", "2023", "2024")
    scene = titled(f"Share of {subject.quantity} by {subject.noun}", "%")
    frame = Frame.of(scene, [0, 100])
    told: dict[str, float] = {}
    for at, year in enumerate(years):
        shares = parts(chance, 4)
        left, right = frame.slot(at, 3, 0.5)
        below = 0
        for n, share in enumerate(shares):
            scene.box(left, frame.y(below + share), right, frame.y(below), COLOURS[n])
            scene.text((left + right) / 2, frame.y(below + share / 2), f"{share}", 12, colour="#ffffff")
            below += share
        told = dict(zip(names, map(float, shares)))
        scene.text((left + right) / 2, frame.bottom + 16, year, 11, colour=GREY)
    legend(scene, names)
    return Chart(scene, Facts(f"Share in {years[-1]}", "%", subject.noun, told, adds=True))
