"""``python -m captum_spes.cli``."""

import sys

from captum_spes.cli import main

if __name__ == "__main__":
    sys.exit(main())
