"""The mutants that the doctor is measured on: faults as real engines had them, two or more for each of the 28 causes.

They were written from the taxonomy of "A First Look at Bugs in LLM Inference Engines" (2506.09713) and the engine's own
code, by somebody who had not seen what the doctor asks. So none of them may be changed in the light of what it finds.

    for mutant in MUTANTS:
        engine = mutant.engine(kit)  # is examined; the cause to be found is mutant.cause
"""

from __future__ import annotations

from engine.mutants import configuration, environment, functionality, input_output, resource
from engine.mutants.mutant import Mutant

MUTANTS = [
    value
    for room in (configuration, functionality, environment, resource, input_output)
    for value in vars(room).values()
    if isinstance(value, Mutant)
]
