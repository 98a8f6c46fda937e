"""The engine doctor: what is wrong with a language model's engine, why, and the shortest way to see it again.

    probes ask an engine (`asks`, `engine`) → every reply is held against the plain way (`truth`, `judge`) → complaints
    → symptoms → interventions, and the first operation that differs → causes, ranked → a reproducer, made small

Symptoms and causes are those of the study of bugs in inference engines (2506.09713): six symptoms, 28 causes, of which
nineteen names are the paper's and nine are working names of ours (`causes`).

An engine is examined as deep as it lets one look: its files and what it says it runs with, its API alone, its tokens
and logits, its insides.
"""
