"""The offline pipeline: what is done to a model once, before it goes into a tab. It needs `inglenook[train]`."""
