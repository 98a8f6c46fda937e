"""Runs in Pyodide: each function uses the binding and returns what the test then looks at (or fails by itself)."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import js
import numpy as np
from inglenook.doctor import probes, run
from inglenook.doctor.asks import Logits
from inglenook.doctor.local import Local
from inglenook.doctor.truth import Truth
from inglenook.elastic import onnx_folder
from inglenook.elastic.onnx_model import OnnxModel
from inglenook.embed.session import OnnxEncoder
from inglenook.errors import NookError
from inglenook.onnx import InferenceSession
from pyodide.ffi import can_run_sync
from reference import embed_models as models
from reference import onnx_bytes

HERE = Path(models.__file__).parent
A = np.array([[1, 2], [3, 4]], np.float32)
B = np.array([[1, 0, 2], [0, 1, 3]], np.float32)


async def environment():
    return {"isolated": bool(js.crossOriginIsolated), "jspi": bool(can_run_sync())}


async def arithmetic():
    session = await InferenceSession.create(models.arithmetic(), ["webgpu", "wasm"])
    product_plus, product = await session.run_async(["sum", "product"], {"a": A.T, "b": B})
    np.testing.assert_array_equal(product, A.T @ B)
    np.testing.assert_array_equal(product_plus, A.T @ B + B)
    product += 1  # what comes back is the caller's own
    both = await asyncio.gather(*(session.run_async(["product"], {"a": A * i, "b": B}) for i in range(5)))
    for i, [result] in enumerate(both):
        np.testing.assert_array_equal(result, A * i @ B)
    inputs = [[entry.name, entry.type, entry.shape] for entry in session.get_inputs()]
    outputs = [entry.name for entry in session.get_outputs()]
    providers = session.get_providers()
    session.close()
    return {"inputs": inputs, "outputs": outputs, "providers": providers}


async def every_type():
    for dtype in onnx_bytes.TYPES:
        session = await InferenceSession.create(models.identity(dtype))
        for rows in (2, 0):
            sent = models.samples(dtype)[:rows]
            [received] = await session.run_async(None, {"x": sent})
            assert (received.dtype, received.shape) == (sent.dtype, sent.shape), dtype
            assert received.tobytes() == sent.tobytes(), dtype
        session.close()
    session = await InferenceSession.create(models.identity("int64", ()))
    [received] = await session.run_async(None, {"x": np.int64(-5)})
    assert received.shape == ()
    assert received == -5
    return len(onnx_bytes.TYPES)


async def synchronous():
    """The synchronous face where the browser can suspend, a hint where it cannot."""
    try:
        session = InferenceSession(models.arithmetic())
        [product] = session.run(["product"], {"a": A, "b": B})
    except NookError as error:
        return str(error)
    np.testing.assert_array_equal(product, A @ B)
    return "ran"


async def refused(work):
    try:
        await work
    except NookError as error:
        return [error.code, error.message, error.hint]
    raise AssertionError("nothing was raised")


async def mistakes():
    session = await InferenceSession.create(models.arithmetic())
    answers = {
        "no model": await refused(InferenceSession.create(b"not a model")),
        "no asset": await refused(InferenceSession.create("static/models/nothing.onnx")),
        "shape": await refused(session.run_async(None, {"a": A, "b": B.T})),
        "type": await refused(session.run_async(None, {"a": A.astype(np.int32), "b": B})),
    }
    [product] = await session.run_async(["product"], {"a": A, "b": B})  # none of it did harm
    np.testing.assert_array_equal(product, A @ B)
    session.close()
    answers["closed"] = await refused(session.run_async(None, {"a": A, "b": B}))
    return answers


async def restart():
    """End the runtime; what was open knows it. The next session finds a new one."""
    session = await InferenceSession.create(models.arithmetic())
    waiting = asyncio.ensure_future(refused(session.run_async(None, {"a": A, "b": B})))
    await asyncio.sleep(0)  # lets it be sent
    js.renew()
    sys.modules.pop("inglenook_onnx")
    return [await waiting, await refused(session.run_async(None, {"a": A, "b": B}))]


async def worker_dies():
    """With a worker that dies at the first run, put in place by the test."""
    session = await InferenceSession.create(models.arithmetic())
    runs = [refused(session.run_async(None, {"a": A, "b": B})) for _ in range(2)]
    died = await asyncio.gather(*runs)
    return [*died, await refused(session.run_async(None, {"a": A, "b": B}))]


async def worker_missing():
    return await refused(InferenceSession.create(models.arithmetic()))


async def decoder(providers=("wasm",), cuts=(1, 60, 70, 150)):
    """Tiny decoders, piece by piece, against the best logits that the test laid beside them."""
    case = json.loads((HERE / "decoder.json").read_text("utf-8"))
    worst = 0.0
    for name in case["models"]:
        model = await OnnxModel.create((HERE / name).read_bytes(), list(providers))
        at = 0
        for cut in cuts:
            best = await model.forward_async(case["tokens"][at:cut], at, 5)
            worst = max(worst, float(np.abs(best.logits - np.array(case["best"][cut - 1], np.float32)).max()))
            at = cut
        assert (await model.score_async(case["tokens"][:9], 0)).shape == (8,)
        found = model.providers
        model.close()
    return {"worst": worst, "providers": found}


async def decoder_on_webgpu():
    """Few positions: over 60 and more, this runtime's attention is wrong on an adapter made of software."""
    return await decoder(("webgpu", "wasm"), (4, 8))


class Kit:
    """What the doctor examines in the tab: a decoder on a provider, with what lies beside its file."""

    switches, damages, activations = frozenset(), {}, "f32"

    def __init__(self, folder, provider):
        self.folder, self.name, self.backend = folder, provider, provider

    def open(self, switches):
        loaded = onnx_folder.loaded({n: (self.folder / n).read_bytes() for n in ("config.json", "tokenizer.json")})
        session = InferenceSession((self.folder / "onnx/model.onnx").read_bytes(), [self.name])
        model = OnnxModel(session, loaded.config)
        return model, replace(loaded, pages=model.pages, context=model.context)


class Plain:
    """The processor's backend as the plain way: every text from its beginning, in one piece."""

    def __init__(self, kit):
        self.model, loaded = kit.open(frozenset())
        self.vocabulary = loaded.config["vocabulary"]

    def best(self, tokens, at, top=64):
        return self.model.forward(tokens, at, top)

    def logits(self, ids):
        found = self.model.forward(ids, 0, self.vocabulary, each=len(ids))
        rows = np.empty((len(ids), self.vocabulary), np.float32)
        for i in range(len(ids)):
            row = found.row(i)
            rows[i, row.ids] = row.logits
        return rows


async def doctor_on_webgpu(lengths=(8, 100)):
    """Both backends examined, held against the processor's; beside that the cosine of their logits."""
    chosen = [probe for probe in probes.PROBES if probe.name in ("scores", "greedy")]
    found = []
    for folder in sorted((HERE / "doctor").iterdir()):
        right = Kit(folder, "wasm")
        plain = Plain(right)
        noise = "f16" if folder.name == "f32" else "int8"  # sums in another order; activations in blocks of bytes
        _, loaded = right.open(frozenset())
        told = {"vocabulary": plain.vocabulary}
        made = lambda activations, plain=plain: plain
        truth = Truth(made, loaded.tokenizer, context=plain.model.context, told=told, noise=noise)
        for provider in ("wasm", "webgpu"):
            engine = Local(Kit(folder, provider))
            seen = run.report(run.examine(engine, truth, few=True, deep=False, chosen=chosen, seconds=60.0))
            worst = min(_cosine(engine, plain, length) for length in lengths)
            found.append({
                "form": folder.name, "provider": provider, "cosine": worst,
                "backend": engine._model.providers[0],
                "checked": [outcome.probe.name for outcome in seen.outcomes if outcome.state != "cannot tell"],
                "signs": [f"{outcome.probe.name}: {one.sign}" for outcome in seen.failed for one in outcome.findings],
                "text": [one.text for outcome in seen.failed for one in outcome.findings][:3],
                "causes": [suspect.cause.name for suspect in seen.suspects[:3]],
            })  # fmt: skip
            engine.close()
        plain.model.close()
    return found


def _cosine(engine, plain, length):
    """The least of a row of logits."""
    ids = np.random.default_rng(length).integers(3, plain.vocabulary, length).tolist()
    a, b = engine.answer(Logits(tuple(ids), length)), plain.logits(ids)
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


async def int8():
    return await _cosines("static/models/minilm-l6.int8.onnx", 99)


async def float32():
    return await _cosines("static/models/minilm-l6.f32.onnx", 120)


async def _cosines(model, longest):
    """Cosines to what sentence-transformers gave, of the texts that are not too long for a quick test."""
    recorded = json.loads((HERE / "embed.json").read_text("utf-8"))
    expected = np.load(HERE / "embed.npy").astype(np.float32)
    encoder = OnnxEncoder(await InferenceSession.create(model, ["webgpu", "wasm"]))
    cosines = []
    for entry, row in zip(recorded, expected, strict=True):
        if len(entry["ids"]) <= longest:
            [vector] = await encoder.encode_async([entry["ids"]])
            cosines.append(float(vector @ row / np.linalg.norm(row)))
    encoder.session.close()
    return cosines
