"""All files of a folder into another format, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.core.errors import InputNotFound, InvalidArguments, Reject, Retry, SoftTimeLimit, StoreError
from workbench.operations import context, formats, pictures, tabular
from workbench.operations.context import Output, Overwrite
from workbench.operations.convert.table import table
from workbench.operations.pictures import ImageFormat
from workbench.operations.pixels import Color
from workbench.operations.registry import operation
from workbench.operations.tabular import Compression, TableFormat
from workbench.values.refs import DirectoryPath, FileRef, OutputPath

if TYPE_CHECKING:
    from pandas import DataFrame

Convert = Callable[[FileRef, OutputPath], object]

MOST_DEEP = 2
"""Times that a pattern may say `**`."""

_NOT_THE_FILES = (StoreError, SoftTimeLimit, Retry, Reject)


@operation("convert.batch")
def batch(
    folder: DirectoryPath,
    output: DirectoryPath,
    to: TableFormat | ImageFormat,
    *,
    pattern: str = "*",
    overwrite: Overwrite = "replace",
    compression: Compression | None = None,
    quality: int | None = None,
    background: Color = "white",
) -> DataFrame:
    r"""Convert the files of a folder, tables or pictures, each on its own: one that fails doesn't stop the others.

    Parameters
    ----------
    folder
        A directory below a shared root.
    output
        Another one, made if it isn't there, whose own directory is.
    to
        A format of `convert.table`, or one of `convert.image`.
    pattern
        Which files, as `pathlib.Path.glob` has it: `*.csv`; `**/*.png` also those in the folders below, whose
        places are kept. Hidden files are none.
    overwrite
        What happens where a file is there already: `replace` it, or `error`, which then is that file's.
    compression
        Of tables, as for `convert.table`.
    quality, background
        Of pictures, as for `convert.image`.

    Returns
    -------
    pandas.DataFrame
        A row a file, in the order of their names: `file` (its place in the folder), `status` (`converted` or
        `failed`), `output` (the new file's path) and `error` (what is wrong with it); the one of these that there isn't
        is missing.

    Raises
    ------
    InputNotFound
        If the folder isn't there, or holds no such file.
    InvalidArguments
        If an option doesn't fit the format, or the pattern leads out of the folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "good.csv").write_text("x\n1\n"), (folder / "bad.csv").write_text("")
    >>> batch(folder, folder / "new", "jsonl", pattern="*.csv")[["file", "status"]].values.tolist()
    [['bad.csv', 'failed'], ['good.csv', 'converted']]
    """
    import pandas as pd

    root, goal = Path(folder), Path(output)
    convert, extension = _converter(to, compression, quality, background, overwrite)
    files = _files(root, goal, pattern)
    context.make_directory(goal)
    taken: dict[Path, str] = {}
    rows = []
    for number, file in enumerate(files):
        place = str(file.relative_to(root))
        context.progress(number / len(files), f"{place} ({number + 1} of {len(files)})")
        target = (goal / place).with_name(_stem(file, to) + extension)
        error = None
        try:
            if target in taken:
                raise InvalidArguments(f"{taken[target]} has become {target.name} already: rename one of them")
            taken[target] = place
            context.make_directory(target.parent)
            convert(_reference(file, root), OutputPath(str(target)))
        except _NOT_THE_FILES:
            raise
        except Exception as reason:  # whatever is wrong with a file is that file's
            error = str(reason) or type(reason).__name__
        rows.append((place, "converted" if error is None else "failed", None if error else str(target), error))
    failed = sum(row[1] == "failed" for row in rows)
    context.progress(1.0, f"{len(rows) - failed} converted, {failed} failed")
    return pd.DataFrame(rows, columns=["file", "status", "output", "error"])


def _converter(
    to: str, compression: Compression | None, quality: int | None, background: Color, overwrite: Overwrite
) -> tuple[Convert, str]:
    """Return what converts one file, and the extension of what it makes."""
    if overwrite not in ("error", "replace"):
        raise InvalidArguments(f"overwrite: takes 'error' or 'replace', got {overwrite!r}")
    if to in formats.COMPRESSIONS:
        if quality is not None:
            raise InvalidArguments(f"quality: is for pictures, and {to} is a table's format")
        target = formats.target_of(to, compression)

        def convert_table(file: FileRef, output: OutputPath) -> None:
            table(file, target.format, output=output, overwrite=overwrite, compression=target.compression)

        return convert_table, target.extension
    if compression is not None:
        raise InvalidArguments(f"compression: is for tables, and {to} is a picture's format")

    def convert_image(file: FileRef, output: OutputPath) -> None:
        wanted, target = pictures.Wanted(quality=quality), Output(output, overwrite)
        pictures.convert(file, to, wanted, background=background, output=target)  # type: ignore[arg-type]

    return convert_image, f".{to}"


def _files(root: Path, goal: Path, pattern: str) -> list[Path]:
    if not root.is_dir():
        raise InputNotFound(f"folder: {root} isn't there, or is no directory: check the path's spelling")
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise InvalidArguments(f"pattern: {pattern!r} leads out of the folder: take one like '*.csv' or '**/*.png'")
    if pattern.count("**") > MOST_DEEP:
        raise InvalidArguments(
            f"pattern: {pattern[:100]!r} has more than {MOST_DEEP} '**', for which folders are gone through over and "
            "over: one is enough"
        )
    if goal.exists() and goal.samefile(root):
        raise InvalidArguments("output: is the folder itself: name another one, such as one in it")
    files = sorted(_visible(root, pattern))
    inside = [file for file in files if not file.is_relative_to(goal)]  # what an earlier call has made
    if not inside:
        raise InputNotFound(f"folder: {root} holds no file that matches {pattern!r}")
    return inside


def _visible(root: Path, pattern: str) -> Iterator[Path]:
    real = root.resolve()
    for path in root.glob(pattern):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if (
            not hidden and path.parent.resolve().is_relative_to(real) and path.is_file()
        ):  # no link to a folder elsewhere
            yield path


def _stem(file: Path, to: str) -> str:
    zipped = to in formats.COMPRESSIONS and file.suffix.lower() in tabular.ZIPPED
    return Path(file.stem).stem if zipped else file.stem


def _reference(file: Path, root: Path) -> FileRef:
    """Refer to a file of the folder; a link that leads out of it is refused."""
    if not file.resolve().is_relative_to(root.resolve()):
        raise InvalidArguments(f"{file.name} is a link that leads out of the folder")
    return FileRef(str(file), file.name)
