"""``python -m pdekit`` is the command ``pdekit``."""

import sys

from pdekit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
