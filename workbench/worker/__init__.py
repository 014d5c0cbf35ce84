"""The worker: one process that consumes from task queues and runs attempts in child processes."""
