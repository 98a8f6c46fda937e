"""How the two heads of `elastic.squeeze` are trained: on what the language model itself makes of pieces of passages.

examples   questions about a library's passages, each with words that answer it
label      what each piece, and each pair of model and prompt, does for the likelihood of that answer
fit        two small networks from these labels
run        all of it, resumable: `inglenook train prompt`
"""
