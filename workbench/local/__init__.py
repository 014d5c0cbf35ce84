"""A workbench on this machine: a private RabbitMQ node, a tracker and workers, which start and stop together."""
