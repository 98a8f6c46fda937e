"""Charts that are neither bars nor series: boxes, violins, pie, maps, scatter, heat map, risk matrix, table."""

from __future__ import annotations

import math
from itertools import product
from random import Random

from inglenook.evals.charts.bars import parts, values
from inglenook.evals.charts.plot import Chart, Facts, Frame, nice, number, shade, titled
from inglenook.evals.charts.scene import COLOURS, GREY, INK, PALE
from inglenook.evals.charts.subject import MARKETS, Subject


def boxes(chance: Random, subject: Subject) -> Chart:
    """Quartiles and ends of each; asked are medians."""
    told = dict(zip(subject.names[:5], values(chance, subject, 5)))
    spread = (subject.high - subject.low) / 8
    scene = titled(f"{subject.quantity} by {subject.noun}: median, quartiles, range", subject.unit)
    ends = [(m - spread * chance.uniform(1.4, 2.2), m + spread * chance.uniform(1.4, 2.2)) for m in told.values()]
    frame = Frame.of(scene, [end for pair in ends for end in pair], zero=False)
    for at, (median, (low, high)) in enumerate(zip(told.values(), ends)):
        left, right = frame.slot(at, 5, 0.5)
        middle = (left + right) / 2
        scene.line([(middle, frame.y(low)), (middle, frame.y(high))], INK)
        top = frame.y(median + spread * chance.uniform(0.4, 1))
        bottom = frame.y(median - spread * chance.uniform(0.4, 1))
        scene.box(left, top, right, bottom, "#a9c6e8")
        scene.line([(left, frame.y(median)), (right, frame.y(median))], COLOURS[3], 2.5)
    frame.labels(list(told))
    return Chart(scene, Facts(f"Median {subject.quantity}", subject.unit, subject.noun, told, frame.tolerance))


def violins(chance: Random, subject: Subject) -> Chart:
    """Densities of each, with a dot at the median."""
    told = dict(zip(subject.names[:4], values(chance, subject, 4)))
    spread = (subject.high - subject.low) / 7
    scene = titled(f"{subject.quantity} by {subject.noun}: density, median as a dot", subject.unit)
    frame = Frame.of(scene, [min(told.values()) - 2 * spread, max(told.values()) + 2 * spread], zero=False)
    for at, median in enumerate(told.values()):
        left, right = frame.slot(at, 4, 0.6)
        middle, half = (left + right) / 2, (right - left) / 2
        rim = [(half * math.exp(-((n / 8) ** 2) * 2), frame.y(median + 2 * spread * n / 16)) for n in range(-16, 17)]
        scene.area([(middle + w, y) for w, y in rim] + [(middle - w, y) for w, y in reversed(rim)], "#b9d7b9")
        scene.disc(middle, frame.y(median), 4, INK)
    frame.labels(list(told))
    return Chart(scene, Facts(f"Median {subject.quantity}", subject.unit, subject.noun, told, frame.tolerance))


def pie(chance: Random, subject: Subject) -> Chart:
    """Parts of a whole, each with its share printed."""
    shares = parts(chance, 5)
    scene = titled(f"{subject.quantity}: share by {subject.noun}", "%")
    turn = 0.0
    for name, share, colour in zip(subject.names, shares, COLOURS):
        scene.wedge((300, 225), 130, turn, turn + share / 100, colour)
        angle = 2 * math.pi * (turn + share / 200)
        x, y = 300 + 150 * math.sin(angle), 225 - 150 * math.cos(angle)
        scene.text(x, y, f"{name} {share}%", 12, "start" if x > 300 else "end")
        turn += share / 100
    told = dict(zip(subject.names, map(float, shares)))
    return Chart(scene, Facts("Share", "%", subject.noun, told, adds=True))


REGIONS = ("North", "Lakes", "Coast", "Hills", "Centre", "Bay", "West", "Plains", "Port", "South", "Delta", "East")


def tiles(chance: Random, subject: Subject) -> Chart:
    """A map of equal tiles, the darker the more; the numbers are printed."""
    found = values(chance, subject, 12)
    scene = titled(f"{subject.quantity} by region ({chance.choice(MARKETS)})", subject.unit)
    for at, (region, value) in enumerate(zip(REGIONS, found)):
        left, top = 120 + 102 * (at % 4) + 24 * (at // 4 % 2), 75 + 104 * (at // 4)
        share = (value - subject.low) / (subject.high - subject.low)
        scene.box(left, top, left + 96, top + 98, shade(share))
        ink = "#ffffff" if share > 0.5 else INK
        scene.text(left + 48, top + 36, region, 12, colour=ink)
        scene.text(left + 48, top + 60, number(value), 13, colour=ink)
    return Chart(scene, Facts(subject.quantity, subject.unit, "region", dict(zip(REGIONS, found))))


def bubbles(chance: Random, subject: Subject) -> Chart:
    """Places on a coast, the larger the more; the numbers are printed."""
    names, found = REGIONS[:7], values(chance, subject, 7)
    scene = titled(f"{subject.quantity} by place ({chance.choice(MARKETS)})", subject.unit)
    coast = [(60 + 40 * n, 330 + 40 * math.sin(n / 1.7) + chance.uniform(-8, 8)) for n in range(14)]
    scene.area([(60, 64), (580, 64), *reversed(coast)], "#eef0e6")
    for at, (name, value) in enumerate(zip(names, found)):
        x, y = 120 + 62 * at, 120 + 105 * (at % 2) + chance.uniform(-12, 12)
        radius = 8 + 24 * math.sqrt(value / subject.high)
        scene.disc(x, y, radius, "#e0a070")
        scene.text(x, y - radius - 9, name, 11)
        scene.text(x, y, number(value), 11)
    return Chart(scene, Facts(subject.quantity, subject.unit, "place", dict(zip(names, found))))


def scatter(chance: Random, subject: Subject) -> Chart:
    """Return over risk, each dot with its name; asked are returns."""
    returns = dict(zip(subject.names, chance.sample(range(2, 30), 6)))
    risks = [3 + 5 * n + chance.uniform(-1, 1) for n in range(6)]
    chance.shuffle(risks)
    scene = titled(f"Return and risk by {subject.noun}", "return in %, upwards; risk in %, to the right")
    frame = Frame.of(scene, list(returns.values()))
    ticks = nice(0, max(risks))
    for tick in ticks:
        x = frame.left + (frame.right - frame.left - 40) * tick / ticks[-1]
        scene.line([(x, frame.bottom), (x, frame.bottom + 5)], GREY)
        scene.text(x, frame.bottom + 16, number(tick), 11, colour=GREY)
    for (name, gain), risk, colour in zip(returns.items(), risks, COLOURS):
        x = frame.left + (frame.right - frame.left - 40) * risk / ticks[-1]
        scene.disc(x, frame.y(gain), 5, colour)
        scene.text(x + 9, frame.y(gain), name, 11, "start")
    told = {name: float(gain) for name, gain in returns.items()}
    return Chart(scene, Facts("Return", "%", subject.noun, told, frame.tolerance))


def heat(chance: Random, subject: Subject) -> Chart:
    """Correlations of five with one another, printed; asked is the first row."""
    names = subject.names[:5]
    scene = titled(f"Correlation by {subject.noun}", "")
    row = [n / 100 for n in chance.sample(range(-60, 96), 4)]
    for (at, one), (below, other) in product(enumerate(names), repeat=2):
        if at == below:
            value = 1.0
        elif 0 in (at, below):
            value = row[max(at, below) - 1]
        else:
            value = Random(f"{min(at, below)} {max(at, below)} {row[0]}").randint(-60, 95) / 100
        left, top = 130 + 92 * at, 88 + 62 * below
        scene.box(left, top, left + 90, top + 60, shade((value + 1) / 2))
        scene.text(left + 45, top + 30, f"{value:.2f}", 12, colour="#ffffff" if value > 0 else INK)
        if below == 0:
            scene.text(left + 45, 76, one, 11)
        if at == 0:
            scene.text(120, top + 30, other, 11, "end")
    return Chart(scene, Facts(f"Correlation with {names[0]}", "", subject.noun, dict(zip(names[1:], row))))


def risks(chance: Random, subject: Subject) -> Chart:
    """Dangers by likelihood and damage, each a numbered field; asked is the score, the product of both."""
    names = ("Fraud", "Outage", "Default", "Lawsuit", "Strike", "Recall")
    fields = chance.sample([(a, b) for a, b in product(range(1, 6), repeat=2)], 25)
    chosen: list[tuple[int, int]] = []
    for a, b in fields:
        if len(chosen) < len(names) and all(a * b != c * d for c, d in chosen):
            chosen.append((a, b))
    scene = titled(f"Risk matrix, {subject.names[5]} (score: likelihood times damage)", "points")
    for a, b in product(range(1, 6), repeat=2):
        left, top = 40 + 90 * a, 375 - 58 * b
        scene.box(left, top, left + 88, top + 56, ("#dcecd9", "#f6eec2", "#f3d3ae", "#eab0a0")[min(3, a * b // 6)])
    for n in range(1, 6):
        scene.text(84 + 90 * n, 385, f"{n}", 11, colour=GREY)
        scene.text(112, 403 - 58 * n, f"{n}", 11, "end", colour=GREY)
    scene.text(355, 403, "Likelihood", 12)
    scene.text(20, 200, "Damage", 12, "start")
    for name, (a, b) in zip(names, chosen):
        scene.text(84 + 90 * a, 403 - 58 * b, name, 12)
    told = {name: float(a * b) for name, (a, b) in zip(names, chosen)}
    return Chart(scene, Facts("Risk score", "points", "risk", told))


def table(chance: Random, subject: Subject) -> Chart:
    """Numbers of three years; asked is the last."""
    years = ("2022", "2023", "2024E")
    last = values(chance, subject, 6)
    scene = titled(f"{subject.quantity} by {subject.noun} and year", subject.unit)
    for at, year in enumerate(("", *years)):
        scene.text(200 + 120 * at, 86, year, 12, "end", colour=GREY)
    for below, (name, value) in enumerate(zip(subject.names, last)):
        y = 122 + 42 * below
        scene.line([(60, y - 20), (600, y - 20)], PALE)
        scene.text(70, y, name, 13, "start")
        for at, cell in enumerate((*values(chance, subject, 2), value), 1):
            scene.text(200 + 120 * at, y, number(cell), 13, "end")
    told = dict(zip(subject.names, last))
    return Chart(scene, Facts(f"{subject.quantity} in 2024E", subject.unit, subject.noun, told))
