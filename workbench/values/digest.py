"""The digest that names what lies in the store: BLAKE3, as cryptographic as SHA-256 and a few times as fast.

Writing a large value costs little beside digesting it, so this is what a value's way into the store takes.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from blake3 import blake3

NAME = "blake3"
"""The directory of a store that holds what is named so."""
KEY = re.compile(rf"{NAME}/[0-9a-f]{{2}}/[0-9a-f]{{62}}", re.ASCII)
"""What the key of an object looks like."""
_CHUNK = 1 << 20


def new() -> blake3:
    """Return a digest that is fed with `update`, as those of `hashlib` are."""
    return blake3()


def of_file(file: BinaryIO) -> str:
    """Return the digest of a file, from where it stands, as hexadecimal digits."""
    digest = new()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def key_of(digest: str) -> str:
    """Return the key under which that lies which has this digest."""
    return f"{NAME}/{digest[:2]}/{digest[2:]}"
