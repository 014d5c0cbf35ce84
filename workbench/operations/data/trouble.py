"""What DuckDB raises, as errors of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from workbench.core.errors import InputError, InvalidArguments, StoreError
from workbench.operations.data import spill

# What DuckDB advises is a setting, which no query may change.
_DEEPER = 'Use "SET max_expression_depth TO x" to increase the maximum expression depth.'
_FLATTER = "Compute it in steps: WITH … AS (SELECT …) SELECT …"


class Damaged(InputError):
    """A file that DuckDB can't read. Which one is known to whoever gave it the files."""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Translate what DuckDB raises."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise _exhausted(error) from error
    except OSError as error:  # in Arrow's words, where rows are read from a query that runs
        if "Out of Memory" not in str(error):
            raise
        raise _exhausted(error) from error
    except (duckdb.IOException, duckdb.FatalException, duckdb.InternalException) as error:
        if _is_of_disk(error):
            raise _exhausted(error) from error
        raise Damaged(_first_line(error)) from error
    except duckdb.PermissionException as error:
        raise InvalidArguments(
            f"query: it reads the tables it is given, and nothing else: {_first_line(error)}. Give it the file as one"
        ) from error
    except duckdb.CatalogException as error:
        first, _, second = str(error).strip().partition("\n")
        meant = f" {second.partition(chr(10))[0]}" if second.startswith("Did you mean") else ""
        raise InvalidArguments(
            f"query: {first}{meant} It knows the tables it is given, by their names there, and DuckDB's own functions; "
            "it loads no extensions"
        ) from error
    except duckdb.Error as error:
        # What its reader of Parquet meets, it tells as an error of no kind, or as one of the query.
        if type(error) is duckdb.Error or "Failed to read file" in str(error):
            raise Damaged(_first_line(error)) from error
        raise InvalidArguments(str(error).strip().replace(_DEEPER, _FLATTER)) from error


def _is_of_disk(error: Exception) -> bool:
    return any(words in str(error) for words in ("No space left", "max_temp_directory_size", "failed to offload"))


def _exhausted(error: Exception) -> StoreError | MemoryError:
    """Tell what there was too little of: DuckDB calls it memory also where its share of the disk is full."""
    if _is_of_disk(error):
        return spill.TooMuch(f"there is no room on the disk for what doesn't fit in memory: {_first_line(error)}")
    return MemoryError(f"DuckDB: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
