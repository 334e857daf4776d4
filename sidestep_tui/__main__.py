"""`python -m sidestep_tui` is the command line."""

from __future__ import annotations

import sys

from sidestep_tui.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
