"""Charts along time or price: lines, areas, candles, steps, drawdown, market depth. Numbers have to be read off."""

from __future__ import annotations

from random import Random

from inglenook.evals.charts.bars import values
from inglenook.evals.charts.plot import Chart, Facts, Frame, legend, shown, titled
from inglenook.evals.charts.scene import COLOURS, GREY
from inglenook.evals.charts.subject import Subject

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug")
YEARS = ("2018", "2019", "2020", "2021", "2022", "2023", "2024")


def price(chance: Random, subject: Subject) -> Chart:
    """One line over months, with dots."""
    told = dict(zip(MONTHS, values(chance, subject, len(MONTHS))))
    scene = titled(f"{subject.quantity} of {subject.names[0]} by month", subject.unit)
    frame = Frame.of(scene, list(told.values()), zero=False)
    points = [(frame.x(at, len(told)), frame.y(value)) for at, value in enumerate(told.values())]
    scene.line(points, COLOURS[0], 2)
    for x, y in points:
        scene.disc(x, y, 3, COLOURS[0])
    frame.labels(MONTHS)
    return Chart(scene, Facts(subject.quantity, subject.unit, "month", told, frame.tolerance, ordered=True))


def filled(chance: Random, subject: Subject) -> Chart:
    """An area over years."""
    told = dict(zip(YEARS, values(chance, subject, len(YEARS))))
    scene = titled(f"{subject.quantity}, total of all, by year", subject.unit)
    frame = Frame.of(scene, list(told.values()))
    points = [(frame.x(at, len(told)), frame.y(value)) for at, value in enumerate(told.values())]
    scene.area([(points[0][0], frame.bottom), *points, (points[-1][0], frame.bottom)], "#8fb5dd")
    scene.line(points, COLOURS[0], 2)
    frame.labels(YEARS)
    return Chart(scene, Facts(subject.quantity, subject.unit, "year", told, frame.tolerance, ordered=True, adds=True))


def candles(chance: Random, subject: Subject) -> Chart:
    """Open, high, low, close of days; red falls and green rises. Asked are closing prices."""
    closes = values(chance, subject, 8)
    spread = (subject.high - subject.low) / 8
    days = [f"Day {n + 1}" for n in range(8)]
    rows = []
    for close in closes:
        opened = close + chance.choice((-1, 1)) * chance.uniform(0.4, 1) * spread
        rows.append((opened, max(opened, close) + spread * chance.random() / 2, min(opened, close) - spread / 3, close))
    scene = titled(f"Daily prices, {subject.names[2]} (green: close above open)", subject.unit)
    frame = Frame.of(scene, [value for row in rows for value in row], zero=False)
    for at, (opened, high, low, close) in enumerate(rows):
        left, right = frame.slot(at, 8, 0.5)
        colour = COLOURS[2] if close > opened else COLOURS[3]
        scene.line([((left + right) / 2, frame.y(high)), ((left + right) / 2, frame.y(low))], colour, 1.5)
        scene.box(left, frame.y(max(opened, close)), right, frame.y(min(opened, close)), colour)
    frame.labels(days)
    told = dict(zip(days, closes))
    return Chart(scene, Facts("Closing price", subject.unit, "day", told, frame.tolerance, ordered=True))


def several(chance: Random, subject: Subject) -> Chart:
    """Three lines over years; asked is where each ends."""
    names = subject.names[:3]
    ends = values(chance, subject, 3)
    rows = [[*values(chance, subject, len(YEARS) - 1), end] for end in ends]
    scene = titled(f"{subject.quantity} by {subject.noun} and year", subject.unit)
    frame = Frame.of(scene, [value for row in rows for value in row])
    for row, colour in zip(rows, COLOURS):
        scene.line([(frame.x(at, len(YEARS)), frame.y(value)) for at, value in enumerate(row)], colour, 2)
    frame.labels(YEARS)
    legend(scene, names)
    told = dict(zip(names, ends))
    return Chart(scene, Facts(f"{subject.quantity} in {YEARS[-1]}", subject.unit, subject.noun, told, frame.tolerance))


def steps(chance: Random, subject: Subject) -> Chart:
    """A rate that stays until it is changed."""
    rates = [n / 4 for n in chance.sample(range(2, 27), len(YEARS))]
    scene = titled(f"Policy rate at year end ({subject.domain})", "%")
    frame = Frame.of(scene, rates)
    points = []
    for at, rate in enumerate(rates):
        left, right = frame.slot(at, len(YEARS), 1.0)
        points += [(left, frame.y(rate)), (right, frame.y(rate))]
    scene.line(points, COLOURS[3], 2)
    frame.labels(YEARS)
    told = dict(zip(YEARS, rates))
    return Chart(scene, Facts("Policy rate", "%", "year", told, frame.tolerance, ordered=True))


def drawdown(chance: Random, subject: Subject) -> Chart:
    """How far below its peak, from 0 downwards."""
    falls = [-float(fall) for fall in chance.sample(range(2, 46), len(YEARS))]
    scene = titled(f"Largest drawdown of the year, {subject.names[3]}", "%")
    frame = Frame.of(scene, falls)
    for at, fall in enumerate(falls):
        left, right = frame.slot(at, len(YEARS), 0.8)
        scene.box(left, frame.y(0), right, frame.y(fall), COLOURS[3])
    for at, year in enumerate(YEARS):
        scene.text(frame.x(at, len(YEARS)), frame.bottom + 16, year, 11, colour=GREY)
    told = dict(zip(YEARS, falls))
    return Chart(scene, Facts("Largest drawdown", "%", "year", told, frame.tolerance, ordered=True))


def depth(chance: Random, subject: Subject) -> Chart:
    """What is bid and offered, added up away from the middle."""
    middle = round(subject.high)
    sizes = [chance.randint(20, 90) for _ in range(8)]
    prices = [f"{middle + shown(0.5 * (n - 4) + 0.25):g}" for n in range(8)]
    bids, offers = sizes[:4], sizes[4:]
    sums = [*(float(sum(bids[at:])) for at in range(4)), *(float(sum(offers[: at + 1])) for at in range(4))]
    scene = titled(f"Market depth, {subject.names[4]}: bids (green) and offers (red), added up", "thousand lots")
    frame = Frame.of(scene, sums)
    for at, total in enumerate(sums):
        left, right = frame.slot(at, 8, 1.0)
        scene.box(left, frame.y(total), right, frame.bottom, "#7fbf9a" if at < 4 else "#dd8f8f")
    frame.labels(prices)
    return Chart(scene, Facts("Depth", "thousand lots", "price", dict(zip(prices, sums)), frame.tolerance))
