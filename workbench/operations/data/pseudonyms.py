"""The data operation that puts pseudonyms in the place of names, with a key that never travels.

A task's arguments are written down: in its message, in the tracker's records, in a notebook. So the key is no argument;
a task says where the worker finds it.
"""

from __future__ import annotations

import hmac
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InputError, InvalidArguments
from workbench.operations import context
from workbench.operations.data.columns import Columns, kind, single
from workbench.operations.data.functions import decoded
from workbench.operations.registry import operation
from workbench.values.refs import FileRef

if TYPE_CHECKING:
    from pandas import DataFrame

PREFIX = "WORKBENCH_KEY_"
"""What the names of variables begin with that hold keys: a task can't use, or probe for, any other."""
SHORTEST, LONGEST = 16, 4096
"""Bytes of a key."""


@operation("data.anonymise")
def anonymise(
    data: DataFrame,
    columns: Columns | dict[str, str],
    *,
    key_env: str | None = None,
    key_file: str | None = None,
    length: int = 32,
) -> DataFrame:
    """Put a pseudonym in the place of each value of some columns: the same one for the same value and key, every time.

    The key is never an argument, as arguments are kept in messages and records. It is looked up by the worker: in an
    environment variable of its own, or in a file on its machine.

    Parameters
    ----------
    data
        Any table. Its other columns and its index stay as they are: what they say of a person, they still say.
    columns
        Which to replace. A dict says for each of which realm its pseudonyms are: columns of one realm get equal ones
        for equal values, so that tables can still be joined; otherwise each column is a realm of its own, by its name.
    key_env
        The variable of the worker's environment that holds the key. Its name has to begin with `WORKBENCH_KEY_`.
    key_file
        Or the absolute path, on the worker's machine and below a shared root, of a file that holds it; whitespace
        around it doesn't count. Pass it as text: it is never sent along. Whoever may read that root can read the key,
        so that a variable is the safer place.
    length
        Hexadecimal digits of a pseudonym, 16 to 64. With 16, two among five million values share one with a
        probability of a millionth; with 32, never in practice.

    Returns
    -------
    pandas.DataFrame
        The table; these columns are text. What is missing stays missing. Whole numbers have the pseudonyms of the
        same number as text or as a float, so that a column keeps its pseudonyms when it goes through a CSV file.

    Raises
    ------
    InvalidArguments
        If a column isn't known or holds lists or the like, or it isn't said where the key is.
    InputError
        If the worker finds no key there, or one of less than 16 bytes.

    Notes
    -----
    A pseudonym is the beginning of HMAC-SHA256 (RFC 2104), with the key, of the realm and the value. Without the key
    nobody can tell a value from its pseudonym, nor try names until one fits; whoever has it can do both.

    Examples
    --------
    >>> import pandas as pd
    >>> import os
    >>> os.environ["WORKBENCH_KEY_EXAMPLE"] = "sixteen bytes or more"  # where the worker is started
    >>> people = pd.DataFrame({"name": ["Ann", "Bob", "Ann"], "age": [31, 27, 31]})
    >>> found = anonymise(people, "name", key_env="WORKBENCH_KEY_EXAMPLE", length=16)
    >>> found["name"].tolist()
    ['e8da90d9ff38b834', '51884e55ff7c63b5', 'e8da90d9ff38b834']
    >>> del os.environ["WORKBENCH_KEY_EXAMPLE"]
    """
    if not 16 <= length <= 64:
        raise InvalidArguments(f"length takes 16 to 64 digits, got {length}")
    realms = columns if isinstance(columns, dict) else {name: name for name in single(data, columns)}
    single(data, list(realms))
    for name in realms:
        if kind(data[name]) not in _KINDS:
            raise InvalidArguments(f"column {name!r} holds {data[name].dtype}, of which no pseudonyms can be made")
    key = _key(key_env, key_file)
    replaced = data.copy(deep=False)
    for name, realm in realms.items():
        replaced[name] = _pseudonyms(decoded(data[name]), realm, key, length)
    return replaced


_KINDS = ("text", "number", "bool", "time", "zoned", "duration", "empty")


def _key(variable: str | None, file: str | None) -> bytes:
    """Return the key. No error here says anything of what is in it."""
    if (variable is None) is (file is None):
        raise InvalidArguments("say where the worker finds the key: either key_env or key_file")
    if variable is not None:
        if not re.fullmatch(rf"{PREFIX}\w{{1,100}}", variable, re.ASCII):
            raise InvalidArguments(f"key_env takes the name of a variable that begins with {PREFIX}")
        key, where = os.environ.get(variable, "").encode(errors="surrogateescape"), f"the variable {variable}"
        cure = "set it where the worker is started"
    else:
        assert file is not None
        if not Path(file).is_absolute():
            raise InvalidArguments("key_file takes an absolute path, on the worker's machine")
        path = context.input_path(FileRef(file, Path(file).name))
        with path.open("rb") as opened:
            key = opened.read(LONGEST + 100)
        where, cure = f"the file {Path(file).name}", "write one, e.g. with: openssl rand -hex 32"
    key = key.strip()
    if not SHORTEST <= len(key) <= LONGEST:
        raise InputError(f"the key in {where} has to have {SHORTEST} to {LONGEST} bytes, it has {len(key)}: {cure}")
    return key


def _pseudonyms(column: Any, realm: str, key: bytes, length: int) -> Any:
    """Return the column's pseudonyms; each value is worked on once."""
    import pandas as pd

    codes, values = pd.factorize(column)
    keyed = hmac.new(key, len(realm.encode()).to_bytes(4, "big") + realm.encode(), "sha256")
    found: list[str | None] = []
    for value in values:
        each = keyed.copy()
        each.update(_text(value).encode(errors="surrogatepass"))
        found.append(each.hexdigest()[:length])
    found.append(None)  # what is missing has the code -1
    return pd.Series([found[code] for code in codes], index=column.index, name=column.name, dtype="str")


def _text(value: Any) -> str:
    """Return the text that stands for a value whatever its column's type: 7, 7.0 and "7" are the same customer."""
    import datetime as dt
    import numbers

    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral) and float(value).is_integer():
        return str(int(float(value)))
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).isoformat()
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
