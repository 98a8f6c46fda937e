"""Small ONNX models: what the tests of the binding run."""

import numpy as np

from .onnx_bytes import model, node, value


def identity(dtype: str, shape: tuple[int | str, ...] = ("rows", 3)) -> bytes:
    """A model that gives back its input `x` as `y`."""
    return model([node("Identity", ["x"], ["y"])], [value("x", dtype, shape)], [value("y", dtype, shape)])


def arithmetic() -> bytes:
    """A model of two inputs and two outputs: `product` = a · b (matrices), `sum` = product + b."""
    return model(
        [node("MatMul", ["a", "b"], ["product"]), node("Add", ["product", "b"], ["sum"])],
        [value("a", "float32", (2, 2)), value("b", "float32", (2, "columns"))],
        [value("product", "float32", (2, "columns")), value("sum", "float32", (2, "columns"))],
    )


def minilm(tensors: dict[str, np.ndarray], heads: int = 12) -> bytes:
    """A BERT encoder in float32 from a checkpoint's tensors: `input_ids`, `attention_mask` → `last_hidden_state`.

    Written from the formulas (Devlin et al. 2018, arXiv:1810.04805), as the tests' float model of the ONNX road.
    """
    width = tensors["embeddings.word_embeddings.weight"].shape[1]
    layers = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer."))
    consts = {
        "one": np.array(1, np.float32), "half": np.array(0.5, np.float32), "root": np.array(0.5**0.5, np.float32),
        "low": np.array(-1e9, np.float32), "scale": np.array((width / heads) ** -0.5, np.float32),
        "split": np.array([0, 0, heads, width // heads]), "join": np.array([0, 0, width]), "zero": np.array([0]),
        "places": np.array([1]), "axes": np.array([1, 2]),
    }  # fmt: skip
    nodes: list[bytes] = []

    def op(operator: str, *inputs: str, **attributes: float | list[int]) -> str:
        nodes.append(node(operator, list(inputs), [f"n{len(nodes)}"], attributes))
        return f"n{len(nodes) - 1}"

    def linear(name: str, x: str) -> str:
        consts[f"{name}.t"] = tensors[f"{name}.weight"].T
        return op("Add", op("MatMul", x, f"{name}.t"), f"{name}.bias")

    def norm(name: str, x: str) -> str:
        return op("LayerNormalization", x, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=1e-12)

    def split(name: str, x: str, order: list[int]) -> str:
        return op("Transpose", op("Reshape", linear(name, x), "split"), perm=order)

    length = op("Gather", op("Shape", "input_ids"), "places", axis=0)
    places = op("Slice", "embeddings.position_embeddings.weight", "zero", length, "zero")
    kind = op("Gather", "embeddings.token_type_embeddings.weight", "zero", axis=0)
    words = op("Gather", "embeddings.word_embeddings.weight", "input_ids", axis=0)
    x = norm("embeddings.LayerNorm", op("Add", op("Add", words, places), kind))
    absent = op("Sub", "one", op("Cast", "attention_mask", to=1))
    mask = op("Mul", op("Unsqueeze", absent, "axes"), "low")
    for layer in (f"encoder.layer.{i}" for i in range(layers)):
        query = split(f"{layer}.attention.self.query", x, [0, 2, 1, 3])
        key = split(f"{layer}.attention.self.key", x, [0, 2, 3, 1])
        values = split(f"{layer}.attention.self.value", x, [0, 2, 1, 3])
        scores = op("Add", op("Mul", op("MatMul", query, key), "scale"), mask)
        mixed = op("Transpose", op("MatMul", op("Softmax", scores, axis=-1), values), perm=[0, 2, 1, 3])
        attended = linear(f"{layer}.attention.output.dense", op("Reshape", mixed, "join"))
        x = norm(f"{layer}.attention.output.LayerNorm", op("Add", x, attended))
        wide = linear(f"{layer}.intermediate.dense", x)
        bell = op("Add", op("Erf", op("Mul", wide, "root")), "one")
        wide = op("Mul", op("Mul", wide, bell), "half")
        x = norm(f"{layer}.output.LayerNorm", op("Add", x, linear(f"{layer}.output.dense", wide)))
    nodes.append(node("Identity", [x], ["last_hidden_state"]))
    used = {
        name: array
        for name, array in tensors.items()
        if name.endswith(("bias", "LayerNorm.weight", "embeddings.weight"))
    }
    shape = ("batch", "length")
    return model(
        nodes,
        [value("input_ids", "int64", shape), value("attention_mask", "int64", shape)],
        [value("last_hidden_state", "float32", (*shape, width))],
        used | consts,
    )


def samples(dtype: str) -> np.ndarray:
    """Two rows of three with the extremes of a type."""
    if dtype == "bool":
        return np.array([[True, False, True], [False, False, True]])
    if dtype.startswith("float"):
        limits = np.finfo(dtype)
        return np.array([[0, -0.5, limits.tiny], [limits.max, -np.inf, 3]], dtype)
    limits = np.iinfo(dtype)
    return np.array([[0, 1, 2], [limits.min, limits.max, 7]], dtype)
