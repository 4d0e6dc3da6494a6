"""Trainings of the user's own: the same search, pruning, confirmation and report for any training loop."""
