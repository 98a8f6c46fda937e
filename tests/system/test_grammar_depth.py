"""Deep patterns take little of the C stack, of which a tab has little."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import threading
from inglenook.elastic.grammar import Grammar

def deep():
    pattern = "a"
    for group in range(49):
        pattern = f"(?:{pattern}x|b{group}?)"
    grammar = Grammar.of_regex(pattern)
    print(grammar.matches("a" + "x" * 49), grammar.matches("ax"))

threading.stack_size(48 * 1024)  # map and any within each other took 80
thread = threading.Thread(target=deep)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how large a stack is at least depends on the system")
def test_groups_in_groups_need_no_deep_stack() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "True False\n"), done.stderr
