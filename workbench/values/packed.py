"""`Packed`: a rich value, ready to be written into a message or straight into the store."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from workbench.values.plain import Ext


class Packed(NamedTuple):
    """A rich value, ready to be written.

    Parameters
    ----------
    code
        Its extension's.
    size
        About as many bytes as it will take.
    write
        Called with a file, and whether compressing pays.
    """

    code: int
    size: int
    write: Callable[[BinaryIO, bool], None]

    def inline(self) -> Ext:
        """Return it as an extension, for a message."""
        buffer = io.BytesIO()
        self.write(buffer, False)
        return Ext(self.code, buffer.getvalue())
