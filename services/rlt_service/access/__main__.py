"""`python -m rlt_service.access` is what `rlt keys` hands over to."""

import sys

from rlt_service.access.command import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
