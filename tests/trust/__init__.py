"""Checks of trust: a fault or a hostile input, tried many times, and what came of it.

A :class:`~trust.check.Check` is run a few times by pytest (``tests/test_trust_*.py``), and many times by

    python -m tests.trust --long

which writes the table of ``docs/trust.md``. What goes wrong is in ``kills``, ``soak``, ``resources``,
``pairs``, ``fuzz_*``, ``numbers``, ``repeats`` and
``supply``; how it is done in ``check``, ``commands`` and ``guard``.
"""
