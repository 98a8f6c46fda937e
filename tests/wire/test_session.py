"""Sessions: one end for every stream, whatever a client sends and in whatever order."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.wire import frames, session
from inglenook.wire import messages as wire
from inglenook.wire.session import Close, Say, Session, Start, Stop


def ask(stream: str, request: wire.Message = wire.Search("x")) -> str | bytes:  # noqa: B008
    return frames.encode(request, stream)


def said(action: object) -> tuple[wire.Message, str]:
    assert isinstance(action, Say)
    return frames.decode(action.frame)


def test_a_request_starts_a_stream_which_ends_once() -> None:
    one = Session()
    assert one.receive(ask("a")) == [Start("a", wire.Search("x"))]
    assert frames.decode(one.event("a", wire.Hits([])) or "") == (wire.Hits([]), "a")
    assert frames.decode(one.event("a", wire.Done()) or "") == (wire.Done(), "a")
    assert one.event("a", wire.Done()) is None
    assert one.event("a", wire.Hits([])) is None
    assert one.event("never", wire.Done()) is None


def test_cancel_stops_a_stream_that_is_open_and_nothing_else() -> None:
    one = Session()
    one.receive(ask("a"))
    assert one.receive(ask("c", wire.Cancel("a"))) == [Stop("a")]
    assert one.event("a", wire.Cancelled()) is not None
    assert one.receive(ask("d", wire.Cancel("a"))) == []
    assert one.receive(ask("e", wire.Cancel("nowhere"))) == []
    assert one.open == set()


def test_an_id_that_is_open_already_ends_the_connection() -> None:
    one = Session()
    one.receive(ask("a"))
    one.receive(ask("b"))
    assert one.receive(ask("a")) == [Stop("a"), Stop("b"), Close(1002, "stream a is open already")]
    assert one.receive(ask("c")) == []
    assert one.event("a", wire.Done()) is None


def test_too_many_streams_are_refused_one_by_one() -> None:
    one = Session(most=2)
    one.receive(ask("a"))
    one.receive(ask("b"))
    event, stream = said(one.receive(ask("c"))[0])
    assert isinstance(event, wire.Failed) and (event.code, stream) == ("busy", "c")
    one.event("a", wire.Done())
    assert one.receive(ask("d")) == [Start("d", wire.Search("x"))]


def test_changes_can_be_refused() -> None:
    one = Session(refuse=(wire.Add, wire.Remove))
    event, _ = said(one.receive(ask("a", wire.Add([wire.Upload("x", b"y")])))[0])
    assert isinstance(event, wire.Failed) and event.code == "read-only" and event.hint
    assert one.receive(ask("b")) == [Start("b", wire.Search("x"))]


def test_an_unknown_request_fails_its_stream_only() -> None:
    one = Session()
    for n, frame in enumerate(
        ['{"type":"Novelty","id":"x0"}', '{"type":"Search","id":"x1","future":1}', frames.encode(wire.Done(), "x2")]
    ):
        event, stream = said(one.receive(frame)[0])
        assert isinstance(event, wire.Failed) and (event.code, stream) == ("protocol", f"x{n}")
    assert not one.closed and one.open == set()


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
            frame = one.event(what, wire.Done() if kind == "end" else wire.Token("t"))
            assert (frame is not None) == (what in running)
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
                case Say(frame):
                    event = json.loads(frame)
                    assert event["type"] == "Failed" and event["id"] not in running
                case Close():
                    closed = True
                    running.clear()
        assert one.open == running and len(running) <= 3
        assert one.closed == closed
