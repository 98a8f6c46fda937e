"""The map of a library: its topics by scikit-learn, named by their words, laid out as discs that do not overlap."""
