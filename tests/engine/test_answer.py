"""Questions to answers: what leads, what is written, what is cited, and what is said when nothing is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine import tiny
from engine.harness import Driver, of
from inglenook.elastic import resident
from inglenook.errors import NookError
from inglenook.flow import Begin, Candidates, Copy, Effect, Finish, Forward, drive
from inglenook.wire import messages as wire

OWL = """# Owls

The tawny owl hunts voles at night in the old orchard behind the mill. It raised three chicks in April."""
TAX = """# Taxes

The council raised the property tax by four percent in March. The vote was nine to two."""


class Writer(Driver):
    """A driver whose language model writes `script` after any prompt."""

    def __init__(self, script: str = "") -> None:
        super().__init__()
        self.tokenizer = tiny.tokenizer()
        self.library.tokenizers["lm"] = self.tokenizer
        self.script = self.tokenizer.encode(script, special=False)
        self.kept = tiny.Pages()
        self.prompt = 0
        self.prefilled = 0

    def perform(self, effect: Effect, emit: Any = None) -> Any:
        if isinstance(effect, Copy):
            return self.kept.copy(effect)
        if isinstance(effect, Forward):
            self.turns.ask(effect.turn, len(effect.tokens), effect.at, effect.level)
            assert self.turns.next() is effect.turn
            try:
                return self.forward(effect)
            finally:
                self.turns.done(effect.turn)
        return super().perform(effect, emit)

    def forward(self, effect: Forward) -> Candidates:
        self.fail(effect)
        held = self.kept.write(effect)
        self.prompt = self.end_of_prompt(held)
        self.prefilled += max(0, min(len(held), self.prompt) - effect.at)
        rows = range(len(held) - self.prompt - effect.each + 1, len(held) - self.prompt + 1)
        return tiny.stacked([self.row(written, effect.allow) for written in rows])

    def row(self, written: int, allow: bytes | None) -> Candidates:
        """What comes after so many tokens of the script, which must be allowed."""
        following = self.script[written] if 0 <= written < len(self.script) else 2
        allow = allow or b"\xff" * len(self.tokenizer)
        ids = [token for token in (following, 5) if allow[token // 8] >> token % 8 & 1]
        assert following in ids
        return Candidates(np.array(ids, np.int32), np.array([9, 1][: len(ids)], np.float32), 9.0)

    def end_of_prompt(self, held: list[int]) -> int:
        """How many tokens the prompt has, as far as it was read: it ends where the assistant's turn begins."""
        turn = self.tokenizer.encode("<|im_start|>assistant\n")
        ends = [at for at in range(len(turn), len(held) + 1) if held[at - len(turn) : at] == turn]
        return ends[-1] if ends else len(held) + 1


@pytest.fixture
def nook() -> Writer:
    driver = Writer("The council raised the property tax by four percent in March.")
    driver.open()
    driver.add(owl_md=OWL, tax_md=TAX)
    return driver


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_the_extracted_passage_leads_and_is_the_sources_own_text(nook: Writer) -> None:
    events = nook.run(wire.Ask("How much did the property tax rise?", write=False))
    assert kinds(events)[:2] == ["Hits", "Passage"]
    lead = of(events, wire.Passage)[0]
    [shown] = nook.run(wire.Show(lead.hit.document))
    assert shown.text[lead.start : lead.end] == lead.text
    assert "four percent" in lead.text


def test_the_written_answer_follows_and_is_cited_by_matching(nook: Writer) -> None:
    events = nook.run(wire.Ask("How much did the property tax rise?"))
    order = kinds(events)
    assert order.index("Passage") < order.index("Token") < order.index("Citation") < order.index("Timing")
    text = "".join(event.text for event in of(events, wire.Token))
    assert text == "The council raised the property tax by four percent in March."
    cited = of(events, wire.Citation)[0]
    assert cited.hit.title == "Taxes"
    assert text[cited.start : cited.end] in TAX
    [shown] = nook.run(wire.Show(cited.hit.document))
    assert "four percent" in shown.text[cited.source.start : cited.source.end]


def test_what_the_model_makes_up_is_not_cited() -> None:
    nook = Writer("Penguins elected a submarine [1] to govern Antarctica. Source: [Taxes].")
    nook.open()
    nook.add(owl_md=OWL, tax_md=TAX)
    events = nook.run(wire.Ask("How much did the property tax rise?"))
    assert of(events, wire.Token) and not of(events, wire.Citation)


def test_nothing_found_is_said_plainly_and_the_model_stays_silent(nook: Writer) -> None:
    events = nook.run(wire.Ask("Which enzyme splits lactose in the small intestine?"))
    assert kinds(events)[-2:] == ["NoSource", "Timing"] and "Token" not in kinds(events)


def test_an_empty_library_answers_too() -> None:
    nook = Writer()
    nook.open()
    assert kinds(nook.run(wire.Ask("Anything?"))) == ["Hits", "NoSource", "Timing"]


def test_timing_tells_where_the_time_went_and_whether_the_latency_was_met(nook: Writer) -> None:
    question = "How much did the property tax rise?"
    [timing] = of(nook.run(wire.Ask(question)), wire.Timing)
    assert timing.tokens == len(nook.script) and timing.prompt_tokens > 50 and timing.met is None
    assert of(nook.run(wire.Ask(question, slo=wire.Slo(first=60_000, token=60_000))), wire.Timing)[0].met is True


def test_the_second_question_reuses_the_prompts_beginning(nook: Writer) -> None:
    nook.run(wire.Ask("How much did the property tax rise?"))
    first, nook.prefilled = nook.prefilled, 0
    nook.run(wire.Ask("How much did the property tax rise?"))
    assert 0 < nook.prefilled < first / 4


def test_stopping_frees_the_model_for_the_next_answer(nook: Writer) -> None:
    flow = drive(nook.library.handle(wire.Ask("How much did the property tax rise?")), nook.perform)
    for event in flow:
        if isinstance(event, wire.Token):
            break
    assert nook.library.model.cache.free < nook.library.model.cache.pages
    assert nook.turns.tickets
    flow.close()
    assert not nook.turns.tickets
    assert nook.library.model.cache.free == nook.library.model.cache.pages
    again = "".join(e.text for e in of(nook.run(wire.Ask("How much did the property tax rise?")), wire.Token))
    assert again.startswith("The council")


def test_answers_alternate_on_one_model(nook: Writer) -> None:
    """Two questions at once: each flow goes on whenever the other waits, and both come out whole."""
    flows = [nook.library.handle(wire.Ask(text)) for text in ("property tax rise?", "How did the council vote?")]
    texts, answers, open_flows = ["", ""], [None, None], {0, 1}
    while open_flows:
        for i in sorted(open_flows):
            try:
                item = flows[i].send(answers[i])
            except StopIteration:
                open_flows.discard(i)
                continue
            texts[i] += item.text if isinstance(item, wire.Token) else ""
            effect = item.effect if isinstance(item, Begin) else item.begun if isinstance(item, Finish) else item
            answers[i] = effect if isinstance(item, Begin) else None
            if isinstance(effect, Effect) and not isinstance(item, Begin):
                answers[i] = nook.perform(effect)
    assert texts == ["The council raised the property tax by four percent in March."] * 2


def test_a_model_that_died_is_said_and_the_next_answer_has_the_new_one(nook: Writer) -> None:
    flow = drive(nook.library.handle(wire.Ask("How much did the property tax rise?")), nook.perform)
    next(event for event in flow if isinstance(event, wire.Token))
    nook.instance += 1
    nook.kept = tiny.Pages()
    text = "".join(e.text for e in of(nook.run(wire.Ask("How did the council vote?")), wire.Token))
    assert text.startswith("The council")
    with pytest.raises(NookError) as error:
        list(flow)
    assert error.value.code == "worker-died" and error.value.hint


def test_little_memory_is_said(nook: Writer) -> None:
    nook.context = 512
    events = nook.run(wire.Ask("How much did the property tax rise?"))
    assert any("512 tokens" in event.note for event in of(events, wire.Progress)) and of(events, wire.Token)


def test_a_model_that_cannot_be_had_leaves_the_passages(nook: Writer) -> None:
    def missing(effect: Effect) -> None:
        if isinstance(effect, Forward):
            raise NookError("memory", "No memory for the model.", "Close other tabs.")

    nook.fail = missing
    events: list[Any] = []
    with pytest.raises(NookError):
        events.extend(drive(nook.library.handle(wire.Ask("How much did the property tax rise?")), nook.perform))
    assert of(events, wire.Passage) and nook.library.model.cache.free == nook.library.model.cache.pages


def test_chat_is_the_bare_model(nook: Writer) -> None:
    nook.script = nook.tokenizer.encode("Hello STOP there", special=False)
    events = nook.run(wire.Chat([wire.Turn("user", "Say hello")], stop=["STOP"]))
    assert "".join(e.text for e in of(events, wire.Token)) == "Hello "
    [timing] = of(events, wire.Timing)
    assert timing.stop == "stop"


def test_a_question_of_a_hundred_thousand_characters_is_answered(nook: Writer) -> None:
    events = nook.run(wire.Ask("property tax rise " * 6_000))
    assert of(events, wire.Token)
    assert nook.prompt <= 700


HI = [wire.Turn("user", "hi")]
WEATHER = wire.Tool(
    "weather", "Tells.", '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
)
CALL = '<tool_call>{"name":"weather","arguments":{"city":"Ulm"}}</tool_call>'


def test_chat_writes_what_was_asked_for(nook: Writer) -> None:
    nook.script = nook.tokenizer.encode('{"city":"Ulm"}', special=False)
    events = nook.run(wire.Chat(HI, form=wire.Form("schema", WEATHER.parameters)))
    assert "".join(token.text for token in of(events, wire.Token)) == '{"city":"Ulm"}'
    assert of(events, wire.Timing)[0].stop == "end"


def test_chat_calls_a_function(nook: Writer) -> None:
    nook.script = nook.tokenizer.encode(CALL, special=False)
    for choice in ("auto", "required"):
        events = nook.run(wire.Chat(HI, tools=[WEATHER], choice=choice))
        assert of(events, wire.Called) == [wire.Called([wire.Call("weather", '{"city":"Ulm"}')])]
        assert not of(events, wire.Token) and of(events, wire.Timing)[0].stop == "end"


def test_chat_need_not_call(nook: Writer) -> None:
    nook.script = nook.tokenizer.encode("<tool of", special=False)
    events = nook.run(wire.Chat(HI, tools=[WEATHER]))
    assert "".join(token.text for token in of(events, wire.Token)) == "<tool of" and not of(events, wire.Called)


def test_a_call_that_was_cut_off_is_none(nook: Writer) -> None:
    nook.script = nook.tokenizer.encode(CALL, special=False)
    events = nook.run(wire.Chat(HI, tools=[WEATHER], max_tokens=20))
    assert not of(events, wire.Called) and not of(events, wire.Token)
    assert of(events, wire.Timing)[0].stop == "length"


def test_chat_tells_log_probabilities(nook: Writer) -> None:
    nook.script = nook.tokenizer.encode("abc", special=False)
    [token] = of(nook.run(wire.Chat(HI, logprobs=2)), wire.Token)
    [told] = token.logprobs
    assert (told.token, told.codes, told.logprob) == ("abc", [97, 98, 99], 0.0) and len(told.top) == 2


def test_chat_is_answered_by_the_level_that_was_named(nook: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "smallest", lambda config: 0)  # nothing is drafted
    both = [{"ratio": r, "hidden": [h] * 2, "groups": [2] * 2, "rank": 0} for r, h in ((1.0, 64), (0.5, 32))]
    nook.config = {**nook.config, "levels": both}
    levels: list[int] = []
    nook.fail = lambda effect: levels.append(effect.level) if isinstance(effect, Forward) else None
    events = nook.run(wire.Chat(HI, level=1))
    assert set(levels) == {1} and of(events, wire.Timing)[0].level == 1
    with pytest.raises(NookError) as error:
        nook.run(wire.Chat(HI, level=2))
    assert error.value.code == "level" and "0 to 1" in error.value.hint
    assert nook.library.model.cache.free == nook.library.model.cache.pages


def test_chat_refuses_before_it_loads_a_model(nook: Writer) -> None:
    def fail(effect: Effect) -> None:
        raise AssertionError("nothing may be asked of a driver")

    nook.fail = fail
    with pytest.raises(NookError) as error:
        nook.run(wire.Chat(HI, form=wire.Form("schema", '{"not":{}}')))
    assert error.value.code == "schema"
