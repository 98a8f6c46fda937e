"""The workbench in a tab: the same cores as on a machine, driven in a worker of their own (web/workbench-worker.js).

`jobs` are what the page asks for, `worker` takes and stops them; `target` and `rows` are what answers calls and where
the answers are kept; `kit` is the engine that the doctor examines.
"""
