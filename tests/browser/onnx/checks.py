"""Runs in Pyodide: each function uses the binding and returns what the test then looks at (or fails by itself)."""

import asyncio
import json
import sys
from pathlib import Path

import js
import numpy as np
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
