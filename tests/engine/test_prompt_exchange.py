"""Other tools' formats: what is written reads back as the same messages, and what is lost is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from inglenook.errors import NookError
from inglenook.evals.calls import Message, Settings
from inglenook.prompt.ast import Prompt, Segment, Slot
from inglenook.prompt.case import Assertion, Case
from inglenook.prompt.exchange import promptfoo
from inglenook.prompt.exchange.formats import FORMATS, guess, read
from inglenook.prompt.exchange.paragraphs import paragraphs
from inglenook.prompt.requirement import Requirement

PROMPT = Prompt(
    (
        Segment("persona", "You sort tickets of {{shop}}.", "persona", "system"),
        Segment("task", "Which queue is it for?\n", "task", requirements=("R1",), protected=True),
        Segment("note", "Mind this: {{note}}", "context", when="note"),
        Segment("ticket", "<ticket>\n{{ticket}}\n</ticket> \\{{x}} is text", "input"),
        Segment("end", " Queue:", glue=True),
    ),
    (
        Slot("shop", default="a bicycle shop", required=False),
        Slot("note", required=False, description="what to mind"),
        Slot("ticket", description="what the customer wrote"),
        Slot("tone", "choice", choices=("calm", "brisk"), default="calm", required=False),
    ),
    "sort", "1.2.0", "Sorts tickets.", "some/model", Settings(12, 0.5, stop=("END",)),
)  # fmt: skip
CASES = (
    Case("chain", {"ticket": "My chain broke."}, (Assertion("icontains", "repairs", metric="queue"),), ("R1",)),
    Case("note", {"ticket": "Where is it?", "note": "be kind"}, (Assertion("equals", "orders", weight=2.0),)),
)
FILLED = [{"ticket": "Help {{me}}"}, {"ticket": "x", "note": "y", "shop": "z"}, {"ticket": "a\n\nb", "note": "c"}]


def files(**texts: str):
    def open(name: str) -> str:
        if name not in texts:
            raise NookError("no-file", f"{name} is not there.", "")
        return texts[name]

    return open


def again(name: str, prompt: Prompt, cases=()):
    made = FORMATS[name].write(prompt, cases)
    return FORMATS[name].read(made.text, f"sort{FORMATS[name].suffix}", lambda path: made.beside[path]), made


@pytest.mark.parametrize("name", ["promptfoo", "prompty", "dotprompt"])
def test_messages_conditions_and_settings_survive(name: str) -> None:
    back, made = again(name, PROMPT, CASES)
    [prompt] = back.prompts
    for values in FILLED:
        filled = {"shop": "a bicycle shop", **values}
        assert prompt.render(filled).messages == PROMPT.render(filled).messages
    assert (prompt.settings, prompt.target, prompt.description) == (PROMPT.settings, PROMPT.target, PROMPT.description)
    assert any("protected" in str(loss) for loss in made.lost)
    if name != "promptfoo":
        assert {slot.name: slot.choices for slot in prompt.slots}["tone"] == ("calm", "brisk")
        assert prompt.slot("ticket").description == "what the customer wrote"
        assert prompt.version == "1.2.0"


def test_promptfoo_carries_cases_with_their_requirements() -> None:
    back, _ = again("promptfoo", PROMPT, CASES)
    defaults = {"shop": "a bicycle shop", "tone": "calm"}
    assert back.cases == tuple(replace(case, values={**defaults, **case.values}) for case in CASES)


def test_github_carries_what_all_cases_share() -> None:
    prompt = PROMPT.without({"note"}).put(replace(PROMPT["ticket"], text="<t>{{ticket}}</t>"))
    shared = (
        Assertion("icontains", "queue", metric="names it"),
        Assertion("regex", re.escape("done.") + "$", metric="ends"),
    )
    cases = [Case("a", {"ticket": "x"}, shared), Case("b", {"ticket": "y"}, (*shared, Assertion("equals", "z")))]
    back, made = again("github", prompt, cases)
    for values in ({"ticket": "x"}, {"ticket": "a\n\nb"}):
        filled = {**values, "shop": "z"}
        assert back.prompts[0].render(filled).messages == prompt.render(filled).messages
    assert [case.assertions for case in back.cases] == [shared, shared]
    assert [case.values for case in back.cases] == [{"ticket": "x"}, {"ticket": "y"}]
    said = [str(loss) for loss in made.lost]
    assert any("case b: equals" in one for one in said) and any("settings.stop" in one for one in said)
    assert any("when=note" in str(loss) for loss in FORMATS["github"].write(PROMPT, ()).lost)


def test_openai_evals_carries_rendered_samples() -> None:
    cases = [
        Case("a", {"ticket": "x {{y}}"}, (Assertion("starts-with", "repairs"),)),
        Case("b", {"ticket": "y\n\nz"}, (Assertion("regex", "^(?:orders|re\\.turns)"), Assertion("is-json"))),
    ]
    back, made = again("openai-evals", PROMPT, cases)
    [prompt] = back.prompts
    assert [prompt.render(case.values).messages for case in back.cases] == [
        PROMPT.render(case.values).messages for case in cases
    ]
    assert [case.assertions for case in back.cases] == [cases[0].assertions, cases[1].assertions[:1]]
    assert prompt.segments[0].text == "You sort tickets of a bicycle shop."  # what is the same everywhere is no slot
    assert any("case b: is-json" in str(loss) for loss in made.lost)
    assert json.loads(made.text.split("\n")[1])["ideal"] == ["orders", "re.turns"]


def test_lm_eval_carries_the_prompt_and_rows_beside_it() -> None:
    back, made = again("lm-eval", PROMPT, CASES)
    [prompt] = back.prompts
    assert list(made.beside) == ["sort.jsonl"]
    for values in FILLED:
        filled = {"shop": "z", **values}
        assert prompt.render(filled).messages == PROMPT.render(filled).messages
    assert (prompt.name, prompt.version, prompt.settings) == ("sort", "1.2.0", PROMPT.settings)
    assert [case.values["ticket"] for case in back.cases] == ["My chain broke.", "Where is it?"]
    assert back.cases[1].assertions == (Assertion("equals", "orders", metric="exact_match"),)
    assert any("case chain: icontains" in str(loss) for loss in made.lost)


WORDS = st.text(st.sampled_from("ab .:\n-'\"é"), max_size=12)
PIECES = WORDS | st.sampled_from(["{{x}}", "{{y}}", r" \{{z}} ", " {1} ", " 5% # "])


@st.composite
def prompts(draw: st.DrawFn) -> Prompt:
    segments: list[Segment] = []
    for n in range(draw(st.integers(1, 4))):
        text = "".join(draw(st.lists(PIECES, max_size=4)))
        assume(text.strip())
        when = draw(st.sampled_from(["", "", "x"])) if n else ""
        role = segments[-1].role if when else draw(st.sampled_from(["system", "user", "assistant"]))
        segments.append(Segment(f"s{n}", text, role=role, glue=draw(st.booleans()), when=when))
    return Prompt(tuple(segments), (Slot("x", required=False), Slot("y", required=False)))


@given(prompts(), WORDS, st.sampled_from(["promptfoo", "prompty", "dotprompt", "github"]))
def test_whatever_a_format_carries_renders_as_before(prompt: Prompt, value: str, name: str) -> None:
    back, made = again(name, prompt)
    told = "\n".join(map(str, made.lost))
    assume("when=" not in told and "braces" not in told)
    [read] = back.prompts
    for values in ({"x": value, "y": "1"}, {"x": "", "y": value}):
        known = {slot.name: values[slot.name] for slot in read.slots}
        assert read.render(known).messages == prompt.render(values).messages


@given(st.text(st.sampled_from("ab\n `<>/"), max_size=40))
def test_paragraphs_join_to_the_text(text: str) -> None:
    assert "\n".join(paragraphs(text)) == text


FOO = """
description: Tickets
prompts:
  - file://chat.json
  - "Sort {{ticket}} {% for a in b %}{{ a | upper }}{% endfor %} {{user.name}}"
providers:
  - id: openai:gpt-4o-mini
    config: {temperature: 0.2, max_tokens: 20, seed: 3}
  - ollama:llama3
defaultTest:
  vars: {shop: bikes}
  assert: [{type: latency, threshold: 900}]
assertionTemplates:
  polite: {type: icontains, value: thank}
tests:
  - description: one
    vars: {ticket: [a, b]}
    assert:
      - $ref: "#/assertionTemplates/polite"
      - {type: javascript, value: output.length < 9}
    options: {transform: output.trim()}
  - file://more.csv
sharing: true
"""
CHAT = '[{"role": "system", "content": "Be kind to {{shop}}."}, {"role": "user", "content": "{{ticket}}"}]'
CSV = "ticket,__expected,__description\nc,icontains: d,from a table\ne,f\n"


def test_tests_alone_may_be_a_list() -> None:
    told = "- vars: {a: [x, y]}\n  assert: [{type: equals, value: b}]\n- more.csv\n"

    def cases(text: str) -> tuple[Case, ...]:
        return promptfoo.cases(text, "t.yaml", files(**{"more.csv": "a,__expected\nz,c\n"}))[0]

    assert cases(told) == cases("tests:\n" + told) and [case.values["a"] for case in cases(told)] == ["x", "y", "z"]
    with pytest.raises(NookError, match=r"t.yaml:3: weight is -1"):
        cases("- vars: {a: x}\n- assert:\n  - {type: a, weight: -1}\n")


def test_promptfoo_is_read_with_the_files_it_names_and_its_losses_are_told() -> None:
    back = FORMATS["promptfoo"].read(FOO, "foo.yaml", files(**{"chat.json": CHAT, "more.csv": CSV}))
    chat, plain = back.prompts
    assert chat.render({"shop": "s", "ticket": "t"}).messages == (
        Message("system", "Be kind to s."),
        Message("user", "t"),
    )
    assert chat.settings == Settings(20, 0.2) and back.targets == ("openai:gpt-4o-mini", "ollama:llama3")
    filled = str(plain.render({"ticket": "t", "user_name": "u"}).messages[0].content)
    assert filled == "Sort t {% for a in b %}{{ a | upper }}{% endfor %} u"
    assert [(case.name, case.values["ticket"]) for case in back.cases] == [
        ("one", "a"), ("one", "b"), ("from a table", "c"), ("test 4", "e"),
    ]  # fmt: skip
    assert [one.type for one in back.cases[0].assertions] == ["latency", "icontains", "javascript"]
    assert back.cases[2].assertions[1] == Assertion("icontains", "d")
    assert back.cases[3].assertions[1] == Assertion("equals", "f")
    told = "\n".join(map(str, back.lost))
    for what in (
        "foo.yaml:23: sharing",
        "seed",
        "{% for",
        "{{ a | upper }}",
        "user.name",
        "javascript",
        "foo.yaml:21: a test's options",
    ):
        assert what in told, told


OLD = """---
name: Basic
model:
  api: chat
  configuration: {type: azure_openai, azure_deployment: gpt-4o}
  parameters: {max_tokens: 128, temperature: 0.2}
inputs:
  question: {type: string}
sample:
  question: Who is it?
authors: [me]
---
system:
You help.

user:
{{question}}
"""


def test_a_prompty_of_version_1_is_read_too() -> None:
    back = FORMATS["prompty"].read(OLD, "basic.prompty", files())
    [prompt] = back.prompts
    assert prompt.render({"question": "Q"}).messages == (Message("system", "You help."), Message("user", "Q"))
    assert (prompt.target, prompt.settings) == ("gpt-4o", Settings(128, 0.2))
    assert back.cases == (Case("sample", {"question": "Who is it?"}),)
    assert prompt.metadata == {"authors": ["me"]}


DOT = """---
model: googleai/gemini
config: {temperature: 0.7, topK: 20}
input:
  default: {name: Guest}
  schema:
    name: string
    mood?(enum, how they feel): [GOOD, BAD]
    age?: integer, in years
output:
  format: json
  schema:
    greeting: string, what to say
    level?: number
tools: [time]
---
{{role "system"}}
You greet.
{{role "model"}}
Hello!
{{role "user"}}
{{#if age}}Aged {{age}}. {{/if}}I am {{name}}. {{>partial}}
"""


def test_dotprompt_is_read_with_its_schemas() -> None:
    back = FORMATS["dotprompt"].read(DOT, "hi.prompt", files())
    [prompt] = back.prompts
    assert [one.role for one in prompt.render({}).messages] == ["system", "assistant", "user"]
    assert prompt.render({"age": 9}).messages[2].content == "Aged 9. I am Guest. {{>partial}}"
    assert prompt.slot("mood") == Slot("mood", "choice", False, None, ("GOOD", "BAD"), description="how they feel")
    schema = prompt.settings.response_format["json_schema"]["schema"]
    assert schema["properties"]["greeting"] == {"type": "string", "description": "what to say"}
    assert schema["required"] == ["greeting"]
    told = "\n".join(map(str, back.lost))
    assert "hi.prompt:15: tools" in told and "topK" in told and "{{>partial}}" in told


HUB = """name: Summary
model: gpt-4o-mini
modelParameters: {temperature: 0.5}
messages:
  - {role: system, content: You summarise.}
  - role: user
    content: |
      Summarise:
      {{input}}
testData:
  - {input: A long text., expected: Short.}
evaluators:
  - {name: starts, string: {startsWith: "Summary"}}
  - {name: same, string: {equals: "{{expected}}"}}
  - name: judge
    llm: {modelId: gpt-4o, prompt: "Good? {{completion}}", choices: [{choice: "yes", score: 1}]}
  - {name: similar, uses: github/similarity}
"""


def test_github_prompts_are_read_with_their_tests() -> None:
    back = FORMATS["github"].read(HUB, "s.prompt.yml", files())
    [case] = back.cases
    assert [(one.type, one.value) for one in case.assertions[:2]] == [("starts-with", "Summary"), ("equals", "Short.")]
    assert case.assertions[2].type == "llm-rubric" and case.metadata == {"expected": "Short."}
    assert back.prompts[0].render({"input": "x"}).messages[1].content == "Summarise:\nx\n"
    told = "\n".join(map(str, back.lost))
    assert "github/similarity" in told and "startsWith" in told


TASK = """task: arith
dataset_path: org/arith
output_type: multiple_choice
doc_to_text: "{{question}}\\nAnswer:"
doc_to_target: answer
doc_to_choice: !function utils.choices
generation_kwargs: {until: ["\\n"], do_sample: false}
metric_list: [{metric: acc}, {metric: bleu}]
num_fewshot: 5
metadata: {version: 1.0}
"""


def test_an_lm_eval_task_whose_dataset_lies_elsewhere_says_so() -> None:
    back = FORMATS["lm-eval"].read(TASK, "t.yaml", files())
    assert back.prompts[0].version == "1.0.0" and back.prompts[0].settings == Settings(stop=("\n",))
    told = "\n".join(map(str, back.lost))
    for what in ("t.yaml:2: the dataset org/arith", "multiple_choice", "bleu", "num_fewshot", "doc_to_choice"):
        assert what in told, told


BROKEN = [
    ("promptfoo", "tests: []\n", "f:1: There is no prompt"),
    ("promptfoo", "prompts: [x]\ntests:\n  - assert: [{value: 3}]\n", "f:3: An assertion has no type"),
    (
        "promptfoo",
        "prompts: [x]\ntests:\n  - assert:\n      - {$ref: '#/a/b'}\n",
        "f:4: There is no assertion template b",
    ),
    ("promptfoo", "prompts: ['file://gone.txt']\n", "gone.txt is not there"),
    ("promptfoo", "prompts: 5\n", "f:1: prompts is 5"),
    ("promptfoo", "prompts: [x]\nproviders:\n", "f:2: providers is None"),
    ("promptfoo", "prompts: [x]\nproviders: [{id: m, config: {temperature: hot}}]\n", "f:2: .*temperature .*'hot'"),
    ("promptfoo", "prompts: [x]\nassertionTemplates: {b: 5}\ntests: [{assert: [{$ref: b}]}]\n", "f:3: .*template b"),
    ("promptfoo", "prompts: [x]\ntests:\n  - metadata: {requirements: 5}\n", "f:3: requirements is 5"),
    ("promptfoo", "prompts: [x]\ntests:\n  - assert: [{type: a, config: {requirements: 5}}]\n", "f:3: requirements is"),
    ("promptfoo", "prompts: [x]\ntests:\n  - assert: [{type: a, weight: -1}]\n", "f:3: weight is -1"),
    (
        "promptfoo",
        "prompts: [x]\ntests:\n  - vars: {" + ", ".join(f"v{n}: [{', '.join('abcdefghij')}]" for n in range(9)) + "}\n",
        "f:3: vars stands for 1000000000 tests",
    ),
    ("promptfoo", "prompts: [x]\ntests: long.csv\n", "long.csv cannot be read: field larger"),
    ("prompty", "---\nmodel: 5\n---\nuser:\nx\n", "f: A value is not as prompty has it"),
    ("prompty", "---\nname: [\n---\nuser:\nx\n", "f:3: This is no YAML"),
    ("prompty", "---\ninputs: [{kind: string}]\n---\nuser:\nx\n", "f:2: An input has no name"),
    ("prompty", "---\nname: x\n", "f:1: The front matter does not end"),
    ("dotprompt", "---\nmodel: [x]\n---\nx", "f:2: model is"),
    ("github", "name: x\n", "f:1: There are no messages"),
    ("github", "messages: [{role: wizard, content: x}]\n", "has the role 'wizard'"),
    ("github", "messages: [{role: user, content: x}]\nevaluators: [{string: {like: x}}]\n", "f:2: .*'like'"),
    ("openai-evals", '{"input": "x"}\n{"ideal": 3}\n', "f:2: This is no sample"),
    ("openai-evals", "\n", "f:1: There is no sample"),
    ("lm-eval", "task: x\n", "f:1: The task has no doc_to_text"),
    ("lm-eval", "doc_to_text: !function a.b\n", "f:1: doc_to_text is a program"),
    ("text", " \n", "f is empty"),
]


@pytest.mark.parametrize(("name", "text", "said"), BROKEN, ids=range(len(BROKEN)))
def test_broken_files_are_refused_with_their_line(name: str, text: str, said: str) -> None:
    with pytest.raises(NookError) as refused:
        read(name, text, "f", files(**{"long.csv": f"a\n{'x' * 200_000}\n"}))
    assert re.search(said, refused.value.message), refused.value.message


def test_plain_text_becomes_segments_by_paragraphs_and_of_kinds() -> None:
    text = "You are a clerk.\n\nSort the ticket.\n\n\nNever guess.\n\n<t>\n\n{{ticket}}\n\n</t>\n"
    [prompt] = FORMATS["text"].read(text, "notes/clerk.txt", files()).prompts
    assert [(one.name, one.kind) for one in prompt.segments] == [
        ("persona", "persona"), ("task", "task"), ("constraint", "constraint"), ("input", "input"),
    ]  # fmt: skip
    assert prompt.render({"ticket": "x"}).messages[0].content == text[:-1].replace("{{ticket}}", "x")


def test_labelled_pairs_become_examples_and_what_is_to_be_answered_input() -> None:
    text = "Name the mood.\n\nReview: Great!\nSentiment: good\n\nReview: {{review}}\nSentiment:"
    [prompt] = FORMATS["text"].read(text, "mood.txt", files()).prompts
    assert [one.kind for one in prompt.segments] == ["task", "example", "input"]


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("a.prompt.yml", "", "github"), ("a.prompty", "", "prompty"), ("a.prompt", "", "dotprompt"),
        ("a.jsonl", "", "openai-evals"), ("a.md", "", "text"), ("a.yaml", "prompts: [x]", "promptfoo"),
        ("a.yaml", "task: x\ndoc_to_text: y", "lm-eval"), ("a.yml", "messages: []", "github"),
    ],
)  # fmt: skip
def test_a_format_is_known_by_name_or_content(path: str, text: str, name: str) -> None:
    assert guess(text, path) == name


def test_no_format_is_told_with_all_there_are() -> None:
    with pytest.raises(NookError, match="promptfoo, prompty"):
        guess("x: 1", "a.yaml")


def test_requirements_and_bounds_are_told_by_every_format_that_writes() -> None:
    prompt = replace(
        PROMPT, requirements=(Requirement("R1"),), slots=(*PROMPT.slots, Slot("n", "integer", False, most=3))
    )
    for name, form in FORMATS.items():
        if form.write:
            told = "\n".join(map(str, form.write(prompt, CASES).lost))
            assert "1 requirements" in told and "slot n:" in told, name
