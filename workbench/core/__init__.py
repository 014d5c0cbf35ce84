"""Words, states, messages, errors and settings: pure, no input or output, importable anywhere."""
