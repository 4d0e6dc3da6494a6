"""The demonstration that comes with autofreeze: real digits, and a backbone that has seen letters only."""
