"""Prompts and cases to and from the formats of other tools; whatever one of them cannot carry is told, never dropped.

`formats.FORMATS` knows them all by name; each is a module with `read(text, path, open) -> Imported` and
`write(prompt, cases) -> Exported`.
"""
