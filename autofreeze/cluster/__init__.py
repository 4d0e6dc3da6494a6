"""Many machines: what is asked of a Ray cluster, how it is reached and shared out, what is sent to it."""
