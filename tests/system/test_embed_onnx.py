"""The ONNX binding on a machine: its face, its errors, every element type."""

import asyncio

import numpy as np
import pytest
from inglenook.errors import NookError
from inglenook.onnx import DTYPES, InferenceSession, NodeArg

from tests.reference import embed_models as models
from tests.reference import onnx_bytes

A = np.array([[1, 2], [3, 4]], np.float32)
B = np.array([[1, 0, 2], [0, 1, 3]], np.float32)


@pytest.fixture(params=["bytes", "path", "create"])
def session(request, tmp_path):
    model = models.arithmetic()
    if request.param == "bytes":
        made = InferenceSession(model)
    elif request.param == "path":
        path = tmp_path / "m.onnx"
        path.write_bytes(model)
        made = InferenceSession(path)
    else:
        made = asyncio.run(InferenceSession.create(model))
    with made:
        yield made


def test_inputs_and_outputs_are_described(session):
    assert session.get_inputs() == [
        NodeArg("a", "tensor(float)", [2, 2]),
        NodeArg("b", "tensor(float)", [2, "columns"]),
    ]
    assert [output.name for output in session.get_outputs()] == ["product", "sum"]


def test_outputs_come_in_the_order_asked_for(session):
    np.testing.assert_array_equal(session.run(["sum"], {"a": A, "b": B})[0], A @ B + B)
    second, first = session.run(["sum", "product"], {"b": B, "a": A})
    np.testing.assert_array_equal(first, A @ B)
    np.testing.assert_array_equal(second, A @ B + B)
    assert len(session.run(None, {"a": A, "b": B})) == 2


def test_run_async_gives_the_same(session):
    [product] = asyncio.run(session.run_async(["product"], {"a": A, "b": B}))
    np.testing.assert_array_equal(product, A @ B)


def test_arrays_need_not_be_contiguous(session):
    [product] = session.run(["product"], {"a": A.T, "b": np.asfortranarray(B)})
    np.testing.assert_array_equal(product, A.T @ B)


def test_every_type_has_a_sample():
    assert {str(dtype) for dtype in DTYPES.values()} == set(onnx_bytes.TYPES)


@pytest.mark.parametrize("dtype", onnx_bytes.TYPES)
@pytest.mark.parametrize("rows", [2, 0])
def test_every_type_passes_through(dtype, rows):
    with InferenceSession(models.identity(dtype)) as session:
        assert DTYPES[session.get_inputs()[0].type] == dtype
        sent = models.samples(dtype)[:rows]
        [received] = session.run(None, {"x": sent})
    assert received.dtype == sent.dtype
    assert received.shape == sent.shape
    assert received.tobytes() == sent.tobytes()


def test_scalars_pass_through():
    with InferenceSession(models.identity("int64", ())) as session:
        [received] = session.run(None, {"x": np.int64(-5)})
    assert received.shape == ()
    assert received == -5


@pytest.mark.parametrize("wanted", [["webgpu", "wasm"], ["cpu"], ["CPUExecutionProvider"], []])
def test_the_processor_serves_in_the_end(wanted):
    with InferenceSession(models.arithmetic(), wanted) as session:
        assert session.get_providers()[-1] == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("names", "feeds", "says"),
    [
        (["nothing"], {"a": A, "b": B}, "no output 'nothing'.*'product', 'sum'"),
        (None, {"a": A}, "misses the input 'b'"),
        (None, {"a": A, "b": B, "c": B}, "no input 'c'"),
        (None, {"a": A.astype(np.float64), "b": B}, r"'a' is float64.*astype\(np.float32\)"),
        (None, {"a": A, "b": B.T}, "could not be run"),
    ],
)
def test_wrong_calls_are_explained(session, names, feeds, says):
    with pytest.raises(NookError, match=says) as caught:
        session.run(names, feeds)
    assert caught.value.code == "onnx"
    assert caught.value.hint


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(NookError, match="could not be loaded"):
        InferenceSession(b"not a model")
    with pytest.raises(NookError, match="no model at"):
        InferenceSession(tmp_path / "nowhere.onnx")


def test_a_closed_session_says_so():
    session = InferenceSession(models.arithmetic())
    session.close()
    session.close()
    with pytest.raises(NookError, match="closed"):
        session.run(None, {"a": A, "b": B})
