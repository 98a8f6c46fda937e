"""The command line of the fleet: `inglenook fleet convert MODEL -o DIR`, `… verify DIR`, `… host --key FILE`."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from pathlib import Path

from inglenook.errors import NookError
from inglenook.evals.command import positive


def add(command: argparse.ArgumentParser) -> None:
    """The options of `inglenook fleet`."""
    kinds = command.add_subparsers(required=True, metavar="WHAT")
    about = "make of a model file what workers fetch: safetensors in the order they are needed, with sums of chunks"
    convert = kinds.add_parser("convert", help=about, description=about.capitalize() + ".")
    convert.set_defaults(command=_convert)
    convert.add_argument("model", type=Path, help="a .gguf file, or a folder of config.json and *.safetensors")
    convert.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the folder to write")
    convert.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="of the weights (float16)")
    convert.add_argument(
        "--chunk", type=positive, default=4, metavar="MIB", help="size of the chunks that have a sum (4)"
    )
    about = "check the weights in such a folder against their sums"
    verify = kinds.add_parser("verify", help=about, description=about.capitalize() + ".")
    verify.set_defaults(command=_verify)
    verify.add_argument("folder", type=Path, metavar="DIR")
    about = "hold workers ready on this machine for a gateway that has the same key; see [hosts.NAME] of a fleet's file"
    host = kinds.add_parser("host", help=about, description=f"H{about[1:]}.")
    host.set_defaults(command=_host)
    host.add_argument("--key", type=Path, required=True, metavar="FILE", help="a key that all machines of a fleet have")
    host.add_argument(
        "--listen", type=_address, default=("127.0.0.1", 4100), metavar="ADDRESS:PORT",
        help="where, on a network of your own: nothing is encrypted (127.0.0.1:4100)",
    )  # fmt: skip
    host.add_argument("--threads", type=positive, default=os.cpu_count() or 1, help="of each worker (all processors)")


def _address(said: str) -> tuple[str, int]:
    name, _, port = said.rpartition(":")
    if not name or not port.isdecimal() or int(port) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{said} is no ADDRESS:PORT")
    return name, int(port)


def _convert(options: argparse.Namespace) -> int:
    from inglenook.fleet.convert import convert

    kind = {"float16": "F16", "float32": "F32"}[options.dtype]
    made = convert(options.model, options.output, kind, options.chunk << 20)
    print(f"{options.output}: {made.size:,} bytes in {len(made.sums)} chunks")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from inglenook.fleet.convert import CHUNKS
    from inglenook.fleet.manifest import Manifest

    listed = options.folder / CHUNKS
    if not listed.is_file():
        raise NookError(
            "model-missing", f"There is no {CHUNKS} at {options.folder}.", "Make it: inglenook fleet convert."
        )
    manifest = Manifest.parse(listed.read_bytes())
    manifest.verify(options.folder / Path(manifest.file).name)
    print(f"{options.folder}: all {len(manifest.sums)} chunks are what they should be")
    return 0


def _host(options: argparse.Namespace) -> int:
    from inglenook.fleet.cold.channel import read_key
    from inglenook.fleet.cold.host import Host

    with suppress(KeyboardInterrupt), Host(options.listen, read_key(options.key), options.threads) as host:
        host.wait()
        print(f"Workers can be had at {host.address[0]}:{host.address[1]}. Ctrl+C ends them.", flush=True)
        host.run()
    return 0
