"""What workers can do: plain functions with a name, a signature and documentation. They know no broker."""
