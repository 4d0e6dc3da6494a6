"""``python -m autofreeze.cli``."""

import sys

from autofreeze.cli import main

sys.exit(main())
