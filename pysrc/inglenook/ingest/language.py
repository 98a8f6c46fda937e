"""Guessing the language of prose: by its script, and for Latin and Cyrillic letters by its commonest words."""

from __future__ import annotations

import re
from collections import Counter

_SCRIPTS: tuple[tuple[int, int, str], ...] = (
    (0x0041, 0x024F, "latin"), (0x0370, 0x03FF, "el"), (0x0400, 0x052F, "cyrillic"), (0x0531, 0x058F, "hy"),
    (0x0590, 0x05FF, "he"), (0x0600, 0x06FF, "ar"), (0x0900, 0x097F, "hi"), (0x0980, 0x09FF, "bn"),
    (0x0A00, 0x0A7F, "pa"), (0x0A80, 0x0AFF, "gu"), (0x0B80, 0x0BFF, "ta"), (0x0C00, 0x0C7F, "te"),
    (0x0C80, 0x0CFF, "kn"), (0x0D00, 0x0D7F, "ml"), (0x0E00, 0x0E7F, "th"), (0x0E80, 0x0EFF, "lo"),
    (0x0F00, 0x0FFF, "bo"), (0x1000, 0x109F, "my"), (0x10A0, 0x10FF, "ka"), (0x1200, 0x137F, "am"),
    (0x1780, 0x17FF, "km"), (0x3040, 0x30FF, "ja"), (0x4E00, 0x9FFF, "zh"), (0x3400, 0x4DBF, "zh"),
    (0xAC00, 0xD7A3, "ko"),
)  # fmt: skip

_WORDS: dict[str, frozenset[str]] = {
    tag: frozenset(words.split())
    for tag, words in {
        "en": "the of and to in is that it was for with as on be at by this are from not have you which or his",
        "de": "der die und das ist nicht ein eine zu den von mit sich des auf für im dem auch es an werden wird sind",
        "fr": "le la les des et est un une du que pour dans qui sur pas avec au ce il sont plus par ne cette nous",
        "es": "el la los las de que y en un una por con para no se del al es lo como más pero sus este está",
        "it": "il la di che e è un una per con non sono del della i gli si come da anche nel alla più questo ma",
        "pt": "o a os as de que e em um uma para com não se do da no na por mais é ao são como foi mas",
        "nl": "de het een van en in is dat op te zijn met voor niet aan er die ook als maar om wordt bij deze naar",
        "sv": "och att det som en är på av för med den till inte har ett om de vi så från kan var men eller",
        "da": "og at det som en er på af for med den til ikke har et om de vi så fra kan var men blev også noget",
        "no": "og at det som en er på av for med den til ikke har et om de vi så fra kan var men ble også noe",
        "fi": "ja on ei että se oli hän mutta kuin ovat joka tai myös niin sen olla ole kun vain sekä voi jos",
        "pl": "i w na z się nie że do jest to o jak po co dla od przez są które oraz tym ale jego być lub",
        "cs": "a v se na je že s z do o k ve by za jsou pro ale jako po od jeho nebo které který tak byl",
        "tr": "ve bir bu da de için ile olarak çok daha olan gibi en kadar sonra ne değil var ama her ya",
        "id": "yang dan di dengan untuk pada dari ini itu dalam tidak adalah akan ke atau juga oleh saya karena",
        "vi": "và của là có các một được trong cho không những với này đã để người khi ra từ vào như cũng",
        "ru": "и в не на что с он как это по но из к у за от так его для же бы был все или",
        "uk": "і в не на що з як це по але до та у за від так його для же був або також які яка",
        "bg": "и в не на че с как това по но от за се да е са бе или към при който която",
    }.items()
}
_CYRILLIC = ("ru", "uk", "bg")
_TOKEN = re.compile(r"[^\W\d_]+")


def guess(text: str) -> str:
    """The BCP 47 tag of the language most of a text is in; "" where nothing tells.

    Reads at most 6,000 characters: from the beginning, the middle and the end.
    """
    if len(text) > 6000:
        middle = len(text) // 2
        text = f"{text[:2000]} {text[middle : middle + 2000]} {text[-2000:]}"
    letters = [char for char in text if char.isalpha()]
    scripts: Counter[str] = Counter()
    for char, count in Counter(letters).items():
        code = ord(char)
        scripts[next((name for low, high, name in _SCRIPTS if low <= code <= high), "")] += count
    if scripts["ja"] * 10 > scripts["zh"] and scripts["ja"]:  # kana among the Han characters
        scripts["ja"] += scripts.pop("zh", 0)
    if not letters:
        return ""
    # One character of Han, kana or Hangul says about as much as three letters.
    script = max(scripts, key=lambda name: scripts[name] * (3 if name in ("zh", "ja", "ko") else 1))
    if script == "ar":
        return "fa" if sum(letters.count(char) for char in "پچژگ") * 100 > scripts["ar"] else "ar"
    if script not in ("latin", "cyrillic"):
        return script
    words = Counter(_TOKEN.findall(text.lower()))
    tags = [tag for tag in _WORDS if (tag in _CYRILLIC) == (script == "cyrillic")]
    scores = {tag: sum(words[word] for word in _WORDS[tag]) for tag in tags}
    best, second = sorted(tags, key=lambda tag: scores[tag], reverse=True)[:2]
    if scores[best] < 3 or scores[best] == scores[second] or scores[best] * 15 < words.total():
        return ""
    return best
