"""`python -m tests.mutants`: see `tests/mutants/runner.py`."""

import sys

from tests.mutants.runner import main

if __name__ == "__main__":
    sys.exit(main())
