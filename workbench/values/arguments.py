"""What each kind of parameter takes: `to_wire` in the notebook, `from_wire` in the worker.

Both are the `leaf` of `operations.signature.bind`: they raise `TypeError` where a value isn't of the kind at all.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from workbench.core.errors import InputNotFound, InvalidArguments
from workbench.values import images
from workbench.values.files import Files
from workbench.values.refs import FileRef

# --- in the notebook --------------------------------------------------------------------------------


def to_wire(kind: str, value: object, files: Files) -> object:
    """Turn an argument into what travels.

    Parameters
    ----------
    kind
        `image`, `frame`, `series`, `table`, `dataset`, `array`, `file`, `files`, `path`, `output`, `directory` or
        `any`.
    value
        What the user gave.
    files
        Turns paths into references.

    Raises
    ------
    TypeError
        If the value isn't of this kind.
    InvalidArguments, PathRefused, StoreError
        If it is, and can't be sent.
    """
    return _TO_WIRE[kind](value, files)


def _path_to_wire(value: object, files: Files) -> object:
    if isinstance(value, str | os.PathLike):
        return files.reference(value)
    raise TypeError


def _image_to_wire(value: object, files: Files) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if _is(value, "PIL.Image", "Image"):
        return value
    if _is(value, "numpy", "ndarray"):
        return _image_of_array(value)
    return _path_to_wire(value, files)


def _image_of_array(array: Any) -> object:
    from PIL import Image

    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype.name != "uint8" or array.ndim not in (2, 3) or channels not in (1, 2, 3, 4):
        raise InvalidArguments(
            "an array is an image if it is uint8, of shape (height, width) or (height, width, 1 to 4 channels); "
            f"this one is {array.dtype} of shape {array.shape}. Scale it first: (array * 255).astype('uint8')"
        )
    return Image.fromarray(array[:, :, 0] if array.ndim == 3 and channels == 1 else array)


def _table_to_wire(value: object, files: Files) -> object:
    """Turn paths and globs into references to files, as the notebook sees them; frames and tables travel."""
    if _is_table(value):
        return value
    found = _files_to_wire(value, files)
    return found if isinstance(value, list | tuple) or len(found) > 1 else found[0]


def _files_to_wire(value: object, files: Files) -> list[FileRef]:
    """Return the files of paths and globs, in the order of the list and, of a glob, of their names."""
    several = value if isinstance(value, list | tuple) else [value]
    if not several:
        raise InvalidArguments("the list of files is empty: name at least one")
    return [ref for item in several for ref in _matching(item, files)]


def _matching(value: object, files: Files) -> list[FileRef]:
    """Return the file of a path, or those that match a glob, sorted by name."""
    if isinstance(value, FileRef):
        return [value]
    if not isinstance(value, str | os.PathLike):
        raise TypeError
    path = files.absolute(value)
    if not glob.has_magic(str(path)) or path.exists():
        return [files.reference(path)]
    matches = [match for match in sorted(glob.glob(str(path), recursive=True)) if Path(match).is_file()]  # noqa: PTH207
    if not matches:
        raise InputNotFound(f"no file matches {os.fspath(value)}, seen from {Path.cwd()}: check the pattern's spelling")
    return [files.reference(match) for match in matches]


def _series_to_wire(value: object, files: Files) -> object:
    if _is(value, "pandas", "Series"):
        return value
    raise TypeError


def _array_to_wire(value: object, files: Files) -> object:
    if _is(value, "numpy", "ndarray"):
        return value
    raise TypeError


def _output_to_wire(value: object, files: Files) -> object:
    if isinstance(value, str | os.PathLike) and not isinstance(value, FileRef):
        return str(files.absolute(value))
    raise TypeError


def _any_to_wire(value: object, files: Files) -> object:
    """Turn paths into references, wherever they stand in lists and dicts; strings stay strings."""
    if isinstance(value, FileRef):
        return value
    if isinstance(value, os.PathLike):
        return files.reference(value)
    if type(value) in (list, tuple) and not _PLAIN.issuperset(map(type, value)):  # type: ignore[call-overload]
        return [_any_to_wire(item, files) for item in value]  # type: ignore[attr-defined]
    if type(value) is dict and not _PLAIN.issuperset(map(type, value.values())):
        return {key: _any_to_wire(item, files) for key, item in value.items()}
    return value


_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})
_TO_WIRE: dict[str, Callable[[object, Files], object]] = {
    "image": _image_to_wire,
    "frame": _table_to_wire,
    "table": _table_to_wire,
    "dataset": _table_to_wire,
    "series": _series_to_wire,
    "array": _array_to_wire,
    "file": _path_to_wire,
    "files": _files_to_wire,
    "path": _path_to_wire,
    "output": _output_to_wire,
    "directory": _output_to_wire,
    "any": _any_to_wire,
}

# --- in the worker ----------------------------------------------------------------------------------


def from_wire(kind: str, value: object, files: Files) -> object:
    """Turn what travelled into what the operation asks for; of tables in files, into references to these.

    Parameters
    ----------
    kind
        As for `to_wire`.
    value
        Decoded.
    files
        Which files may be touched.

    Raises
    ------
    TypeError
        If the value isn't of this kind.
    InputError
        If it is, and can't be used: a file that isn't there, is cut short, or of an unknown format.
    """
    return _FROM_WIRE[kind](value, files)


def _reference(value: object, files: Files) -> FileRef:
    """Return a reference that can be opened. A path may come as text from whoever sends tasks without this package."""
    if isinstance(value, FileRef):
        ref = FileRef(value.uri, value.name, value.size, reach=files)
    elif isinstance(value, str):
        ref = FileRef(value, Path(value).name, reach=files)
    else:
        raise TypeError
    return ref


def _image_from_wire(value: object, files: Files) -> object:
    if _is(value, "PIL.Image", "Image"):
        value.load()  # type: ignore[attr-defined]
        return value
    if isinstance(value, bytes):
        return images.load(BytesIO(value), f"the image ({len(value)} bytes)")
    ref = _reference(value, files)
    with files.pinned(ref) as path:
        return images.load(path, ref.name)


def _frame_from_wire(value: object, files: Files) -> object:
    if _is(value, "pandas", "DataFrame"):
        return value
    if _is(value, "pyarrow", "Table"):
        return value.to_pandas()  # type: ignore[attr-defined]
    return _files_from_wire(value, files)


def _dataset_from_wire(value: object, files: Files) -> object:
    return value if _is_table(value) else _files_from_wire(value, files)


def _files_from_wire(value: object, files: Files) -> list[FileRef]:
    """Return the references, each of a file that may be read."""
    refs = [_reference(item, files) for item in (value if isinstance(value, list | tuple) else [value])]
    for ref in refs:
        files.local_path(ref)
    if not refs:
        raise InvalidArguments("the list of files is empty: name at least one")
    return refs


def _table_from_wire(value: object, files: Files) -> object:
    if _is(value, "pyarrow", "Table"):
        return value
    if _is(value, "pandas", "DataFrame"):
        import pyarrow as pa

        return pa.Table.from_pandas(value)
    return _files_from_wire(value, files)


def _file_from_wire(value: object, files: Files) -> object:
    ref = _reference(value, files)
    if not files.local_path(ref).is_file():
        raise InputNotFound(f"{ref.name} isn't there any more")  # pragma: no cover - gone since it was looked at
    return ref


def _output_from_wire(value: object, files: Files) -> object:
    if isinstance(value, str):
        return str(files.output_path(value))
    raise TypeError


def _directory_from_wire(value: object, files: Files) -> object:
    if isinstance(value, str):
        return str(files.directory_path(value))
    raise TypeError


_FROM_WIRE: dict[str, Callable[[object, Files], object]] = {
    "image": _image_from_wire,
    "frame": _frame_from_wire,
    "table": _table_from_wire,
    "dataset": _dataset_from_wire,
    "series": _series_to_wire,
    "array": _array_to_wire,
    "file": _file_from_wire,
    "files": _files_from_wire,
    "path": lambda value, files: files.local_path(_reference(value, files)),
    "output": _output_from_wire,
    "directory": _directory_from_wire,
    "any": lambda value, files: value,
}


def _is_table(value: object) -> bool:
    return _is(value, "pandas", "DataFrame") or _is(value, "pyarrow", "Table")


def _is(value: object, module: str, name: str) -> bool:
    """Tell whether a value is of a class, without importing it: if it is, its module has been."""
    found = sys.modules.get(module)
    return found is not None and isinstance(value, getattr(found, name, ()))
