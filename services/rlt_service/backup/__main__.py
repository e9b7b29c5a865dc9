"""`python -m rlt_service.backup` is what `rlt backup` and `rlt restore` hand over to."""

import sys

from rlt_service.backup.command import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
