"""The best table as a file that others can use."""
