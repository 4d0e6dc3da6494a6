"""Run autofreeze from a checkout: ``python cli.py search …``."""

from autofreeze.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
