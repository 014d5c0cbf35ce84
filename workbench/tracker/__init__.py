"""The tracker: records every task from events, and answers whoever asks."""
