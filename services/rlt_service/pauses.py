"""Own how long Python itself holds up the event loop: its collector, and threads that compute beside it.

Seen by hand (2026-11-27) under ten times the clients that a server has room for: a full collection over what had been
imported took 0.15 s, and six threads in the database made the loop wait for up to five milliseconds each.
"""

import gc
import sys

SWITCH_S = 0.0005
"""After so long a thread gives the interpreter up to one that waits for it; Python's own is 5 ms."""


def shorten() -> None:
    """Leave what has been loaded so far out of all later collections, and let threads take shorter turns.

    Repeatable, and worth it after each large import.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
