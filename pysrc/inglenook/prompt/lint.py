"""The linter: all rules over a prompt, what is switched off left out, and the repairs that ask for nothing.

    findings = lint(Scene(prompt))
    prompt = repaired(prompt)

A prompt switches rules off in its front matter: `metadata: {lint: {off: [S106]}}`.
"""

from __future__ import annotations

from collections.abc import Collection

from inglenook.errors import NookError
from inglenook.prompt.ast import Prompt, nearest
from inglenook.prompt.rule import Finding, Rule, Scene
from inglenook.prompt.rules import context, input, maintenance, performance, specification, structure

RULES: tuple[Rule, ...] = (
    *specification.RULES, *input.RULES, *structure.RULES, *context.RULES, *performance.RULES, *maintenance.RULES,
)  # fmt: skip
SEVERITIES = ("error", "warning", "note")


def lint(scene: Scene, off: Collection[str] = ()) -> list[Finding]:
    """What is wrong, worst first, then in the prompt's order. Raises NookError("prompt-lint") for a rule to switch off
    that there is none of."""
    silent = _silent(scene.prompt, off)
    names = [segment.name for segment in scene.prompt.segments]
    found = [finding for rule in RULES if rule.id not in silent for finding in rule.find(scene)]
    return sorted(found, key=lambda one: (
        SEVERITIES.index(one.severity), names.index(one.segment) if one.segment else -1, one.start, one.rule,
    ))  # fmt: skip


def repaired(prompt: Prompt, off: Collection[str] = ()) -> Prompt:
    """The prompt after the repairs of all rules that found something, until none has more to do."""
    silent = _silent(prompt, off)
    for _ in range(10):
        before = prompt
        for rule in RULES:
            if rule.repair and rule.id not in silent and any(rule.find(Scene(prompt))):
                prompt = rule.repair(prompt)
        if prompt == before:
            break
    return prompt


def _silent(prompt: Prompt, off: Collection[str]) -> set[str]:
    said = prompt.metadata.get("lint")
    listed = said.get("off", []) if isinstance(said, dict) else []
    known = [rule.id for rule in RULES]
    for one in (silent := {*off, *map(str, listed if isinstance(listed, list) else [listed])}):
        if one not in known:
            raise NookError("prompt-lint", f"There is no rule {one} to switch off.", nearest(one, known))
    return silent
