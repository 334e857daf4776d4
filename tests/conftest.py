"""One thread for each process of the tests: they run side by side, and threads that wait for each other spin."""

from __future__ import annotations

import os

# Before torch is imported, and inherited by every engine that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
