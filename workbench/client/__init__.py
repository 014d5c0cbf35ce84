"""The notebook's side: submit tasks, wait for them, ask about them."""
