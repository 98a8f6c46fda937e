"""Cold starts on four hosts of 80 Mbit/s: the time to the first token of one worker and of pipelines, then merging.

All arms start by the same zygote (torch is imported), fetch over the same throttled networks (namespaces with a token
bucket of 16 KB where that can be had, else buckets in user space, which is printed), run one thread a host, and must
write the same text as one whole model in this process.

  serial   a worker starts, the file is fetched whole, then loaded, then it answers
  overlap  one worker that loads while it fetches
  pp2 pp4  two and four stages, each fetches its part; the first one has memory for all and takes over

The model of the repetitions is a Llama of random weights from a fixed seed, 80 MB in fp16; SmolLM2-135M-Instruct in
fp16 (269 MB) then runs once an arm. What is checked: no arm is faster than its bytes at the probed bandwidth, and no
ratio is larger than that of the bytes, each by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from inglenook.elastic.shape import Shape
from inglenook.fleet import safetensors
from inglenook.fleet.arena import Arena, token_bytes
from inglenook.fleet.cold.chunks import Cache, Fetch, Share
from inglenook.fleet.cold.hosts import Bucket, Host, Hosts
from inglenook.fleet.cold.machine import PRELOAD, Here
from inglenook.fleet.cold.pipeline import Pipeline, Source
from inglenook.fleet.cold.plan import Place, Plan
from inglenook.fleet.cold.split import cut
from inglenook.fleet.cold.store import Store
from inglenook.fleet.cold.zygote import Report, Zygote
from inglenook.fleet.convert import convert
from inglenook.fleet.iteration import Iteration, Piece, Sampling
from inglenook.fleet.manifest import Manifest
from inglenook.fleet.weights import Checkpoint, config, part_names, tensor_shape

from buildlib.project import ROOT, cache

RATE = 10e6  # bytes/s of a host, each way: 80 Mbit/s
CHUNK = 256 << 10
PAGES, TOKENS = 128, 16
PROMPT, SHORT, AFTER = 64, 24, 24  # tokens: of the prompt, of an answer at least, and written after the merging
ARMS = {"serial": 1, "overlap": 1, "pp2": 2, "pp4": 4}
SLACK = 1.05
KEY = b"only for workers of this bench"
GIGA = 1e9
SHAPE = Shape(
    layers=10, width=576, hidden=1536, heads=9, kv_heads=3, vocabulary=8192, context=2048, theta=1e4, epsilon=1e-5
)


@dataclass
class Row:
    """One start. Seconds; `pause` is between the two tokens about the merging; `reserved` is GB·s of weights until the
    first token, and until it was merged."""

    arm: str
    ttft: float
    tpot_before: float
    tpot_after: float
    pause: float
    merged: float
    reserved_first: float
    reserved_merged: float
    moved: int
    cpu: float
    load: float
    written: list[int]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All arms in turn, five times; then the real model once."""
    rounds = 1 if options.quick else 5
    folder = cache() / "bench" / "cold"
    preload = [*PRELOAD, __name__]
    with Hosts.open(4, RATE) as hosts, Store(folder, (hosts.gateway, 0)) as store, Zygote(preload) as zygote:
        zygote.wait()
        downs, ups = zip(*(hosts.probe(host) for host in hosts))
        told = "; ".join(f"{min(row) * 8e-6:.1f} to {max(row) * 8e-6:.1f} Mbit/s" for row in (downs, ups))
        print(f"  hosts: {hosts.kind}; down and up as probed: {told}", flush=True)
        bed = Bed(hosts, store, zygote, max(downs))
        rows = bed.measure("random", random_model(folder), rounds)
        real = [] if options.quick else bed.measure("smollm2", real_model(folder), 1)
    middle = {arm: median([row.ttft for row in rows if row.arm == arm]) for arm in ARMS}
    pp4 = [row for row in rows if row.arm == "pp4"]
    figures = {
        "cold_hosts": hosts.kind,
        "cold_ttft_s": {arm: spread([row.ttft for row in rows if row.arm == arm]) for arm in ARMS},
        "cold_pp4_vs_serial": round(middle["serial"] / middle["pp4"], 2),
        "cold_pp4_vs_overlap": round(middle["overlap"] / middle["pp4"], 2),
        "cold_pp2_vs_overlap": round(middle["overlap"] / middle["pp2"], 2),
        "consolidate_s": round(median([row.merged for row in pp4]), 2),
        "cold_tpot_ms": {
            arm: [round(1e3 * median([getattr(row, when) for row in rows if row.arm == arm]), 1)
                  for when in ("tpot_before", "tpot_after")] for arm in ARMS
        },
        "cold_pause_ms": {
            arm: spread([1e3 * row.pause for row in rows if row.arm == arm]) for arm in ("pp2", "pp4")
        },
        "cold_reserved_gb_s": {
            arm: [round(median([getattr(row, when) for row in rows if row.arm == arm]), 2)
                  for when in ("reserved_first", "reserved_merged")] for arm in ARMS
        },
        "cold_real": {row.arm: [round(row.ttft, 2), round(row.merged, 2)] for row in real},
        "cold_text_equal": True,
    }  # fmt: skip
    return figures


class Bed:
    """Hosts, a store and a zygote; `fastest` bytes/s is what any host was seen to take."""

    def __init__(self, hosts: Hosts, store: Store, zygote: Zygote, fastest: float) -> None:
        self.hosts, self.store, self.zygote, self.fastest = hosts, store, zygote, fastest

    def measure(self, name: str, folder: Path, rounds: int) -> list[Row]:
        """`rounds` interleaved starts of each arm, checked."""
        checkpoint = Checkpoint.open(folder)
        manifest = Manifest.of(folder / "model.safetensors", CHUNK)
        source = Source(checkpoint, manifest, self.store.url(folder.name, self.hosts.gateway))
        rng = np.random.default_rng(7)
        prompt = [int(token) for token in rng.integers(0, checkpoint.shape.vocabulary, PROMPT)]
        arms = list(ARMS)
        rows = []
        for turn in range(rounds):
            for arm in arms[turn % len(arms) :] + arms[: turn % len(arms)]:
                row = self.start(arm, source, prompt)
                rows.append(row)
                print(
                    f"  {name:8} {arm:8} first token {row.ttft:6.2f} s, merged {row.merged:6.2f} s, per token"
                    f" {1e3 * row.tpot_before:5.1f} → {1e3 * row.tpot_after:5.1f} ms, about the merging"
                    f" {1e3 * row.pause:5.1f} ms, {row.reserved_first:5.2f} and {row.reserved_merged:5.2f} GB·s,"
                    f" {row.moved:,} bytes of keys and values moved,"
                    f" cpu {row.cpu:.1f} s, load {row.load:.1f}",
                    flush=True,
                )
        truth = alone(checkpoint, prompt, max(len(row.written) for row in rows))
        largest = lambda degree: max(source.share([part]).size for part in cut(checkpoint, degree))
        sizes = {arm: largest(degree) for arm, degree in ARMS.items()}
        for row in rows:
            assert row.written == truth[: len(row.written)], f"{row.arm} wrote another text"
            floor = sizes[row.arm] / self.fastest
            assert row.ttft * SLACK >= floor, f"{row.arm}: {row.ttft:.2f} s, its bytes take {floor:.2f} s"
        overlap, pp4 = (median([row.ttft for row in rows if row.arm == arm]) for arm in ("overlap", "pp4"))
        assert overlap / pp4 <= SLACK * sizes["overlap"] / sizes["pp4"], "faster than the bytes allow"
        return rows

    def start(self, arm: str, source: Source, prompt: Sequence[int]) -> Row:
        """From the request to its last token."""
        degree = ARMS[arm]
        plan = Plan(tuple(Place(f"h{i}", full=i == 0) for i in range(degree)), ttft=0, tpot=0, met=True)
        machines = {host.name: Here(host, self.zygote, KEY) for host in self.hosts}
        load, used, began = os.getloadavg()[0], processor(self.zygote.pid), time.monotonic()
        kept = Path(f"/dev/shm/nook-cold-{os.getpid()}") if arm == "serial" else None
        if kept:
            download(self.zygote, self.hosts[0], source, kept)
        pipeline = Pipeline.start(
            source, plan, machines, pages=PAGES, tokens=TOKENS, cache=str(kept or ""), merges=degree > 1
        )
        try:
            written, times, reserved = decode(pipeline, prompt, began)
            done = next((at for at, what in pipeline.events if what == "merged"), times[0])
        finally:
            pipeline.close()
            if kept:
                shutil.rmtree(kept)
        steps = [(at, at - before) for before, at in pairwise(times)]
        early = [took for at, took in steps if at <= done] or [took for _, took in steps]
        late = [took for at, took in steps if at > done] or early
        pause = next((took for at, took in steps if at > done), 0.0)
        until = lambda end: sum(size * (min(at, end) - was) for was, at, size in reserved if was < end) / GIGA
        return Row(
            arm, times[0], median(early), median(late), pause, done, until(times[0]), until(done), pipeline.moved,
            processor(self.zygote.pid) - used, load, written,
        )  # fmt: skip


def decode(pipeline: Pipeline, prompt: Sequence[int], began: float) -> tuple[list[int], list[float], list[Any]]:
    """Greedy tokens until the pipeline has merged and some more; when each came; (from, to, bytes reserved)."""
    arena = Arena(PAGES, TOKENS)
    arena.register("model", 1)
    pipeline.admit("r", Sampling())
    pages: list[int] = []
    todo, at, written, times, reserved = list(prompt), 0, [], [], []
    before, left = 0.0, AFTER
    while len(written) < SHORT or left:
        pages += arena.take("model", arena.pages_for("model", at + len(todo)) - len(pages))
        held = pipeline.reserved
        made = pipeline.run(Iteration("model", (Piece("r", tuple(todo), at, tuple(pages), wants=True),)))
        at += len(todo)
        todo = [made["r"]]
        written += todo
        times.append(time.monotonic() - began)
        reserved.append((before, times[-1], held))
        before = times[-1]
        if pipeline.merged or not pipeline.merges:
            left = max(left - 1, 0)
    return written, times, reserved


def download(zygote: Zygote, host: Host, source: Source, folder: Path) -> None:
    """What the serial arm does first: a process on the host fetches the whole file."""
    share = Share.of(source.checkpoint, source.manifest, source.url, source.checkpoint.places)
    spec = folder.with_suffix(".json")
    spec.write_text(json.dumps(share.told()))
    told = {"share": str(spec), "folder": str(folder), "down": host.down, "rate": host.rate}
    zygote.spawn(f"{__name__}:fetched", told, host.namespace).kill()
    spec.unlink()


def fetched(spec: dict[str, Any], report: Report) -> None:
    """Runs on the host: fetch everything into the cache, then report."""
    share = Share.heard(json.loads(Path(spec["share"]).read_text()))
    pace = Bucket(spec["down"], spec["rate"]).take if spec["down"] else lambda size: None
    with Fetch(share, cache=Cache(Path(spec["folder"])), pace=pace) as fetch:
        for _ in fetch:
            pass
    report({"received": fetch.received})


def alone(checkpoint: Checkpoint, prompt: Sequence[int], count: int) -> list[int]:
    """What one whole model in this process writes."""
    import torch
    from inglenook.fleet.torch.executor import Executor
    from inglenook.fleet.torch.memory import Cache as Kept
    from inglenook.fleet.torch.memory import Memory
    from inglenook.fleet.torch.stage import Stage

    torch.set_num_threads(1)
    shape = checkpoint.shape
    memory = Memory(PAGES, TOKENS * token_bytes(shape, 4))
    executor = Executor()
    executor.add("model", [Stage.whole(checkpoint, Kept(memory, shape, 0, shape.layers, tokens=TOKENS))])
    executor.admit("r", Sampling())
    todo, at, written, pages = list(prompt), 0, [], tuple(range(PAGES))
    while len(written) < count:
        made = executor.run(Iteration("model", (Piece("r", tuple(todo), at, pages, wants=True),)))
        at += len(todo)
        todo = [made["r"]]
        written += todo
    return written


def random_model(folder: Path) -> Path:
    """The Llama of random weights, made once."""
    path = folder / "random"
    if not (path / "config.json").exists():
        path.mkdir(parents=True, exist_ok=True)
        names = part_names(0, SHAPE.layers, embeds=True, heads=True, tied=True)
        sizes = [tensor_shape(SHAPE, name) for name in names]
        rng = np.random.default_rng(20250215)
        values = (weights(rng, size) for size in sizes)
        entries = [(name, "F16", size) for name, size in zip(names, sizes)]
        safetensors.write(path / "model.safetensors", entries, values)
        (path / "config.json").write_text(config(SHAPE, tied=True, kind="F16"))
    return path


def weights(rng: np.random.Generator, size: Sequence[int]) -> np.ndarray:
    """Norms near one, matrices that keep the variance."""
    if len(size) == 1:
        return np.ones(size, "<f2")
    return (rng.standard_normal(size) / np.sqrt(size[1])).astype("<f2")


def real_model(folder: Path) -> Path:
    """SmolLM2-135M-Instruct in fp16, made once of the build's file."""
    path = folder / "smollm2"
    if not (path / "config.json").exists():
        convert(next((ROOT / "static" / "models").glob("SmolLM2*.gguf")), path, "F16", CHUNK)
    return path


def processor(pid: int) -> float:
    """Processor seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def spread(values: Sequence[float]) -> list[float]:
    """Median and quartiles."""
    if len(values) < 2:
        return [round(values[0], 2)] * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return [round(middle, 2), round(low, 2), round(high, 2)]
