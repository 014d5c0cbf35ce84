"""`FileRef`: a file by reference, in the store or below a shared root. The message carries it, never the file."""

from __future__ import annotations

from typing import NewType

import msgspec

OutputPath = NewType("OutputPath", str)
"""The annotation of an operation's parameter that names a file to write: absolute, and below a root of the worker's."""


class FileRef(msgspec.Struct, frozen=True):
    """A file by reference.

    Parameters
    ----------
    uri
        `store:sha256/ab/cd…` for a file in the store, an absolute path for one below a shared root.
    name
        The file's name, as a person knows it.
    size
        Bytes, where known.
    """

    uri: str
    name: str
    size: int | None = None
