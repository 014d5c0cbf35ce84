"""A user's module that takes too long to be imported."""

import time

time.sleep(2)
