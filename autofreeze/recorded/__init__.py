"""Recorded runs, and what lies between them, to be played again."""
