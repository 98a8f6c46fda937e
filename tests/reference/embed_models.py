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


def samples(dtype: str) -> np.ndarray:
    """Two rows of three with the extremes of a type."""
    if dtype == "bool":
        return np.array([[True, False, True], [False, False, True]])
    if dtype.startswith("float"):
        limits = np.finfo(dtype)
        return np.array([[0, -0.5, limits.tiny], [limits.max, -np.inf, 3]], dtype)
    limits = np.iinfo(dtype)
    return np.array([[0, 1, 2], [limits.min, limits.max, 7]], dtype)


def model(nodes: list[bytes], inputs: list[bytes], outputs: list[bytes]) -> bytes:
    """ModelProto: IR version 8, operator set 17."""
    graph = b"".join(
        [
            *(field(1, n) for n in nodes),
            field(2, b"g"),
            *(field(11, i) for i in inputs),
            *(field(12, o) for o in outputs),
        ]
    )
    return number(1, 8) + field(7, graph) + field(8, number(2, 17))


def node(operator: str, inputs: list[str], outputs: list[str]) -> bytes:
    """NodeProto."""
    names = [field(1, i.encode()) for i in inputs] + [field(2, o.encode()) for o in outputs]
    return b"".join(names) + field(4, operator.encode())


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
    """Seven bits to a byte, lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
