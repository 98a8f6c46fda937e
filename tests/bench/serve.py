"""Servers that many models share: the schedulers, the simulator, cold starts, the gateway.

python3 build.py bench serve [PART …] [--quick] [--force]

sharing-sim   policies over utilisation x burstiness, simulated
simulator     the simulator against measured iterations it was not fitted to
sharing       policies on real engines
cold-sim      starts of many models from a trace, simulated
cold          starts of one model on hosts whose network is throttled
waking        the first token of a fleet's model without weights, or whose worker is gone
gateway       what the gateway adds to a token, what connections cost
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import coldsim
import coldstart
import gateway
import sharing
import sharing_real
import waking
from harness import quiet

from buildlib import venv

Part = Callable[[argparse.Namespace], dict[str, Any]]
PARTS: dict[str, Part] = {
    "sharing-sim": sharing.run,
    "simulator": sharing_real.simulator,
    "sharing": sharing_real.run,
    "cold-sim": coldsim.run,
    "cold": coldstart.run,
    "waking": waking.run,
    "gateway": gateway.run,
}
CALM = {"sharing-sim", "cold-sim"}
"""Parts whose figures do not depend on what else the machine does."""
LIGHT = {*CALM, "gateway"}
"""Parts that need no torch."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py bench serve", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter ones")
    parser.add_argument("--at", type=float, nargs="+", metavar="SHARE", help="utilisations of the part sharing")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine, too")
    options = parser.parse_args()
    wanted = options.parts or list(PARTS)
    if unknown := set(wanted) - PARTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; one of {', '.join(PARTS)}")
    if not {*wanted} <= LIGHT:
        venv.extra("train", "torch")
    figures: dict[str, Any] = {"load_average": os.getloadavg()[0] if {*wanted} <= CALM else quiet()}
    for name in wanted:
        print(f"· {name}", flush=True)
        figures |= PARTS[name](options)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
