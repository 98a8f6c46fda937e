"""Prompt files: read, rendered and printed; what is wrong with one is told with its line."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.evals.calls import Message, Settings
from inglenook.prompt.ast import KINDS, ROLES, Prompt, Segment, Slot, Span, escape
from inglenook.prompt.file import parse, show
from inglenook.prompt.requirement import QUANTITIES, Requirement
from inglenook.wire.messages import Slo

TRIAGE = """---
name: triage   # the queue of a ticket
version: 1.2.0
settings: {max_tokens: 8, stop: ["\\n"]}
slots:
  ticket: {most: 400, description: what the customer wrote}
  tone: {type: choice, choices: [calm, brisk], default: calm}
  note: {required: false}
requirements:
  - {id: R1, text: Names one of three queues., threshold: 0.95, margin: 0.1}
---

{{! who it is }}
{{#seg persona   role=system}}
You answer in one word, in a {{ tone }} voice.
{{/seg}}
{{#seg task kind=task req=R1 protect}}
Which queue is this for: billing, technical or sales?

{{/seg}}
{{#seg note when=note}}
Mind this: {{note}}
{{/seg}}
{{#seg ticket kind=input}}
<ticket>{{ticket}}</ticket> \\{{not a slot}}
{{/seg}}
{{#seg end glue}}
 Queue:
{{/seg}}
{{! the end }}
"""


def test_a_file_is_read_into_its_parts() -> None:
    prompt = parse(TRIAGE)
    assert (prompt.name, prompt.version, prompt.settings) == ("triage", "1.2.0", Settings(8, stop=("\n",)))
    assert prompt["task"] == Segment(
        "task", "Which queue is this for: billing, technical or sales?\n", "task", requirements=("R1",), protected=True
    )
    assert prompt["end"].glue and prompt["note"].when == "note"
    assert prompt.slot("tone") == Slot("tone", "choice", default="calm", choices=("calm", "brisk"))
    assert prompt.requirements == (Requirement("R1", "Names one of three queues.", threshold=0.95, margin=0.1),)


def test_it_becomes_messages_whose_characters_know_where_they_came_from() -> None:
    rendered = parse(TRIAGE).render({"ticket": "It is {{down}}."})
    assert rendered.messages == (
        Message("system", "You answer in one word, in a calm voice."),
        Message(
            "user",
            "Which queue is this for: billing, technical or sales?\n\n"
            "<ticket>It is {{down}}.</ticket> {{not a slot}} Queue:",
        ),
    )
    text = str(rendered.messages[1].content)
    for span in rendered.spans[1]:
        said = text[span.start : span.end]
        assert said == "It is {{down}}." if span.slot else span.segment in ("task", "ticket", "end")
    assert rendered.source(0, 30) == Span(29, 33, "persona", "tone")
    assert rendered.source(1, text.index("Queue:")) == rendered.spans[1][-1]
    assert "Mind this: it is urgent" in str(parse(TRIAGE).render({"ticket": "x", "note": "it is urgent"}))


@pytest.mark.parametrize(
    ("type", "yes", "no"), [("boolean", True, False), ("integer", 1, 0), ("text", "0", ""), ("json", [0], [])]
)
def test_a_condition_holds_for_values_that_say_something(type, yes, no) -> None:
    prompt = Prompt((Segment("a", "A"), Segment("b", "B", when="x")), (Slot("x", type, required=False),))
    assert prompt.render({"x": yes}).messages[0].content == "A\nB"
    assert prompt.render({"x": no}).messages[0].content == prompt.render().messages[0].content == "A"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "ticket has no value"),
        ({"ticket": "x", "tiket": "y"}, "no slot tiket.*Did you mean ticket"),
        ({"ticket": "x" * 401}, "too much.*400 characters"),
        ({"ticket": "x", "tone": "loud"}, "'loud' is no value.*calm, brisk"),
        ({"ticket": 7}, "7 is no value for the slot ticket.*text"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, said) -> None:
    with pytest.raises(NookError, match=said):
        parse(TRIAGE).render(values)


def test_parts_can_be_left_out_and_put_back() -> None:
    prompt = parse(TRIAGE)
    less = prompt.without({"persona", "note"})
    assert [one.name for one in less.segments] == ["task", "ticket", "end"]
    assert len(less.render({"ticket": "x"}).messages) == 1
    assert prompt.only({"task"}).segments == (prompt["task"],)
    assert less.put(prompt["persona"], "task").put(prompt["note"], "ticket").segments == prompt.segments
    changed = prompt.put(replace(prompt["end"], text="Answer:"))
    assert changed["end"].text == "Answer:" and len(changed.segments) == 5
    assert changed.digest != prompt.digest == parse(TRIAGE).digest


def test_printing_gives_back_the_file_and_changes_what_was_changed() -> None:
    prompt = parse(TRIAGE)
    assert show(prompt) == TRIAGE
    changed = prompt.put(replace(prompt["task"], text="Which queue?"))
    before, after = TRIAGE.split("\n"), show(changed).split("\n")
    assert [line for line in after if line not in before] == ["Which queue?"]
    renamed = show(replace(prompt, version="1.3.0"))
    assert "version: 1.3.0" in renamed and renamed.split("---\n")[2] == TRIAGE.split("---\n")[2]


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t{}\\"), max_size=40)
SLOTS = st.one_of(
    st.builds(Slot, NAMES, st.sampled_from(["text", "json"]), st.booleans(), description=WORDS, trusted=st.booleans()),
    st.builds(Slot, NAMES, st.just("integer"), default=st.integers(), examples=st.tuples(st.integers())),
    st.builds(Slot, NAMES, st.just("choice"), choices=st.tuples(WORDS, WORDS)),
    st.builds(Slot, NAMES, st.just("number"), least=st.floats(-1e9, 0), most=st.floats(0, 1e9)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=5,
)  # fmt: skip
SETTINGS = st.builds(
    Settings, st.integers(1, 999), st.floats(0, 2), stop=st.lists(WORDS, max_size=2).map(tuple),
    response_format=st.none() | st.just({"type": "json_object"}), slo=st.none() | st.builds(Slo, st.floats(1, 99)),
    level=st.none() | st.integers(0, 4),
)  # fmt: skip
REQUIREMENTS = st.builds(
    Requirement, NAMES, WORDS, metric=st.sampled_from(QUANTITIES), limit=st.floats(0, 1e6),
    threshold=st.floats(0.5, 1), margin=st.floats(0.01, 0.4), needs=st.lists(NAMES, max_size=2).map(tuple),
)  # fmt: skip


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    slots = draw(st.lists(SLOTS, max_size=3, unique_by=lambda slot: slot.name))
    used = st.sampled_from([f"{{{{{slot.name}}}}}" for slot in slots]) if slots else st.just("")
    texts = st.lists(WORDS.map(escape) | used, max_size=4).map("".join)
    segments = st.builds(
        Segment, NAMES, texts.filter(sound), st.sampled_from(KINDS), st.sampled_from(ROLES),
        st.lists(NAMES, max_size=2).map(tuple), st.booleans(), st.booleans(),
        st.sampled_from(["", *(slot.name for slot in slots)]),
    )  # fmt: skip
    return Prompt(
        tuple(draw(st.lists(segments, min_size=1, max_size=4, unique_by=lambda one: one.name))), tuple(slots),
        draw(WORDS), draw(WORDS), draw(WORDS), draw(WORDS), draw(SETTINGS),
        tuple(draw(st.lists(REQUIREMENTS, max_size=2, unique_by=lambda one: one.id))),
        draw(st.dictionaries(WORDS, JSON, max_size=2)),
    )  # fmt: skip


def sound(text: str) -> bool:
    """Whether pieces put together did not by chance make braces that are no slot."""
    try:
        Segment("x", text)
    except NookError:
        return False
    return True


@given(prompts())
def test_every_prompt_survives_its_file(prompt: Prompt) -> None:
    text = show(prompt)
    again = parse(text)
    assert again == prompt
    assert show(again) == text
    assert again.digest == prompt.digest


@given(prompts())
def test_every_character_of_a_message_is_of_one_segment_or_joins_two(prompt: Prompt) -> None:
    for slot in prompt.slots:
        value = {"choice": slot.choices[:1], "integer": [3], "number": [0]}.get(slot.type, ["x{{y}}"])[0]
        if slot.type == "choice" or slot.required:
            filled = (replace(one, default=value) if one == slot else one for one in prompt.slots)
            prompt = replace(prompt, slots=tuple(filled))
    rendered = prompt.render()
    for message, spans in zip(rendered.messages, rendered.spans, strict=True):
        at, joints = 0, 0
        for span in spans:
            assert at <= span.start < span.end <= len(message.content)
            assert set(message.content[at : span.start]) <= {"\n"}
            joints += span.start - at
            at = span.end
        assert set(message.content[at:]) <= {"\n"}
        assert joints + len(message.content) - at < len(prompt.segments)


@given(WORDS)
def test_escaped_text_renders_as_it_is(text: str) -> None:
    assert Prompt((Segment("x", escape(text)),)).render().messages[0].content == text


FRONT = "---\nname: x\nslots:\n  a: {}\n---\n"
BROKEN = [
    ("", "p.prompt:1: This is no prompt file"),
    ("Hello", "p.prompt:1: This is no prompt file"),
    ("---\nname: x\n", "p.prompt:1: The front matter does not end"),
    ("---\nname: 'x\n---\n", "p.prompt:3: This is no YAML"),
    ("---\nname: x\nname: y\n---\n", "p.prompt:3: .*'name' stands twice"),
    ("---\nname: x\nsetings: {}\n---\n", "p.prompt:3: The key setings.*Did you mean settings"),
    ("---\nsettings:\n  max_tokens: many\n---\n", "p.prompt:3: max_tokens is 'many'.*number"),
    ("---\nsettings:\n  temperatur: 1\n---\n", "p.prompt:3: .*temperatur.*Did you mean temperature"),
    ("---\nslots: [a]\n---\n", "p.prompt:2: slots is .*mapping"),
    ("---\nslots:\n  a: {type: texst}\n---\n", "p.prompt:3: type is 'texst'.*Did you mean text"),
    ("---\nslots:\n  a: {type: integer, default: x}\n---\n", "p.prompt:3: 'x' is no value"),
    ("---\nslots:\n  a: {type: choice}\n---\n", "p.prompt:3: .*0 choices"),
    ("---\nrequirements:\n  - id: R1\n    threshold: 2\n---\n", "p.prompt:3: .*threshold 2"),
    ("---\nrequirements:\n  - {id: R1, metric: speed}\n---\n", "p.prompt:3: metric is 'speed'"),
    ("---\nrequirements: [{id: R1}, {id: R1}]\n---\n", "p.prompt:2: Two requirements have the id R1"),
    ("---\nx: " + "[" * 200 + "]" * 200 + "\n---\n", "p.prompt:2: .*nested more than 100 deep"),
    ("---\nx: !!python/object:os.system {}\n---\n", "p.prompt:2: "),
    ("---\nx: \x07\n---\n", "p.prompt:2: "),
    ("---\nname: a\nx: !!bool hello\n---\n", "p.prompt:3: .*'hello' is no bool"),
    ("---\nname: a\nx: !!float ''\n---\n", "p.prompt:3: .*'' is no float"),
    ('---\nx: "\\UFFFFFFFF"\n---\n', "p.prompt:2: .*(too large|not in range)"),
    (f"---\nname: a\nsettings: {{temperature: {'9' * 400}}}\n---\n", "p.prompt:3: .*is no int"),
    (f"---\nname: a\nx: {'9' * 5000}\n---\n", "p.prompt:3: .*is no int"),
    ("---\nmetadata: &a {b: *a}\n---\n", "p.prompt:2: .*aliases stand for more than"),
    ("---\nmetadata:\n  a0: &a0 [x, x]\n" + "".join(
        f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
    ) + "---\n", "p.prompt:2: .*aliases stand for more than"),
    (FRONT, "p.prompt:5: The prompt has no segment"),
    (FRONT + "Hello\n", "p.prompt:6: 'Hello' stands in no segment"),
    (FRONT + "{{#seg a}}\nHello\n", "p.prompt:6: .*does not end"),
    (FRONT + "{{#seg a}}\nHello\n{{#seg b}}\n{{/seg}}\n", "p.prompt:6: .*does not end"),
    (FRONT + "{{#seg}}\nHello\n{{/seg}}\n", "p.prompt:6: '' is no name"),
    (FRONT + "{{#seg a kind=tsk}}\nHello\n{{/seg}}\n", "p.prompt:6: 'tsk' is unknown.*Did you mean task"),
    (FRONT + "{{#seg a protekt}}\nHello\n{{/seg}}\n", "p.prompt:6: .*'protekt'"),
    (FRONT + "{{#seg s}}\nA\nB {{b}}\n{{/seg}}\n", "p.prompt:8: There is no slot b.*slots: {b: {type: text}}"),
    (FRONT + "{{#seg s}}\nA\nB {{#if a}}\n{{/seg}}\n", r"p.prompt:8: .*'{{#if a}}', which is no slot.*\\{{"),
    (FRONT + "{{#seg s when=c}}\nA\n{{/seg}}\n", "p.prompt:6: There is no slot c"),
    (FRONT + "{{#seg s}}\nA\n{{/seg}}\n" * 2, "p.prompt:5: Two segments are called s"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BROKEN, ids=range(len(BROKEN)))
def test_what_is_wrong_is_told_with_file_line_and_what_to_do(text: str, said: str) -> None:
    with pytest.raises(NookError) as refused:
        parse(text, "p.prompt")
    assert re.search(said, str(refused.value)), str(refused.value)
    assert refused.value.hint


def test_scalars_are_those_of_yaml_1_2() -> None:
    said = "---\nmetadata: {a: no, b: 1:30, c: 2026-01-02, d: 010, e: 0x1f, f: 1e3, g: ~, h: on, i: 0o17}\n---\n"
    prompt = parse(said + "{{#seg a}}\nx\n{{/seg}}\n")
    assert prompt.metadata == {
        "a": "no", "b": "1:30", "c": "2026-01-02", "d": 10, "e": 31, "f": 1000.0, "g": None, "h": "on", "i": 15,
    }  # fmt: skip
