"""Phrases that take tokens and change nothing, each with what says the same."""

from __future__ import annotations

import re

_PHRASES = {
    r"(?:please|kindly)[ ,]+(?=\w)": "",
    r"[ ,]+please(?=[.!?])": "",
    r"(?:i|we) (?:would|want|need)(?: like)?(?: you)? to (?=\w)": "",
    r"(?:can|could|would) you (?:please )?(?=\w[^?\n]*\.)": "",
    r"your (?:task|job|goal|role) is to (?=\w)": "",
    r"(?:it is|it's) (?:very |really )?important (?:to note |to remember )?that (?=\w)": "",
    r"(?:please )?(?:note|keep in mind|be aware|remember) that (?=\w)": "",
    r"make sure (?:that you |to )(?=\w)": "",
    r"in order to\b": "to",
    r"due to the fact that\b": "because",
    r"in the event that\b": "if",
    r"at this point in time\b": "now",
    r"with (?:regard|respect) to\b": "about",
    r"for the purposes? of\b": "for",
    r"a (?:large|great) number of\b": "many",
    r"(?:very|really|extremely|highly) (?=(?:important|careful|carefully|clear|clearly|detailed|short|brief)\b)": "",
    r"take a deep breath(?: and)?[ ,.]*": "",
    r"thank(?:s| you)(?: (?:very|so) much)?(?: in advance)?[.!]*": "",
}
_START = r"(?<![\w'’])(?=\w)|(?=[ ,])"
FILLER = tuple((re.compile(f"(?:{_START}){pattern}", re.IGNORECASE), short) for pattern, short in _PHRASES.items())


def shortened(text: str) -> str:
    """The text without them. A sentence whose beginning went begins with a capital again."""
    for pattern, short in FILLER:
        pieces, end = [], 0
        for match in pattern.finditer(text):
            pieces += [text[end : match.start()], short]
            end = match.end()
            begins = match[0].lstrip()[:1].isupper()
            if begins and not short:
                pieces.append(text[end : end + 1].upper())
                end += 1
            elif begins:
                pieces[-1] = short[0].upper() + short[1:]
        text = "".join([*pieces, text[end:]])
    return text
