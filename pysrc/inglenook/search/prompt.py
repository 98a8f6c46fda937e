"""The prompt for an answer: instruction, passages, question, within a budget of tokens.

What never changes comes first, so that the key-value cache keeps it from one question to the next. Passages are cut at
sentence borders around the words that matched: few good sentences serve a small model better than many.

The wording was chosen by running SmolLM2-135M-Instruct over questions of XQuAD with known answers: the rule after the
question (not in the system turn) keeps answers to one sentence and ends all of them. Two passages cut to their best
sentences did as well as two or three whole ones at half the tokens, and nearly as well with the right one second;
examples of answers and of refusals made it worse. The model never says by itself that a text holds no answer, so
whether there is a source is decided before it is asked (`search.cite`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from inglenook.elastic import chat, squeeze
from inglenook.elastic.tokenizer import Tokenizer
from inglenook.errors import NookError
from inglenook.search.sentences import starts
from inglenook.types import Hit, Span

SYSTEM = "You answer questions from the given text."
RULE = "Answer in one sentence, using only the text above."
MOST = 2  # passages; a second one still helps when it is the right one, a third only costs time
EACH = 128  # tokens of a passage at most
LEAST = 16  # tokens; a passage cut shorter says nothing
_LONGEST = 16  # characters of a token, generously


@dataclass(slots=True)
class Prompt:
    """`ids` for the model, of which `fixed` are never dropped: all but the passages. Of `hits` these `spans` (the
    document's characters) made it in, one or more of each hit."""

    ids: list[int]
    fixed: int = 0
    hits: list[Hit] = field(default_factory=list)
    spans: list[list[Span]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def build(question: str, hits: Sequence[Hit], tokenizer: Tokenizer, *, budget: int) -> Prompt:
    """The prompt of at most `budget` tokens for `question` over `hits`, best first.

    A question longer than half of what the instruction leaves is trimmed, with a warning. Raises NookError("budget")
    if not even the instruction and a short question fit.
    """
    asked, room, made = _asked(question, budget, tokenizer)
    for hit in hits[:MOST]:
        span = window(hit, min(EACH, room - _costs(hit, tokenizer)), tokenizer)
        if span is None:
            continue
        room -= _costs(hit, tokenizer) + _count(squeeze.shown(hit, [span]), tokenizer)
        made.hits.append(hit)
        made.spans.append([span])
    made.ids = spell(asked, made.hits, made.spans, tokenizer)
    return made


def squeezed(question: str, read: squeeze.Read, tokenizer: Tokenizer, *, budget: int) -> Prompt:
    """The prompt of at most `budget` tokens over the pieces of `read` that matter most; else as `build`."""
    asked, room, made = _asked(question, budget, tokenizer)
    labels = [_costs(hit, tokenizer) for hit in read.hits]
    while True:
        kept = [(hit, spans) for hit, spans in zip(read.hits, read.keep(room, labels), strict=True) if spans]
        made.hits, made.spans = [hit for hit, _ in kept], [spans for _, spans in kept]
        made.ids = spell(asked, made.hits, made.spans, tokenizer)
        if len(made.ids) <= budget or not kept:
            return made
        room -= len(made.ids) - budget  # pieces beside one another may take more tokens than alone


def fixed(question: str, tokenizer: Tokenizer) -> int:
    """Tokens of a prompt without passages: what is never dropped."""
    return len(spell(question.strip(), [], [], tokenizer))


def spell(question: str, hits: Sequence[Hit], spans: Sequence[Sequence[Span]], tokenizer: Tokenizer) -> list[int]:
    """The prompt's tokens: each hit's label and those of its words, then the question."""
    texts = [_label(hit) + squeeze.shown(hit, kept) for hit, kept in zip(hits, spans, strict=True)]
    body = "".join(f"{text}\n\n" for text in texts) + f"Question: {question}\n{RULE}"
    return chat.encode([("system", SYSTEM), ("user", body)], tokenizer)


def _asked(question: str, budget: int, tokenizer: Tokenizer) -> tuple[str, int, Prompt]:
    """The question as it goes in, the tokens left for passages, and a prompt with the warning that may be due."""
    room = budget - fixed("", tokenizer)
    if room < 2 * LEAST:
        raise NookError("budget", f"{budget} tokens hold no question.", f"Allow {budget - room + 2 * LEAST} or more.")
    asked = clip(question.strip(), room // 2, tokenizer)
    warnings = [] if asked == question.strip() else ["The question was too long for the model: its end was left out."]
    return asked, room - _count(asked, tokenizer), Prompt([], fixed(asked, tokenizer), warnings=warnings)


def clip(text: str, most: int, tokenizer: Tokenizer) -> str:
    """The beginning of `text` in at most `most` tokens, cut between words where there are any."""
    head = text[: most * _LONGEST]
    ids = tokenizer.encode(head, special=False)
    if len(ids) <= most and len(head) == len(text):
        return text
    kept = b"".join(map(tokenizer.piece, ids[: most - 1])).decode("utf-8", "ignore")
    words = kept.rsplit(None, 1)
    return words[0] if len(words) == 2 and len(words[0]) > len(kept) // 2 else kept.rstrip()


def window(hit: Hit, room: int, tokenizer: Tokenizer) -> Span | None:
    """The sentences of a passage that fit in `room` tokens: the one with most matched words and those around it."""
    if room < LEAST or not hit.text.strip():
        return None
    cuts = [0, *starts(hit.text, 0, len(hit.text)), len(hit.text)]
    spans = [Span(hit.start + a, hit.start + b) for a, b in pairwise(cuts)]
    sizes = [_count(hit.text[a:b], tokenizer) for a, b in pairwise(cuts)]
    best = max(range(len(spans)), key=lambda i: (_matches(hit, spans[i]), -i))
    first = last = best
    left = room - sizes[best]
    if left < 0:
        head = clip(hit.text[cuts[best] : cuts[best + 1]], room, tokenizer)
        return _trimmed(hit, spans[best].start, spans[best].start + len(head))
    while True:  # what follows usually explains; what comes before is taken when nothing more follows
        if last + 1 < len(spans) and sizes[last + 1] <= left:
            last += 1
            left -= sizes[last]
        elif first and sizes[first - 1] <= left:
            first -= 1
            left -= sizes[first]
        else:
            break
    return _trimmed(hit, spans[first].start, spans[last].end)


def _trimmed(hit: Hit, start: int, end: int) -> Span:
    """The span without white space at its ends."""
    text = hit.text[start - hit.start : end - hit.start]
    return Span(start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip()))


def _matches(hit: Hit, span: Span) -> int:
    """How many different matched words lie in the span."""
    inside = (mark for mark in hit.marks if span.start <= mark.start and mark.end <= span.end)
    return len({hit.text[mark.start - hit.start : mark.end - hit.start].lower() for mark in inside})


def _label(hit: Hit) -> str:
    name = hit.title or hit.path
    own = hit.heading == name or hit.heading.startswith(f"{name} › ")  # a document's title is often its first heading
    name = hit.heading if own else " › ".join(part for part in (name, hit.heading) if part)
    return f"[{name}]\n" if name else ""


def _costs(hit: Hit, tokenizer: Tokenizer) -> int:
    """Tokens that a passage takes beside its words."""
    return _count(_label(hit), tokenizer) + 2


def _count(text: str, tokenizer: Tokenizer) -> int:
    return len(tokenizer.encode(text, special=False))
