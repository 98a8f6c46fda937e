"""ONNX models written byte by byte. Field numbers are those of onnx.proto."""

from collections.abc import Mapping

import numpy as np

Attributes = Mapping[str, int | float | list[int]]

# TensorProto.DataType
TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip
CONTRIB = "com.microsoft"
"""The domain of onnxruntime's own operators."""


def model(
    nodes: list[bytes], inputs: list[bytes], outputs: list[bytes], tensors: Mapping[str, np.ndarray] | None = None
) -> bytes:
    """ModelProto: IR version 8, operator set 17 and onnxruntime's own."""
    parts = [field(1, n) for n in nodes] + [field(2, b"g")]
    parts += [field(5, tensor(name, array)) for name, array in (tensors or {}).items()]
    parts += [field(11, i) for i in inputs] + [field(12, o) for o in outputs]
    contrib = field(8, field(1, CONTRIB.encode()) + number(2, 1))
    return number(1, 8) + field(7, b"".join(parts)) + field(8, number(2, 17)) + contrib


def node(
    operator: str, inputs: list[str], outputs: list[str], attributes: Attributes | None = None, domain: str = ""
) -> bytes:
    """NodeProto."""
    names = [field(1, i.encode()) for i in inputs] + [field(2, o.encode()) for o in outputs]
    extra = [field(5, attribute(name, value)) for name, value in (attributes or {}).items()]
    return b"".join([*names, field(4, operator.encode()), *extra, field(7, domain.encode()) if domain else b""])


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
