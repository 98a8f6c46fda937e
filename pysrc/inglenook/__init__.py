"""Private AI for the documents people already have."""
