"""Every message that crosses a boundary: page to worker, tab to server. The JS twin (web/wire.gen.js) is generated.

A client sends *requests*; each starts one *stream* of *events* that ends with exactly one of `Done`, `Failed` or
`Cancelled`. On the boundary a message is a JSON object {"type": <name>, "id": <stream>, …fields}; `bytes` fields travel
as binary (structured clone between workers, a binary frame on a WebSocket; see `wire/frames.py`).

All times are milliseconds unless a name says otherwise; all offsets are characters of the document's text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from inglenook.types import Document, Filter, Hit, Span

PROTOCOL = 1


class Message:
    """Base class of all messages."""

    __slots__ = ()


class Request(Message):
    """What a client may ask."""

    __slots__ = ()


class Event(Message):
    """What an engine answers."""

    __slots__ = ()


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Open(Request):
    """Open the nook `name`, made if it is not there. Answers: Progress, Status, Done.

    In the tab, `model` is the URL of an ONNX decoder to write with in place of the model of this release.
    """

    name: str = "notes"
    model: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to add. `modified` is seconds since 1970."""

    path: str
    data: bytes
    modified: float = 0.0
    collection: str = "notes"


@dataclass(frozen=True, slots=True)
class Add(Request):
    """Read, chunk, embed and store files. Answers: Progress, Added or Skipped per file, Done.

    A file whose path and collection are there already replaces that document, and only if its bytes changed.
    """

    files: list[Upload] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Remove(Request):
    """Forget documents by id. Answers: Removed, Done."""

    documents: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Search(Request):
    """Find passages. `mode` is "hybrid", "lexical" or "vector". Answers: Hits, Done."""

    query: str = ""
    k: int = 10
    filter: Filter = field(default_factory=Filter)
    mode: str = "hybrid"


@dataclass(frozen=True, slots=True)
class Slo:
    """The latency asked for: milliseconds to the first token, and per token after it. None asks for nothing."""

    first: float | None = None
    token: float | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """A sub-model: the share `ratio` of what is elastic in the model takes part; `perplexity` was measured on held-out
    text, `quality` is what the planner expects of its answers, 1 being the whole model's.

    `cost` are the lines of `elastic.latency.Cost` on this device, as it runs now; empty if it was not measured.
    `first_ms` is the time to the first token after a prompt of 256, `token_ms` that of each further one.
    """

    ratio: float
    perplexity: float | None = None
    quality: float = 1.0
    cost: list[float] = field(default_factory=list)
    first_ms: float = 0.0
    token_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask(Request):
    """Answer a question from the documents.

    Answers: Hits, then Passage (the extracted lead) or NoSource, then Token and Citation while the model writes,
    Timing, Done. With `write` false no model is used and the extracted passages are the answer. `app` is who asks: apps
    take turns on the one model.

    With the levels of a `server`, whose messages take `delay_ms` there and back, it may be that the server is to write:
    then Placed, Done take the place of what the model writes.
    """

    question: str = ""
    k: int = 8
    filter: Filter = field(default_factory=Filter)
    write: bool = True
    max_tokens: int = 160
    temperature: float = 0.0
    seed: int = 0
    slo: Slo = field(default_factory=Slo)
    app: str = ""
    server: list[Level] = field(default_factory=list)
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Lead:
    """Characters of a document that answer best."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Write(Request):
    """Write an answer over passages that were found elsewhere: a tab's, on its server. Answers: Token, Citation,
    Timing, Done.

    What leads is kept where a prompt is squeezed. Of the time that went by before, `spent_ms`, the search took
    `search_ms` and the way there and back `away_ms`. With `must` it is written as soon as can be where the latency
    cannot be kept. `model` names one of a server's fleet; else its own writes.
    """

    question: str = ""
    hits: list[Hit] = field(default_factory=list)
    leads: list[Lead] = field(default_factory=list)
    max_tokens: int = 160
    temperature: float = 0.0
    seed: int = 0
    slo: Slo = field(default_factory=Slo)
    app: str = ""
    spent_ms: float = 0.0
    search_ms: float = 0.0
    away_ms: float = 0.0
    must: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the caller's functions; `arguments` is the text of a JSON object."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a chat; `role` is "system", "user", "assistant" or "tool", which tells what a call came to.

    `calls` are those that the assistant made.
    """

    role: str
    content: str
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that may be called. `parameters` is the text of the JSON schema of its arguments, "" for none."""

    name: str
    description: str = ""
    parameters: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer must look like: `kind` is "json" (an object), "schema" (`text` is a JSON schema) or "regex" (the
    pattern `text` matches all of it)."""

    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Chat(Request):
    """The bare model, without documents. Answers: Token, Called, Timing, Done.

    What is written has the `form`, or is a call of one of the `tools`: `choice` says whether the model decides
    ("auto"), must ("required") or must not ("none"); `tool` names the only one that may and must be called. With
    `logprobs` each Token tells of its tokens and as many alternatives for each.

    What is longer than the model reads fails, or with `truncate` the oldest turns are left out, and Timing says so;
    what is longer by far (`chat.fitted`) fails in any case.
    `level` is the sub-model that answers, whatever `slo` would have chosen. `model` names one of a server's fleet; else
    its own answers.
    """

    messages: list[Turn] = field(default_factory=list)
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: list[str] = field(default_factory=list)
    slo: Slo = field(default_factory=Slo)
    form: Form | None = None
    tools: list[Tool] = field(default_factory=list)
    choice: str = "auto"
    tool: str = ""
    logprobs: int | None = None
    app: str = ""
    truncate: bool = False
    level: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class List(Request):
    """All documents. Answers: Documents, Done."""


@dataclass(frozen=True, slots=True)
class Show(Request):
    """The source of a document around a span: its text, or for a PDF page the drawn page with the span marked.

    Answers: Source, Done. `width` is the page image's width in pixels (PDF only), 0 for the text alone.
    """

    document: str
    start: int = 0
    end: int = 0
    width: int = 900


@dataclass(frozen=True, slots=True)
class Inspect(Request):
    """How a document was cut. Answers: Chunks, Done."""

    document: str


@dataclass(frozen=True, slots=True)
class Export(Request):
    """The whole nook as one .nook file. Answers: Progress, Blob, Done."""


@dataclass(frozen=True, slots=True)
class Import(Request):
    """Merge a .nook file into this nook; documents that are there already with the same bytes stay.

    Answers: Progress, Added, Done. A damaged or newer file changes nothing.
    """

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Prepare(Request):
    """Make a model ready ahead of use: "encoder" or "lm". Answers: Progress, Done."""

    model: str = "lm"


@dataclass(frozen=True, slots=True)
class Look(Request):
    """What this nook holds and uses. Answers: Status, Done."""


@dataclass(frozen=True, slots=True)
class Map(Request):
    """A map of the library, to browse by topic.

    Answers: Topics by place at once, then, where there are vectors, Progress and Topics by meaning; Done.
    """


@dataclass(frozen=True, slots=True)
class Levels(Request):
    """What the model can be cut to, and how fast each cut is here; with `measure` that is measured anew.

    Answers: Progress, Ladder, Done.
    """

    measure: bool = False


@dataclass(frozen=True, slots=True)
class Plan(Request):
    """How a prompt of `tokens` would be answered within `slo`: in this engine, or by a `server` whose levels are given
    and whose messages take `delay_ms` there and back. Of the prompt, `fixed` tokens must stay. Answers: Planned, Done.
    """

    tokens: int = 256
    fixed: int = 0
    slo: Slo = field(default_factory=Slo)
    server: list[Level] = field(default_factory=list)
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Cancel(Request):
    """Stop another stream. It ends with Cancelled; this request has no stream of its own."""

    stream: str = ""


@dataclass(frozen=True, slots=True)
class Attach(Request):
    """Have a session that outlives its connection: a new one, or go on with that of the `token`. It comes first on a
    connection. Answers: Attached, Done.

    Of each stream that is open, `seen` says how many events have come: those after them are sent, what is not named is
    stopped. So nothing is lost and nothing comes twice.
    """

    token: str = ""
    seen: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ack(Request):
    """Of these streams so many events have come since they began. This request has no stream of its own.

    In a session that was attached the server keeps events until then, and goes no further ahead than its window.
    """

    seen: dict[str, int] = field(default_factory=dict)


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """`done` of `total` `unit`s of `stage` ("download", "read", "embed", "store", "load", …); total 0: not known."""

    stage: str
    done: float
    total: float
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What a list of documents shows of one. `vectors` is how many of its `chunks` are embedded by the model."""

    document: str
    path: str
    title: str
    collection: str
    type: str
    size: int
    modified: float
    added: float
    chunks: int
    vectors: int
    pages: int = 0
    language: str = ""


@dataclass(frozen=True, slots=True)
class Added(Event):
    """A document is stored and searchable. `replaced` tells that an older version gave way to it."""

    card: Card
    replaced: bool = False
    unchanged: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """One file could not be added; the rest of the batch goes on."""

    path: str
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Removed(Event):
    """These documents are gone."""

    documents: list[str]


@dataclass(frozen=True, slots=True)
class Hits(Event):
    """Passages, best first. `arms` tells which of "lexical", "vector", "hash" took part; `ms` the time taken."""

    hits: list[Hit]
    arms: list[str] = field(default_factory=list)
    ms: float = 0.0
    embed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Passage(Event):
    """A sentence or two, copied from a source, that answers best: `text` is the source's own."""

    hit: Hit
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class NoSource(Event):
    """Nothing in the documents answers this; `nearest` are the closest passages all the same."""

    nearest: list[Hit]


@dataclass(frozen=True, slots=True)
class Likely:
    """A token, perhaps a part of a character: `codes` are its bytes; `logprob` is what the model gives it."""

    token: str
    codes: list[int]
    logprob: float


@dataclass(frozen=True, slots=True)
class Logprob:
    """A written token as `Likely`, and the likeliest ones in its place among those that were allowed."""

    token: str
    codes: list[int]
    logprob: float
    top: list[Likely]


@dataclass(frozen=True, slots=True)
class Token(Event):
    """The next piece of the written answer, and the tokens that were written since the last piece, if asked for."""

    text: str
    logprobs: list[Logprob] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Placed(Event):
    """The answer is written at `where`, from its beginning, because of `reason`. A server is to be asked to `write`;
    its first token is expected after `first_ms`."""

    where: str
    reason: str
    write: Write | None = None
    first_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Called(Event):
    """The model calls functions of the caller's; nothing of it came as Token."""

    calls: list[Call]


@dataclass(frozen=True, slots=True)
class Citation(Event):
    """Characters `start` to `end` of the written answer are supported by `source` of a hit's document.

    Computed by matching the answer's sentences against retrieved passages, never parsed from the model's text.
    """

    start: int
    end: int
    hit: Hit
    source: Span
    score: float


@dataclass(frozen=True, slots=True)
class Timing(Event):
    """Where the time of an answer went. `stop` is "end", "length", "stop".

    The sub-model `level` with the share `ratio` of the whole one answered. It read `prompt_tokens` of `whole_tokens`
    that there would have been; to find out which took `squeeze_ms`. `queue_ms` went by behind other requests, `away_ms`
    on the way to a server and back. `met` tells whether `slo` was kept.
    """

    search_ms: float = 0.0
    load_ms: float = 0.0
    queue_ms: float = 0.0
    away_ms: float = 0.0
    squeeze_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    first_ms: float = 0.0
    token_ms: float = 0.0
    prompt_tokens: int = 0
    whole_tokens: int = 0
    tokens: int = 0
    slo: Slo = field(default_factory=Slo)
    met: bool | None = None
    level: int = 0
    ratio: float = 1.0
    model: str = ""
    where: str = "tab"
    stop: str = "end"


@dataclass(frozen=True, slots=True)
class Ladder(Event):
    """The sub-models, the whole model first. Without `measured` nothing is known of their times on this device."""

    levels: list[Level]
    measured: bool
    model: str = ""
    where: str = "tab"


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """What the planner would do now: `level` with `ratio` of the model over `kept` tokens, first token and further ones
    in the times given. With a server to choose, `where` is "tab" or "server", for which there is a `reason`."""

    where: str
    level: int
    ratio: float
    kept: int
    quality: float
    first_ms: float
    token_ms: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Documents(Event):
    """All documents of the nook."""

    cards: list[Card]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a drawn page, in pixels of the image."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Source(Event):
    """A document's text (all of it, or one page of it) with the asked span; offsets are the document's.

    For a PDF `image` is the page as RGBA bytes, `width` x `height`, and `boxes` mark the span.
    """

    card: Card
    text: str
    offset: int
    start: int
    end: int
    page: int | None = None
    width: int = 0
    height: int = 0
    image: bytes = b""
    boxes: list[Box] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chunks(Event):
    """A document with its chunk boundaries."""

    document: Document


@dataclass(frozen=True, slots=True)
class Blob(Event):
    """A file for the person: the export."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Topic:
    """A disc of a map: passages about one thing, named by the words that set them apart, the strongest first.

    `x`, `y` and `radius` are in the map's unit; `points` are on the disc. `quote` begins the most typical passage.
    """

    words: list[str]
    points: int
    x: float
    y: float
    radius: float
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Topics(Event):
    """A map: the more alike passages are, the nearer to one another they lie; y grows downwards.

    `by` is "meaning", or "place": a point is a document then, and a topic its collection or folder. The columns hold
    one little-endian number a point: uint32 `document` (index into `documents`), `chunk` (the passage's ordinal),
    `start` and `end` (its characters); uint16 `topic`; float32 `x` and `y`. Of the `passages` there are, `waiting`
    have no vector yet; a large library is sampled.
    """

    by: str
    topics: list[Topic]
    documents: list[str]
    passages: int
    waiting: int
    document: bytes
    chunk: bytes
    start: bytes
    end: bytes
    topic: bytes
    x: bytes
    y: bytes


@dataclass(frozen=True, slots=True)
class Index:
    """The index of meaning. `kinds` are its vectors by the kind of index the planner chose for them.

    Sizes are bytes, `budget` 0 for none. `hits` and `misses` count pages that searches found in memory and that they
    read. `trips` are the reads of storage that half of the last `queries` needed at most, `trips_p99` 99 in 100.
    """

    vectors: int
    dimensions: int
    kinds: dict[str, int]
    stored: int
    memory: int
    budget: int = 0
    hits: int = 0
    misses: int = 0
    queries: int = 0
    trips: int = 0
    trips_p99: int = 0


@dataclass(frozen=True, slots=True)
class Status(Event):
    """What the nook holds and uses. Sizes are bytes; `models` maps a model to "absent" or "ready".

    Where the browser refuses storage, `kept` is false, `reason` says why, and everything goes with the tab. A Look is
    told of the `index`, too.
    """

    name: str
    documents: int
    chunks: int
    vectors: int
    collections: dict[str, int]
    stored: int
    memory: int
    encoder: str
    models: dict[str, str]
    version: str
    where: str = "tab"
    kept: bool = True
    reason: str = ""
    index: Index | None = None


@dataclass(frozen=True, slots=True)
class Attached(Event):
    """The session is the one of `token`, which stays for `keep_ms` when the connection is lost. Of the streams that
    were named it knows `streams`; requests of the others have not come. A stream waits for an Ack when `window` of its
    events are on their way."""

    token: str
    streams: list[str]
    window: int
    keep_ms: float


@dataclass(frozen=True, slots=True)
class Done(Event):
    """The stream ended as asked."""


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The stream ended with an error."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """The stream was stopped on request."""


REQUESTS: tuple[type[Request], ...] = (
    Open, Add, Remove, Search, Ask, Write, Chat, List, Show, Inspect, Export, Import, Prepare, Look, Map, Levels,
    Plan, Cancel, Attach, Ack,
)  # fmt: skip
EVENTS: tuple[type[Event], ...] = (
    Progress, Added, Skipped, Removed, Hits, Passage, NoSource, Placed, Token, Called, Citation, Timing, Ladder,
    Planned, Documents, Source, Chunks, Blob, Status, Topics, Attached, Done, Failed, Cancelled,
)  # fmt: skip
ENDS: tuple[type[Event], ...] = (Done, Failed, Cancelled)
