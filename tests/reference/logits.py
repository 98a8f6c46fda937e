"""Make `smollm2_logits.json`: what transformers and torch answer for a few prompts on the same GGUF weights.

Run once, in an environment of its own (torch is no dependency of the project):

    python -m venv env && env/bin/pip install torch transformers accelerate gguf
    env/bin/python tests/reference/logits.py static/models/SmolLM2-135M-Instruct.Q4_1.gguf

transformers dequantises the file to float32, so the answer is the float forward pass of exactly our weights.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Übergrößenträger — 日本語 🙂 3.14159",
    "A" + " and then it rained, so they went home;" * 40,
]


def main(path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    cases = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        best = logits[-1].topk(20)
        cases.append({
            "prompt": prompt, "tokens": ids, "top": best.indices.tolist(),
            "logits": [round(value, 4) for value in best.values.tolist()],
            "argmax": logits.argmax(-1).tolist(),
            "spread": round(float(logits[-1].std()), 4),
        })  # fmt: skip
    out = Path(__file__).parent / "smollm2_logits.json"
    out.write_text(json.dumps(cases, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


main(Path(sys.argv[1]))
