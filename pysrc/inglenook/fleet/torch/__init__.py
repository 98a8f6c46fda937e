"""The engine in torch, on a processor or a GPU. It needs `inglenook[cluster]`; nothing outside of this room imports it
before it is asked for."""
