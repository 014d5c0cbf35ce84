"""Run a worker for convert tasks: `python convert_worker.py [options]`, on any machine that reaches the broker.

The broker's address comes from WORKBENCH_BROKER_URL, the store's and the shared roots' from WORKBENCH_STORE and
WORKBENCH_ROOTS; `--help` lists the options, which are those of `workbench worker`.
"""

import sys

from workbench.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["worker", "convert"]
    main()
