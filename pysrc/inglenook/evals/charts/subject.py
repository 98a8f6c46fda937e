"""What a chart is about: FinMME's 18 domains and 6 asset classes, each with names and quantities that fit. All of it is
made up, so nothing can be known without the picture."""

from __future__ import annotations

from dataclasses import dataclass

ASSETS = ("Equity", "Foreign Exchange", "Rates", "Commodity", "Credits", "Cross-Asset")
MARKETS = ("United States", "China", "Europe", "Japan", "Emerging markets", "Global")


@dataclass(frozen=True, slots=True)
class Subject:
    """`names` are what is compared, all of them a `noun`; `quantity` is measured in `unit`, from `low` to `high`."""

    domain: str
    asset: str
    noun: str
    names: tuple[str, ...]
    quantity: str
    unit: str
    low: float
    high: float


def _of(domain: str, asset: str, noun: str, names: str, measure: str, *span: float) -> Subject:
    quantity, _, unit = measure.partition(" | ")
    return Subject(domain, asset, noun, tuple(names.split(", ")), quantity, unit, *span)


SUBJECTS = (
    _of("TMT", "Equity", "company", "Aldex, Brivon, Cortal, Dynami, Evora, Fenwik", "Cloud revenue | USD bn", 4, 60),
    _of("Consumer", "Equity", "brand", "Amala, Borello, Cassia, Dunmore, Elvin, Farro", "Sales | USD m", 120, 900),
    _of("Pharmaceuticals & Biotechnology", "Equity", "drug", "Avelin, Bryza, Calmor, Dexira, Entova, Fluvex",
        "Peak sales | USD m", 150, 950),
    _of("Financials", "Credits", "bank", "Arden, Bexley, Corfe, Dover, Elgin, Frome", "Loan growth | %", 1, 18),
    _of("Real Estate & Construction", "Credits", "city", "Norvik, Ostra, Pavel, Quill, Rosby, Selm",
        "Vacancy rate | %", 2, 24),
    _of("Industrials & Manufacturing", "Equity", "segment", "Pumps, Robots, Valves, Drives, Tools, Lifts",
        "Orders | EUR m", 110, 800),
    _of("Energy & Utilities", "Commodity", "source", "Gas, Wind, Solar, Hydro, Coal, Nuclear", "Output | TWh", 5, 90),
    _of("Materials & Chemicals", "Commodity", "metal", "Copper, Nickel, Zinc, Tin, Lead, Cobalt",
        "Inventory | kt", 10, 95),
    _of("Military & Defense", "Equity", "programme", "Falcon, Gannet, Heron, Ibis, Jackdaw, Kestrel",
        "Backlog | USD bn", 3, 45),
    _of("Transportation & Logistics", "Equity", "port", "Alvik, Bremo, Caspar, Delfin, Emden, Foss",
        "Throughput | m TEU", 2, 40),
    _of("Macroeconomic Research", "Foreign Exchange", "country", "Arvonia, Belmark, Cordova, Darnia, Estland, Freya",
        "GDP growth | %", 0.5, 9),
    _of("Strategy Research", "Cross-Asset", "style", "Value, Growth, Quality, Size, Momentum, Yield",
        "Score | points", 10, 95),
    _of("Broad Asset Allocation", "Cross-Asset", "asset", "Stocks, Bonds, Gold, Cash, Property, Timber",
        "Allocation score | points", 5, 60),
    _of("Equity Research", "Equity", "stock", "ALX, BRV, CRT, DYN, EVR, FNW", "Earnings per share | USD", 1, 15),
    _of("Fixed Income", "Rates", "maturity", "1Y, 2Y, 5Y, 7Y, 10Y, 30Y", "Yield | %", 1, 7),
    _of("Fixed Income Quantitative", "Rates", "factor", "Level, Slope, Curve, Carry, Roll, Swap",
        "Exposure | bp", 10, 95),
    _of("Derivatives & Commodities", "Commodity", "contract", "Wheat, Corn, Sugar, Cocoa, Coffee, Cotton",
        "Open interest | k lots", 110, 900),
    _of("Fund Products", "Foreign Exchange", "fund", "Alba, Boreal, Cirrus, Delta, Ember, Fjord",
        "Net inflow | USD m", 20, 98),
)  # fmt: skip
