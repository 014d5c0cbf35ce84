"""The `workbench` command: start and stop a workbench, run its parts, look at its tasks and dead letters.

A file for each group of commands. Each command reads its options, calls what does the work, and prints.
"""

from workbench.cli import dashboard, dead, local, parts, tasks  # noqa: F401 - each adds its commands
from workbench.cli.main import app, main

__all__ = ["app", "main"]
