"""How Inglenook is set up, built, tested and released. `build.py` holds the verbs; each module here is one noun.

| module | noun |
|---|---|
| `project` | where things lie, how the build speaks, when a step is fresh |
| `venv` | the tools: .venv, node_modules, a browser |
| `pins`, `fetch` | what is taken out of registry packages, by version and sha256 |
| `pyodide` | Python for the tab: wheels, bundles, memory snapshot |
| `kernels`, `models`, `samples` | C to WebAssembly and native; weights to our format; the sample library |
| `bundle` | one script for the page, one for each worker |
| `assets` | the manifest of what the page downloads |
| `server` | the development server |
| `suites`, `checks`, `sizes`, `release`, `clean` | one verb each |
| `wheels` | the Python wheels of a release |
"""
