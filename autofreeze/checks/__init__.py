"""Pure functions from a data set, and what was seen of its images, to findings."""
