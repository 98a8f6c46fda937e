"""Prompts as software: a file with typed parts, what is required of it, what is wrong with it, and what it becomes for
one model. After "Promptware Engineering" (arXiv:2503.02400), stage by stage:

| stage | modules |
|---|---|
| requirements | `requirement`, `trace`, `capability` |
| design | `ast`, `file`, `lint` and `rules/`, `metrics`, `patterns` |
| build | `passes`, `build` |
| testing | `suite`, `oracle`, `schema`, `inputs`, `relations`, `chain`, `mutate`, `cover`; `sequential`, `binomial` |
| debugging | `debug`, `group` |
| evolution | `change`, `evolve`, `release`, `monitor` |
| between tools | `case`, `exchange/`, `sarif`, `junit` |
| all of it | `stages`: what the command line and a tab run; `report`: what was found, for people |

All that asks a model is a generator of calls (`evals.calls.Work`). Only the command line does I/O: `command`, `asking`,
`making`, `given`. The page's stages are `platform/browser/workbench/prompts`.
"""
