"""A search on many machines: what is asked of a Ray cluster, how it is reached and shared out, what is sent."""
