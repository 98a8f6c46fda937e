"""The weights of the heads of `squeeze`, as `inglenook train prompt` writes them."""

SCORE = {
    "meaning": 1.9042,
    "meaning of the neighbours": -0.1481,
    "meaning of the passage": -0.1661,
    "words": 1.2939,
    "cue": 0.15,
    "rank": 0.6145,
    "first passage": 0.0019,
    "brief": 0.17,
    "length": 0.0492,
    "place": 0.0483,
    "begins": -0.0527,
    "leans": 0.0921,
    "constant": -0.5404,
}
DECISION = {
    "best": 0.6027,
    "second": 0.0157,
    "mean": 0.7089,
    "worth kept": 2.3162,
    "share": 1.242,
    "thinness": -0.6316,
    "ratio": 0.0,
    "length": 1.7268,
    "meaning": -0.1754,
    "words": -0.429,
    "constant": -8.6807,
}
