"""Constrained decoding: a model writes only texts of a grammar. `grammar` says which, `mask` by which tokens."""

from inglenook.elastic.grammar.grammar import Grammar
from inglenook.elastic.grammar.mask import Mask

__all__ = ["Grammar", "Mask"]
