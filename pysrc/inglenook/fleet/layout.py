"""From a configuration to what each worker is given: sizes of the models, measured speeds, who shares a worker.

layout = Layout(config, "inglenook.fleet.torch.engine:Engine")
layout.measure(runtime, print)          # once; it is kept in the file `config.profiles`
layout.specs(layout.first())            # the models of each worker, and how it is started
layout.replaced(…)                      # which models share a worker from now on, by the load of late
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np

from inglenook.depth import parse
from inglenook.errors import NookError
from inglenook.fleet.arena import token_bytes
from inglenook.fleet.calibrate import TERMS, fit
from inglenook.fleet.cold.driver import Piped
from inglenook.fleet.cold.plan import Wanted
from inglenook.fleet.config import ITEMS, Config, Model
from inglenook.fleet.host import Lot
from inglenook.fleet.placement import Placement, Plan
from inglenook.fleet.policy import spatial
from inglenook.fleet.profile import Profile
from inglenook.fleet.replacement import Replacement
from inglenook.fleet.request import Request
from inglenook.fleet.runtime import Runtime, Spec, named
from inglenook.fleet.service import Rate, Service
from inglenook.fleet.simulate import STOP, Arrival
from inglenook.fleet.weights import Checkpoint

HOST, VLLM = "inglenook.fleet.host:Host", "inglenook.fleet.vllm:open"
PIPES = "inglenook.fleet.cold.driver:Driver"
CLASSES = {"doubling": "Doubling", "fcfs": "FirstCome", "roundrobin": "RoundRobin", "adbs": "AdaptiveBatches"}
PATIENCE = 120.0  # seconds that a worker may be silent
BEGIN = 900.0  # seconds that a worker may need to start: vLLM compiles, and loads weights before
SAMPLE, BUSY = 40, 0.6  # requests that placement simulates, and how busy they keep the workers
RARE = 1e-9  # requests a second of a model that nobody asks
NUMBER, BANDWIDTH, FLOPS = 4, 10e9, 50e9  # of a host's processor: bytes of a number, bytes/s, FLOP/s, until it is known
PER_PAGE, PAGE = 16, 1 << 14  # a page holds so many tokens of the largest model, and so many bytes, at least


class Layout:
    """`engine` is "module:Class", as `host.Engine`. Raises NookError("fleet" | "model-…"): models that do not fit."""

    def __init__(self, config: Config, engine: str) -> None:
        self.config, self._engine = config, engine
        self.services: dict[str, Service] = {}
        self._shared: list[Service] = []  # those that share workers
        self._piped: dict[str, Piped] = {}  # those that run on the hosts
        item, heads = ITEMS[config.dtype], 1
        for model in config.models.values():
            if model.engine == "vllm":
                self.services[model.name] = Service(model.name, Profile(1, 0, 0), 1, self._context(model))
                continue
            checkpoint = Checkpoint.open(model.weights)
            shape = checkpoint.shape
            if model.context > shape.context:
                what = f"models.{model.name}.context is {model.context:,} tokens"
                raise self._wrong(what, f"The model reads {shape.context:,}: say less, or leave it out.")
            weights = sum(place.end - place.start for place in checkpoint.places.values())
            context = model.context or shape.context
            if model.engine == "pipeline":
                self._piped[model.name] = self._pipe(model, checkpoint, context)
                self.services[model.name] = self._piped[model.name].service
                continue
            each = token_bytes(shape, item)
            known = Service(model.name, Profile(1, 0, 0), each, context, weights=weights, rate=Rate(model.share))
            self.services[model.name] = known
            self._shared.append(known)
            heads = math.lcm(heads, shape.head * item)
        largest = max((service.token_bytes for service in self._shared), default=0)
        self.page_bytes = -(-max(PER_PAGE * largest, PAGE) // heads) * heads
        self.pages = config.arena // self.page_bytes
        self.workers = min(config.workers, len(self._shared))  # of those; vLLM's are beside them
        self._policy = "fcfs" if config.policy == "spatial" else config.policy
        for service in self._shared:
            if config.policy != "spatial":
                service.floor = int(config.models[service.name].floor * self.pages)
            needed = -(-service.context // (self.page_bytes // service.token_bytes))
            if needed > self.pages:
                what = f"one request of {service.name} may need {needed * self.page_bytes >> 20:,} MiB"
                raise self._wrong(what, f"Give `arena` more, or models.{service.name} a smaller `context`.")

    def measure(self, runtime: Runtime, told: Callable[[str], None]) -> None:
        """Give each service its profile: the one that is kept, or a new one, which is kept from now on. `told` hears
        what is measured. Raises NookError("worker-lost" | "worker-slow" | …)."""
        file = self.config.profiles
        try:
            rows = json.loads(file.read_text("utf-8")).items()
            kept = {key: Profile(*map(float, row)) for key, row in rows if len(row) == TERMS}
        except (OSError, ValueError, TypeError, AttributeError):
            kept = {}  # none yet, or damaged: they are measured again
        keys = {service.name: self._key(service) for service in self._shared}
        missing = list({key: name for name, key in keys.items() if key not in kept}.values())
        if missing:
            told(f"measuring {', '.join(missing)} …")
            some = [replace(self.services[name].fresh(), floor=0) for name in missing]
            worker = runtime.spawn(self._spec("measuring", some, self.pages))
            try:
                asked = [worker.submit("measure", name) for name in missing]  # at once: it loads one at a time
                worker.ready(PATIENCE)
                for name, measured in zip(missing, asked, strict=True):
                    kept[keys[name]] = fit(measured.result())
            finally:
                worker.close()
            part = file.with_name(f"{file.name}.part")
            try:
                part.write_text(json.dumps({key: astuple(row) for key, row in kept.items()}, indent=1), "utf-8")
                part.replace(file)
            except OSError as error:
                told(f"{file} can't be written ({error.strerror}): speeds will be measured again")
        for service in self._shared:
            service.profile = kept[keys[service.name]]

    def first(self) -> Plan:
        """Which models share a worker, for requests in the proportions of their shares. Raises
        NookError("placement")."""
        if not self._shared:
            return ()
        shares = np.array([self.config.models[one.name].share for one in self._shared], dtype=float)
        alone = [one.profile.alone(round(one.prompts.mean), round(one.outputs.mean)) for one in self._shared]
        rates = BUSY * self.workers * shares / float(shares @ alone)
        return self._placement(
            [replace(one, rate=Rate(rate)) for one, rate in zip(self._shared, rates.tolist())]
        ).best()

    def replaced(
        self, services: Mapping[str, Service], current: Plan, replacement: Replacement, now: float
    ) -> tuple[Plan, Replacement]:
        """What `Replacement.consider` says of services as they are asked now, and when to look again."""
        return replacement.consider(self._placement([*services.values()], now), services, current, now), replacement

    def again(self) -> Spec:
        """Another of these, in a process of its own."""
        return Spec("placing", "inglenook.fleet.layout:Layout", (self.config, self._engine))

    def specs(self, plan: Plan) -> list[tuple[list[str], Spec]]:
        """The models of each worker, and how it is started, in the order of the plan; with spatial sharing every model
        has one of its own, and a part of the arena, and with vLLM one beside the others."""
        groups: list[tuple[tuple[str, ...], list[Service], int]] = []
        for group in plan:
            if self.config.policy == "spatial":
                some = [self.services[name] for name in group.services]
                parts = [loop for loop, _ in spatial.processes(some, self.pages, self.page_bytes)] if some else []
                groups += [(tuple(loop.services), [*loop.services.values()], loop.arena.pages) for loop in parts]
            else:
                groups.append((group.services, self._shared, self.pages))
        specs = [
            ([*names], self._spec(f"worker {n}", some, pages, names))
            for n, (names, some, pages) in enumerate(groups, 1)
        ]
        alone = [model for model in self.config.models.values() if model.engine == "vllm"]
        specs += [([one.name], self._alone(f"worker {n}", one)) for n, one in enumerate(alone, len(specs) + 1)]
        if self._piped:
            config, name = self.config, f"worker {len(specs) + 1}"
            specs.append(([*self._piped], Spec(name, PIPES, (config.key, config.sites, [*self._piped.values()]))))
        return specs

    def _spec(self, name: str, some: Sequence[Service], pages: int, here: Sequence[str] = ()) -> Spec:
        config = self.config
        models = tuple((one, config.models[one.name].weights.resolve(), config.models[one.name].idle) for one in some)
        lot = Lot(
            self._scheduler, self._engine, pages, self.page_bytes, config.device, config.dtype, models, tuple(here)
        )
        return Spec(name, HOST, (lot,), config.threads, gpus=float(lot.device.startswith("cuda")))

    def _alone(self, name: str, model: Model) -> Spec:
        """A worker of vLLM, in one process: ours may have no children."""
        told = {**model.options, "max_model_len": self.services[model.name].context}
        cards = model.options.get("tensor_parallel_size", 1) if self.config.device.startswith("cuda") else 0
        env = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        return Spec(name, VLLM, (model.name, str(model.weights.resolve()), told), self.config.threads, cards, env=env)

    def _pipe(self, model: Model, checkpoint: Checkpoint, context: int) -> Piped:
        """What the worker of all pipelines is told of a model. The hosts compute with numbers of `NUMBER` bytes."""
        places, each = checkpoint.places.values(), token_bytes(checkpoint.shape, NUMBER)
        count = sum(math.prod(place.shape) for place in places)
        pages, memory = self.config.arena // (PER_PAGE * each), NUMBER * count + self.config.arena
        if -(-context // PER_PAGE) > pages:
            what = f"one request of {model.name} may need {context * each >> 20:,} MiB"
            raise self._wrong(what, f"Give `arena` more, or models.{model.name} a smaller `context`.")
        if memory > max(site.memory for site in self.config.sites):
            what = f"models.{model.name} needs {memory >> 20:,} MiB on one of the hosts"
            raise self._wrong(what, "Give a host more `memory`, or all less `arena`.")
        guess = Profile.roofline(count, each, bandwidth=BANDWIDTH, flops=FLOPS, weight_bytes=NUMBER)
        first, token = (ms / 1e3 if ms else math.inf for ms in (model.slo.first, model.slo.token))
        return Piped(
            Service(model.name, guess, each, context, weights=sum(place.end - place.start for place in places)),
            model.weights.resolve(), model.url, Wanted(first, token), model.idle, pages, PER_PAGE, memory,
        )  # fmt: skip

    def _context(self, model: Model) -> int:
        """How many tokens a model of vLLM's reads."""
        try:
            said = parse((model.weights / "config.json").read_bytes())
            most = int(said.get("text_config", said)["max_position_embeddings"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if model.context:
                return model.context
            what = f"models.{model.name}.context is not in its config.json"
            raise self._wrong(what, "Say how many tokens it reads.") from error
        if model.context > most:
            what = f"models.{model.name}.context is {model.context:,} tokens"
            raise self._wrong(what, f"The model reads {most:,}: say less, or leave it out.")
        return model.context or most

    @property
    def _scheduler(self) -> str:
        return f"inglenook.fleet.policy.{self._policy}:{CLASSES[self._policy]}"

    def _key(self, service: Service) -> str:
        """What a measured speed is of."""
        path, config = self.config.models[service.name].weights, self.config
        changed = (path if path.is_file() else path / "config.json").stat().st_mtime_ns
        return f"{path.resolve()} {service.weights} {changed} {config.device} {config.dtype} {config.threads}"

    def _placement(self, services: Sequence[Service], now: float = 0.0) -> Placement:
        """Of these, for requests as they come now. Weights are not in the arena."""
        rates = np.array([max(one.rate.at(now), RARE) for one in services])
        rng = np.random.default_rng(0)
        sample = []
        for n, at in enumerate(np.cumsum(rng.exponential(1 / rates.sum(), SAMPLE)).tolist()):
            one = services[int(rng.choice(len(services), p=rates / rates.sum()))]
            output = min(max(1, round(rng.exponential(one.outputs.mean))), one.context // 2)
            prompt = range(2, 2 + min(round(one.prompts.mean), one.context // 2))
            sample.append(Arrival(at, Request(f"{n}", one.name, prompt, output, frozenset({STOP})), output))
        return Placement(
            [replace(one.fresh(), weights=0) for one in services], self.workers, self.pages * self.page_bytes, sample,
            named(self._scheduler), page_bytes=self.page_bytes, most=1,
        )  # fmt: skip

    def _wrong(self, what: str, hint: str) -> NookError:
        return NookError("fleet", f"{self.config.file.name}: {what}.", hint)
