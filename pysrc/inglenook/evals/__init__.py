"""The workbench's runs: calls and their replies, where they are kept, what answers them, and the two published
benchmarks made of them.

Everything that asks a model here is a generator that yields calls (`calls`); `drive` sends each to a target
(`targets`) and keeps what came (`rows`), so a run that broke goes on where it was and a second one costs what changed.
"""
