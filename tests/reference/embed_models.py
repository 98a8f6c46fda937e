"""Small ONNX models, written byte by byte: what the tests of the binding run. Field numbers are those of onnx.proto."""

import numpy as np

# TensorProto.DataType
TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip


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


def model(
    nodes: list[bytes], inputs: list[bytes], outputs: list[bytes], tensors: dict[str, np.ndarray] | None = None
) -> bytes:
    """ModelProto: IR version 8, operator set 17."""
    parts = [field(1, n) for n in nodes] + [field(2, b"g")]
    parts += [field(5, tensor(name, array)) for name, array in (tensors or {}).items()]
    parts += [field(11, i) for i in inputs] + [field(12, o) for o in outputs]
    return number(1, 8) + field(7, b"".join(parts)) + field(8, number(2, 17))


def node(
    operator: str, inputs: list[str], outputs: list[str], attributes: dict[str, int | float | list[int]] | None = None
) -> bytes:
    """NodeProto."""
    names = [field(1, i.encode()) for i in inputs] + [field(2, o.encode()) for o in outputs]
    extra = [field(5, attribute(name, value)) for name, value in (attributes or {}).items()]
    return b"".join([*names, field(4, operator.encode()), *extra])


def attribute(name: str, value: float | list[int]) -> bytes:
    """AttributeProto: a float (type 1), an int (2) or ints (7)."""
    if isinstance(value, float):
        body = varint(2 << 3 | 5) + np.float32(value).tobytes() + number(20, 1)
    elif isinstance(value, int):
        body = number(3, value) + number(20, 2)
    else:
        body = b"".join(number(8, item) for item in value) + number(20, 7)
    return field(1, name.encode()) + body


def tensor(name: str, array: np.ndarray) -> bytes:
    """TensorProto with raw data."""
    sizes = b"".join(number(1, size) for size in array.shape)
    return sizes + number(2, TYPES[str(array.dtype)]) + field(8, name.encode()) + field(9, array.tobytes())


def value(name: str, dtype: str, shape: tuple[int | str, ...]) -> bytes:
    """ValueInfoProto of a tensor."""
    sizes = b"".join(field(1, field(2, d.encode()) if isinstance(d, str) else number(1, d)) for d in shape)
    return field(1, name.encode()) + field(2, field(1, number(1, TYPES[dtype]) + field(2, sizes)))


def field(tag: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(tag << 3 | 2) + varint(len(payload)) + payload


def number(tag: int, value: int) -> bytes:
    """An integer field."""
    return varint(tag << 3) + varint(value)


def varint(value: int) -> bytes:
    """Seven bits to a byte, lowest first; negative numbers as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
