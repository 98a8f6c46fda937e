"""YAML with the line of everything in it, so that an error says where it is and what to do.

Read with PyYAML and the scalars of YAML 1.2's core schema, which promptfoo, dotprompt and GitHub use: `no` is a word
and not False, `1:30` no number, a date a text. A key that stands twice, nesting deeper than `depth.DEEPEST`, aliases
that stand for more than `MOST` values and all that is no JSON are refused. `Table` takes a mapping apart by types and
knows what was not asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar

import yaml

from inglenook.depth import DEEPEST
from inglenook.errors import NookError
from inglenook.prompt.ast import nearest, short

T = TypeVar("T")
Place: TypeAlias = tuple[str | int, ...]
MOST = 100_000
_HINT = "Check the indentation, and put quotes around a text that has a colon, #, {{ or a quote in it."
_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": (r"~|null|Null|NULL|", [*"~nN", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", [*"-+0123456789"]),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
              [*"-+.0123456789"]),
    "merge": (r"<<", ["<"]),
}  # fmt: skip


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(None, None, f"nested more than {DEEPEST} deep", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a key is not a text", key.start_mark)
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {short(key.value)} stands twice", key.start_mark)
            seen.add(key.value)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, OverflowError):  # too long a number, a tag that is not so
            said = f"{short(node.value)} is no {node.tag.removeprefix(_TAG)} that can be used"
            raise yaml.MarkedYAMLError(None, None, said, node.start_mark) from None

    def integer(self, node: Any) -> int:
        said = node.value
        value = int(said, {"0o": 8, "0x": 16}.get(said[:2], 10))
        float(value)  # what is none is refused
        return value

    def number(self, node: Any) -> float:
        value = float(self.construct_yaml_float(node))
        if not math.isfinite(value):
            raise yaml.MarkedYAMLError(None, None, "a number is not finite", node.start_mark)
        return value


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def words(self, data: str) -> Any:
        plain = data.isprintable() or all(line.isprintable() and line == line.strip() for line in data.split("\n"))
        return self.represent_scalar(f"{_TAG}str", data, "|" if "\n" in data and plain else None)


for _name, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern})\\Z"), _first)
for _name in ("null", "bool", "str", "seq", "map"):
    _Loader.add_constructor(f"{_TAG}{_name}", yaml.SafeLoader.yaml_constructors[f"{_TAG}{_name}"])
_Loader.add_constructor(f"{_TAG}int", _Loader.integer)
_Loader.add_constructor(f"{_TAG}float", _Loader.number)
_Loader.add_constructor(None, yaml.SafeLoader.yaml_constructors[None])
_Dumper.add_representer(str, _Dumper.words)


@dataclass(frozen=True)
class Document:
    """What a YAML text says, and in which line of the file `path` each place of it stands."""

    value: Any
    path: str
    first: int = 1
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int:
        """The line of the file where `place`, or the nearest thing around it, begins."""
        known = next((place[:n] for n in range(len(place), -1, -1) if place[:n] in self.lines), None)
        return self.first if known is None else self.lines[known]

    def error(self, message: str, hint: str, place: Place = (), code: str = "prompt-file") -> NookError:
        """An error at a place, with file and line in its message."""
        return NookError(code, f"{self.path}:{self.line(place)}: {message}", hint)

    def table(self, place: Place = ()) -> Table:
        """The mapping at a place. Raises NookError("prompt-file") if something else stands there."""
        value = self.value
        for step in place:
            value = value[step]
        if not isinstance(value, dict):
            what = str(place[-1]) if place else "the file"
            raise self.error(f"{what} is {short(value)}.", "Write a mapping: `key: value`.", place)
        return Table(self, place, value)


@dataclass
class Table:
    """A mapping of a document, taken apart key by key. Each reader raises NookError("prompt-file") with file and line
    if the value is of another type."""

    document: Document
    place: Place
    data: dict[str, Any]
    taken: set[str] = field(default_factory=set)

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def error(self, message: str, hint: str, key: str | None = None) -> NookError:
        return self.document.error(message, hint, self.place if key is None else (*self.place, key))

    def get(self, key: str, default: Any = None) -> Any:
        self.taken.add(key)
        return self.data.get(key, default)

    def text(self, key: str, default: str = "") -> str:
        """A text; a number stands for how it is written."""
        value = self.get(key, default)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        return self._of(key, value, str, "a text")

    def number(self, key: str, default: float) -> float:
        value = self.maybe(key)
        return default if value is None else value

    def maybe(self, key: str) -> float | None:
        """A number, or nothing."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
            raise self.error(f"{key} is {short(value)}.", "It is a number.", key)
        return value

    def whole(self, key: str, default: int) -> int:
        value = self.number(key, default)
        return self._of(key, value, int, "a whole number")

    def flag(self, key: str, default: bool = False) -> bool:
        return self._of(key, self.get(key, default), bool, "true or false")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one text."""
        value = self.get(key, [])
        listed = [value] if isinstance(value, str) else self._of(key, value, list, "a list of texts")
        for n, item in enumerate(listed):
            if not isinstance(item, str):
                raise self.document.error(f"{key} holds {short(item)}.", "Texts only.", (*self.place, key, n))
        return tuple(listed)

    def items(self, key: str) -> list[Any]:
        return self._of(key, self.get(key, []), list, "a list")

    def mapping(self, key: str) -> dict[str, Any]:
        return self._of(key, self.get(key, {}), dict, "a mapping")

    def table(self, key: str) -> Table:
        """The mapping of a key; an empty one if there is none."""
        return Table(self.document, (*self.place, key), self.mapping(key))

    def tables(self, key: str) -> Iterator[Table]:
        """The mappings of a list."""
        for n, item in enumerate(self.items(key)):
            place = (*self.place, key, n)
            if not isinstance(item, dict):
                raise self.document.error(f"{key} holds {short(item)}.", "Write a mapping: `key: value`.", place)
            yield Table(self.document, place, item)

    def one(self, key: str, known: Collection[str], default: str) -> str:
        """One of the known words."""
        value = self.text(key, default)
        if value not in known:
            raise self.error(f"{key} is {value!r}.", nearest(value, known), key)
        return value

    def rest(self) -> dict[str, Any]:
        """What was not asked for so far."""
        return {key: value for key, value in self.data.items() if key not in self.taken}

    def done(self) -> None:
        """Raises NookError("prompt-file") if there is a key that nothing has asked for."""
        for key in self.rest():
            raise self.error(f"The key {key} is not known here.", nearest(key, sorted(self.taken)), key)

    def _of(self, key: str, value: Any, sort: type[T], wanted: str) -> T:
        if not isinstance(value, sort):
            raise self.error(f"{key} is {short(value)}.", f"It is {wanted}.", key)
        return value


def load(text: str, path: str, first: int = 1) -> Document:
    """The document of a YAML text whose first line is line `first` of the file `path`.

    Raises NookError("prompt-yaml") with file, line and what is wrong.
    """

    def wrong(line: int, problem: str) -> NookError:
        return NookError("prompt-yaml", f"{path}:{first + line}: This is no YAML: {problem}.", _HINT)

    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, path, first)
        lines: dict[Place, int] = {}
        if _number(node, (), first, lines, {}) > MOST:
            raise wrong(0, f"its aliases stand for more than {MOST:,} values")
        value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise wrong(mark.line if mark else 0, error.problem or str(error.context)) from None
    except yaml.reader.ReaderError as error:
        raise wrong(text.count("\n", 0, error.position), error.reason) from None
    except (ValueError, OverflowError) as error:  # \U and too much
        raise wrong(0, str(error)) from None
    return Document(value, path, first, lines)


def dump(value: Any) -> str:
    """Plain JSON as YAML that `load` reads as the same."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def _number(node: Any, place: Place, first: int, lines: dict[Place, int], known: dict[int, float]) -> float:
    """Note the lines of a node and of what is in it. Returns how many values it has when aliases are written out."""
    lines[place] = first + node.start_mark.line
    if id(node) in known:  # an alias: what it stands for has its lines already
        return known[id(node)]
    known[id(node)], count = math.inf, 1.0
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            count += _number(value, (*place, key.value), first, lines, known)
            lines[*place, key.value] = first + key.start_mark.line
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_number(item, (*place, n), first, lines, known) for n, item in enumerate(node.value))
    known[id(node)] = count
    return count
