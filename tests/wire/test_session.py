"""Sessions: one end for every stream, whatever a client sends and in whatever order."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.wire import frames, session
from inglenook.wire import messages as wire
from inglenook.wire.session import Attach, Close, Session, Start, Stop


def ask(stream: str, request: wire.Message = wire.Search("x")) -> str | bytes:  # noqa: B008
    return frames.encode(request, stream)


def said(one: Session) -> list[tuple[wire.Message, str]]:
    """All that a session has to send, with the streams."""
    found = []
    while frame := one.sending():
        found.append(frames.decode(frame))
    return found


def test_a_request_starts_a_stream_which_ends_once() -> None:
    one = Session()
    assert one.receive(ask("a")) == [Start("a", wire.Search("x"))]
    for event in (wire.Hits([]), wire.Done(), wire.Done(), wire.Hits([])):
        one.event("a", event)
    one.event("never", wire.Done())
    assert said(one) == [(wire.Hits([]), "a"), (wire.Done(), "a")]
    assert one.receive(ask("a")) == [Start("a", wire.Search("x"))]  # the id is free again


def test_streams_take_turns() -> None:
    one = Session()
    for stream in "ab":
        one.receive(ask(stream))
        for n in range(3):
            one.event(stream, wire.Token(str(n)))
    assert [stream for _, stream in said(one)] == ["a", "b"] * 3


def test_cancel_stops_a_stream_that_is_open_and_nothing_else() -> None:
    one = Session()
    one.receive(ask("a"))
    one.event("a", wire.Token("never sent"))
    assert one.receive(ask("c", wire.Cancel("a"))) == [Stop("a")]
    one.drop("a")
    one.event("a", wire.Cancelled())
    assert said(one) == [(wire.Cancelled(), "a")]
    assert one.receive(ask("d", wire.Cancel("a"))) == []
    assert one.receive(ask("e", wire.Cancel("nowhere"))) == []
    assert one.open == set()


def test_an_id_that_is_open_already_ends_the_connection() -> None:
    one = Session()
    one.receive(ask("a"))
    one.receive(ask("b"))
    assert one.receive(ask("a")) == [Stop("a"), Stop("b"), Close(1002, "stream a is open already")]
    assert one.receive(ask("c")) == []
    one.event("a", wire.Done())
    assert said(one) == []


def test_too_many_streams_are_refused_one_by_one() -> None:
    one = Session(most=2)
    one.receive(ask("a"))
    one.receive(ask("b"))
    assert one.receive(ask("c")) == []
    [(event, stream)] = said(one)
    assert isinstance(event, wire.Failed) and (event.code, stream) == ("busy", "c")
    one.event("a", wire.Done())
    assert one.receive(ask("d")) == [Start("d", wire.Search("x"))]


def test_who_asks_and_asks_and_never_reads_is_closed() -> None:
    one, actions = Session(most=2), list[session.Action]()
    for n in range(100):
        actions += one.receive(ask(str(n)))
    assert actions[-1] == Close(1008, "answers are not being read") and said(one) == []


def test_changes_can_be_refused() -> None:
    one = Session(refuse=(wire.Add, wire.Remove))
    assert one.receive(ask("a", wire.Add([wire.Upload("x", b"y")]))) == []
    [(event, _)] = said(one)
    assert isinstance(event, wire.Failed) and event.code == "read-only" and event.hint
    assert one.receive(ask("b")) == [Start("b", wire.Search("x"))]


def test_an_unknown_request_fails_its_stream_only() -> None:
    one = Session()
    for n, frame in enumerate(
        ['{"type":"Novelty","id":"x0"}', '{"type":"Search","id":"x1","future":1}', frames.encode(wire.Done(), "x2")]
    ):
        assert one.receive(frame) == []
        [(event, stream)] = said(one)
        assert isinstance(event, wire.Failed) and (event.code, stream) == ("protocol", f"x{n}")
    assert not one.closed and one.open == set()


def test_a_stream_goes_no_further_than_its_window() -> None:
    one = Session(window=3)
    one.receive(ask("a"))
    for n in range(3):
        assert one.room("a")
        one.event("a", wire.Token(str(n)))
    assert not one.room("a")
    one.sending()
    assert one.room("a")
    one.attach("z", "token", 1.0)
    one.event("a", wire.Token("3"))
    said(one)
    assert not one.room("a")  # sent is not come
    assert one.receive(ask("y", wire.Ack({"a": 4}))) == [] and one.room("a")


@pytest.mark.parametrize(
    ("frame", "code"),
    [("", 1002), ("nonsense", 1002), ("[]", 1002), ('{"type":"Search"}', 1002), (b"\0", 1002), ("x" * 2000, 1009)],
)
def test_what_has_no_stream_ends_the_connection(frame: str | bytes, code: int) -> None:
    one = Session(largest=1000)
    one.receive(ask("a"))
    actions = one.receive(frame)
    assert actions[0] == Stop("a")
    assert isinstance(actions[-1], Close) and actions[-1].code == code and len(actions[-1].reason.encode()) <= 123


def test_versions() -> None:
    assert session.choose([]) is None
    assert session.choose(["chat", "inglenook.v1"]) == "inglenook.v1"
    with pytest.raises(NookError) as error:
        session.choose(["inglenook.v2"])
    assert error.value.code == "version"


def test_an_error_of_the_server_tells_nothing_of_its_insides() -> None:
    assert session.failed(NookError("busy", "m", "h")) == wire.Failed("busy", "m", "h")
    assert "secret" not in session.failed(ValueError("/etc/secret")).message


STEPS = st.one_of(
    st.tuples(st.just("frame"), st.one_of(st.binary(max_size=40), st.text(max_size=40))),
    st.tuples(st.just("ask"), st.sampled_from("abcdef")),
    st.tuples(st.just("cancel"), st.sampled_from("abcdef")),
    st.tuples(st.just("event"), st.sampled_from("abcdef")),
    st.tuples(st.just("end"), st.sampled_from("abcdef")),
)


@given(st.lists(STEPS, max_size=60))
def test_whatever_happens_a_stream_ends_once_or_with_the_connection(steps: list[tuple[str, str]]) -> None:
    one = Session(most=3)
    running: set[str] = set()
    closed = False
    for kind, what in steps:
        actions: list[session.Action] = []
        if kind == "frame":
            actions = one.receive(what)
        elif kind == "ask":
            actions = one.receive(ask(what))
        elif kind == "cancel":
            actions = one.receive(ask("z", wire.Cancel(what)))
        else:
            one.event(what, wire.Done() if kind == "end" else wire.Token("t"))
            expected = [(wire.Done() if kind == "end" else wire.Token("t"), what)] if what in running else []
            assert said(one) == expected
            if kind == "end":
                running.discard(what)
        assert not (closed and actions)
        for action in actions:
            match action:
                case Start(stream, _):
                    assert stream not in running
                    running.add(stream)
                case Stop(stream):
                    assert stream in running
                case Close():
                    closed = True
                    running.clear()
        for event, stream in said(one):
            assert isinstance(event, wire.Failed) and stream not in running
        assert one.open == running and len(running) <= 3
        assert one.closed == closed


# ── sessions that outlive their connections ───────────────────────────────────────────────────────────────────────


def attached(window: int = 64) -> Session:
    one = Session(window=window)
    assert one.receive(ask("0", wire.Attach())) == [Attach("0", "", {})]
    one.attach("0", "token", 60_000.0)
    assert said(one) == [(wire.Attached("token", [], window, 60_000.0), "0"), (wire.Done(), "0")]
    return one


def test_what_has_not_come_is_sent_again_and_what_has_is_not() -> None:
    one = attached()
    for stream in "ab":
        one.receive(ask(stream))
    for n in range(4):
        one.event("a", wire.Token(str(n)))
    one.event("b", wire.Done())
    said(one)
    assert one.receive(ask("1", wire.Ack({"a": 2, "gone": 5}))) == []
    assert one.resume("9", "token", {"a": 3, "b": 0, "c": 0}, 60_000.0) == []
    (told, _), _, *rest = said(one)
    assert isinstance(told, wire.Attached) and told.streams == ["a", "b"]  # c has to be asked again
    assert rest == [(wire.Token("3"), "a"), (wire.Done(), "b")]
    assert one.receive(ask("a")) == [] and one.receive(ask("b")) == []  # asked again to be sure: it is known
    one.receive(ask("2", wire.Ack({"b": 1})))
    assert one.receive(ask("b")) == [Start("b", wire.Search("x"))]


def test_a_stream_that_is_not_named_is_stopped() -> None:
    one = attached()
    one.receive(ask("a"))
    one.receive(ask("b"))
    one.event("a", wire.Token("x"))
    assert one.resume("9", "token", {"b": 0}, 1.0) == [Stop("a")]
    one.event("a", wire.Cancelled())
    assert [stream for _, stream in said(one)] == ["9", "9"] and one.open == {"b"}


@pytest.mark.parametrize("seen", [-1, 2, 10**9])
def test_who_claims_to_have_seen_what_was_not_sent_is_closed(seen: int) -> None:
    for how in ("ack", "resume"):
        one = attached()
        one.receive(ask("a"))
        one.event("a", wire.Token("x"))
        said(one)
        one.event("a", wire.Token("not sent"))
        ack = ask("1", wire.Ack({"a": seen}))
        actions = one.receive(ack) if how == "ack" else one.resume("9", "token", {"a": seen}, 1.0)
        assert actions == [Stop("a"), Close(1002, "more has come than was sent")]


def test_attach_comes_first_and_once() -> None:
    one = Session()
    one.receive(ask("a"))
    assert one.receive(ask("b", wire.Attach())) == []
    [(event, stream)] = said(one)
    assert isinstance(event, wire.Failed) and (event.code, stream) == ("protocol", "b")
    assert one.receive(ask("1", wire.Ack({"a": 5}))) == []  # nobody counts here


class Line:
    """A client and a server with a line between them that drops at any frame: what the client does is what
    web/lib/remote.js does."""

    def __init__(self, scripts: dict[str, list[wire.Event]], window: int) -> None:
        self.server = attached(window)
        self.scripts = {stream: iter(script) for stream, script in scripts.items()}
        self.asked = list(scripts)
        self.seen = dict.fromkeys(scripts, 0)
        self.got: dict[str, list[wire.Message]] = {stream: [] for stream in scripts}
        self.down: list[str | bytes] = []
        self.up: list[str | bytes] = [ask(stream) for stream in scripts]
        self.started: list[str] = []

    def hears(self) -> None:
        """The server takes a frame from the line."""
        if self.up:
            for action in self.server.receive(self.up.pop(0)):
                assert isinstance(action, Start)
                self.started.append(action.stream)

    def works(self, stream: str) -> None:
        if stream in self.server.open and self.server.room(stream) and (event := next(self.scripts[stream], None)):
            self.server.event(stream, event)

    def sends(self) -> None:
        if frame := self.server.sending():
            self.down.append(frame)

    def reads(self) -> None:
        """The client takes a frame from the line."""
        if self.down:
            event, stream = frames.decode(self.down.pop(0))
            if isinstance(event, wire.Attached):
                self.up += [ask(s) for s in self.seen if s not in event.streams]
            elif stream in self.seen:
                self.got[stream].append(event)
                self.seen[stream] += 1
                if isinstance(event, wire.ENDS):
                    self.up.append(ask("ack", wire.Ack({stream: self.seen.pop(stream)})))
                elif self.seen[stream] % 2 == 0:
                    self.up.append(ask("ack", wire.Ack({stream: self.seen[stream]})))

    def drops(self) -> None:
        """Everything on its way is lost, in both directions; the client comes back."""
        self.up.clear()
        self.down.clear()
        assert self.server.resume("again", "token", self.seen, 60_000.0) == []


SCRIPT = st.lists(st.builds(wire.Token, st.text(max_size=3)), max_size=12)


@given(
    st.lists(SCRIPT, min_size=1, max_size=4),
    st.lists(st.sampled_from(["hears", "works", "works", "sends", "sends", "reads", "reads", "drops"]), max_size=120),
    st.integers(2, 5),
    st.randoms(use_true_random=False),
)
def test_a_line_that_drops_anywhere_changes_nothing(
    texts: list[list[wire.Event]], steps: list[str], window: int, rnd: Random
) -> None:
    scripts = {str(n): [*script, wire.Done()] for n, script in enumerate(texts)}
    line = Line(scripts, window)
    for step in [*steps, "drops"]:
        line.works(rnd.choice(line.asked)) if step == "works" else getattr(line, step)()
        assert all(len(ring) <= window + 1 for ring in line.server._rings.values())
    for _ in range(200):  # nothing drops any more
        line.hears()
        for stream in line.asked:
            line.works(stream)
        line.sends()
        line.reads()
    assert line.got == scripts
    assert sorted(line.started) == line.asked  # each was run once
    assert not line.server._rings and not line.server.open
