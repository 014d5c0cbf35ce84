"""Values: how they travel, where large ones lie, which files may be touched."""
