"""Signatures as data, and the one check that notebook and worker both make.

`describe` turns a function into an `OperationSpec`; `bind` holds arguments against one. The notebook binds to refuse
bad arguments before they travel; the worker binds again, to turn what travelled into what the function asks for.
What differs is the `leaf`: how a value such as an image or a file is handled at either end.
"""

from __future__ import annotations

import collections.abc
import contextlib
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.core.errors import InvalidArguments
from workbench.core.messages import OperationSpec, ParameterSpec, TypeSpec
from workbench.core.policy import RetryPolicy
from workbench.values.refs import DirectoryPath, FileRef, FileRefs, OutputPath

Leaf = Callable[[str, object], object]
"""`leaf(kind, value)` returns the value as this end needs it; it raises `ValueError` where it doesn't fit."""

ANY = TypeSpec("any")
VALUE_KINDS = frozenset(
    {"image", "frame", "series", "table", "dataset", "array", "file", "files", "path", "output", "directory"}
)

# Classes are told by where they live, so that looking at a signature loads no library.
_VALUE_CLASSES = {
    ("PIL", "Image"): "image",
    ("pandas", "DataFrame"): "frame",
    ("pandas", "Series"): "series",
    ("pyarrow", "Table"): "table",
    ("numpy", "ndarray"): "array",
    ("workbench", "Dataset"): "dataset",
}
_SCALARS: dict[object, str] = {
    type(None): "none",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    datetime: "datetime",
    FileRef: "file",
    FileRefs: "files",
    Path: "path",
    OutputPath: "output",
    DirectoryPath: "directory",
}


class _StandIn:
    """Names a class whose module is imported for type checkers only, so that annotations still resolve."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self) -> None:  # typing accepts callables as types
        raise TypeError("a stand-in for a type")

    def __or__(self, other: object) -> Any:
        return typing.Union[self, other]  # noqa: UP007 - the operator is what is being defined

    def __ror__(self, other: object) -> Any:
        return typing.Union[other, self]  # noqa: UP007


class _Module:
    """Names a module that is imported for type checkers only."""

    def __init__(self, **names: _StandIn | _Module) -> None:
        self.__dict__.update(names)


class _ImageStandIn(_StandIn):
    """`Image` names Pillow's class, or (`from PIL import Image`) the module with the class of this name."""

    @property
    def Image(self) -> _StandIn:  # noqa: N802 - as Pillow spells it
        return self


_IMAGE, _FRAME, _SERIES = _ImageStandIn("image"), _StandIn("frame"), _StandIn("series")
_TABLE, _ARRAY = _StandIn("table"), _StandIn("array")
_PANDAS = _Module(DataFrame=_FRAME, Series=_SERIES)
_STAND_INS: dict[str, object] = {
    "Image": _IMAGE,
    "PIL": _Module(Image=_Module(Image=_IMAGE)),
    "DataFrame": _FRAME,
    "Series": _SERIES,
    "pd": _PANDAS,
    "pandas": _PANDAS,
    "Table": _TABLE,
    "pa": _Module(Table=_TABLE),
    "pyarrow": _Module(Table=_TABLE),
    "ndarray": _ARRAY,
    "np": _Module(ndarray=_ARRAY),
    "numpy": _Module(ndarray=_ARRAY),
}


def describe(
    name: str,
    function: Callable[..., Any],
    *,
    timeout: float | None = None,
    soft_timeout: float | None = None,
    retry: RetryPolicy | None = None,
) -> OperationSpec:
    """Describe a function as an operation.

    Parameters
    ----------
    name
        The operation's name, `family.operation`.
    function
        Its annotations say what each parameter takes. A parameter without one, or with a class that isn't known here,
        takes anything that can travel.
    timeout
        Seconds one attempt may run before it is killed; None for no limit.
    soft_timeout
        Seconds after which `SoftTimeLimit` is raised in it; None for never.
    retry
        When a failed attempt is followed by another; None for the default.
    """
    hints = _hints(function)
    parameters = tuple(
        ParameterSpec(
            name=parameter.name,
            form=parameter.kind.name.lower(),
            type=type_spec(hints.get(parameter.name, Any)),
            required=parameter.default is inspect.Parameter.empty
            and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD),
            default="" if parameter.default is inspect.Parameter.empty else repr(parameter.default),
        )
        for parameter in inspect.signature(function).parameters.values()
    )
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    return OperationSpec(
        name=name, parameters=parameters, summary=summary, timeout=timeout, soft_timeout=soft_timeout, retry=retry
    )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    module = getattr(function, "__globals__", {})
    names = {name: value for name, value in _STAND_INS.items() if name not in module}
    try:
        return typing.get_type_hints(function, localns=names)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return _hints_one_by_one(function, module, names)


def _hints_one_by_one(function: Callable[..., Any], module: dict[str, Any], names: dict[str, object]) -> dict[str, Any]:
    """Return the annotations that can be understood: one that only a type checker can read doesn't spoil the others."""
    hints: dict[str, Any] = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        with contextlib.suppress(NameError, AttributeError, TypeError, SyntaxError):
            hints |= typing.get_type_hints(alone, module, names)
    return hints


def type_spec(annotation: Any) -> TypeSpec:
    """Turn an annotation into data. What isn't understood becomes `any`."""
    if isinstance(annotation, _StandIn):
        return TypeSpec(annotation.kind)
    if isinstance(annotation, type | typing.NewType) and annotation in _SCALARS:
        return TypeSpec(_SCALARS[annotation])
    if annotation is None:
        return TypeSpec("none")
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_spec(args[0])
    if origin is typing.Literal:
        return TypeSpec("literal", choices=args)
    if origin is typing.Union or isinstance(annotation, types.UnionType):
        return TypeSpec("union", tuple(type_spec(arg) for arg in args))
    base = origin or annotation
    if base in (list, collections.abc.Sequence, collections.abc.Iterable):
        return TypeSpec("list", tuple(type_spec(arg) for arg in args[:1]) or (ANY,))
    if base in (dict, collections.abc.Mapping):
        return TypeSpec("dict", tuple(type_spec(arg) for arg in args) or (ANY, ANY))
    if base is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return TypeSpec("list", (type_spec(args[0]),))
        return TypeSpec("tuple", tuple(type_spec(arg) for arg in args)) if args else TypeSpec("list", (ANY,))
    if isinstance(base, type):
        return TypeSpec(_value_kind(base) or "any")
    return ANY


def _value_kind(cls: type) -> str | None:
    return _VALUE_CLASSES.get((cls.__module__.partition(".")[0], cls.__qualname__))


def bind(
    spec: OperationSpec, args: Sequence[object], kwargs: Mapping[str, object], leaf: Leaf
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Hold arguments against a signature and hand each value to `leaf` where its kind asks for it.

    Returns
    -------
    tuple
        Positional and keyword arguments, lists turned into the tuples the signature asks for.

    Raises
    ------
    InvalidArguments
        Naming the operation, the parameter, what it takes and what it got.
    """
    positional = [p for p in spec.parameters if p.form in ("positional_only", "positional_or_keyword")]
    by_name = {p.name: p for p in spec.parameters if p.form in ("positional_or_keyword", "keyword_only")}
    variadic = next((p for p in spec.parameters if p.form == "var_positional"), None)
    extra = next((p for p in spec.parameters if p.form == "var_keyword"), None)
    if len(args) > len(positional) and variadic is None:
        raise InvalidArguments(
            f"{spec.name}: takes at most {len(positional)} positional arguments, got {len(args)}. "
            f"Its parameters: {_listing(spec)}"
        )
    bound_args = []
    for index, value in enumerate(args):
        parameter = positional[index] if index < len(positional) else variadic
        assert parameter is not None
        bound_args.append(_bind_one(spec, parameter, parameter.name, value, leaf))
    given = {p.name for p in positional[: len(args)]}
    bound_kwargs = {}
    for name, value in kwargs.items():
        if name in given and name in by_name:
            raise InvalidArguments(f"{spec.name}: parameter {name!r} was given twice, by position and by name")
        parameter = by_name.get(name) or extra
        if parameter is None:
            raise InvalidArguments(f"{spec.name}: has no parameter {name!r}. Its parameters: {_listing(spec)}")
        bound_kwargs[name] = _bind_one(spec, parameter, name, value, leaf)
    missing = [
        p.name
        for p in spec.parameters
        if p.required and p.name not in given and (p.name not in kwargs or p.name not in by_name)
    ]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        raise InvalidArguments(f"{spec.name}: missing parameter {names}. Its parameters: {_listing(spec)}")
    return tuple(bound_args), bound_kwargs


def _bind_one(spec: OperationSpec, parameter: ParameterSpec, name: str, value: object, leaf: Leaf) -> object:
    try:
        return _convert(parameter.type, value, leaf)
    except _Mismatch:
        raise InvalidArguments(
            f"{spec.name}: parameter {name!r} takes {type_text(parameter.type)}, got {_show(value)}"
        ) from None
    except InvalidArguments as error:
        raise InvalidArguments(f"{spec.name}: parameter {name!r}: {error}") from error


class _Mismatch(ValueError):
    """A value isn't of the type asked for."""


def _convert(spec: TypeSpec, value: object, leaf: Leaf) -> object:
    match spec.kind:
        case "any":
            return leaf("any", value)
        case "union":
            return _convert_union(spec, value, leaf)
        case "literal":
            for choice in spec.choices:  # True is not 1 here, as it is not for a type checker
                if isinstance(value, bool) is isinstance(choice, bool) and _equal(value, choice):
                    return choice
        case "list" | "tuple" if isinstance(value, list | tuple):
            if spec.kind == "list":
                return [_convert(spec.args[0], item, leaf) for item in value]
            if len(value) == len(spec.args):
                return tuple(_convert(part, item, leaf) for part, item in zip(spec.args, value, strict=True))
        case "dict" if isinstance(value, Mapping):
            key, item = spec.args
            return {_convert(key, k, leaf): _convert(item, v, leaf) for k, v in value.items()}
        case kind if kind in VALUE_KINDS:
            try:
                return leaf(kind, value)
            except TypeError:
                raise _Mismatch from None
        case kind:
            return _scalar(kind, value)
    raise _Mismatch


def _convert_union(spec: TypeSpec, value: object, leaf: Leaf) -> object:
    # Text last: in `FileRef | str` a string stays what it is only where no file is asked for. Floats before it, so that
    # a whole number stays one in `float | int`. A list is one before it is the files of a table.
    listed = isinstance(value, list | tuple)
    order = sorted(spec.args, key=lambda part: 0 if listed and part.kind in _LISTS else _ORDER.get(part.kind, 1))
    for part in order:
        try:
            return _convert(part, value, leaf)
        except _Mismatch:
            continue
    raise _Mismatch


_LISTS = ("list", "tuple")
_ORDER = {"float": 2, "str": 3}


def _equal(value: object, choice: object) -> bool:
    return isinstance(value, str | int | float | None) and value == choice


def _scalar(kind: str, value: object) -> object:
    if kind == "none" and value is None:
        return None
    if kind == "bool" and (isinstance(value, bool) or _is_numpys_bool(value)):
        return bool(value)
    if kind == "int" and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if kind == "float" and isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if kind == "str" and isinstance(value, str):
        return str(value)
    if kind == "bytes" and isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if kind == "datetime" and isinstance(value, datetime):
        return value
    raise _Mismatch


def _is_numpys_bool(value: object) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")  # 2.x and 1.x


_NAMES = {
    "any": "anything",
    "none": "None",
    "image": "an image (PIL.Image, a path, a FileRef or a file's bytes)",
    "frame": "a table (pandas.DataFrame, pyarrow.Table, a path, a FileRef, a glob, or a list of files)",
    "series": "a pandas.Series",
    "table": "a table (pyarrow.Table, pandas.DataFrame, a path, a FileRef, a glob, or a list of files)",
    "dataset": "a table of any size (pandas.DataFrame, pyarrow.Table, a path, a FileRef, a glob, or a list of files)",
    "array": "a numpy.ndarray",
    "file": "a file (a path or a FileRef)",
    "files": "files (a list of paths or FileRefs, or a glob)",
    "path": "a file (a path or a FileRef)",
    "output": "a path to write to",
    "directory": "a directory",
}


def type_text(spec: TypeSpec) -> str:
    """Write a type as a person would."""
    match spec.kind:
        case "literal":
            return "one of " + ", ".join(repr(choice) for choice in spec.choices)
        case "union":
            return " or ".join(type_text(part) for part in spec.args)
        case "list" | "tuple" | "dict":
            inner = ", ".join(type_text(part) for part in spec.args)
            return f"{spec.kind}[{inner}]"
        case kind:
            return _NAMES.get(kind, kind)


def _listing(spec: OperationSpec) -> str:
    return ", ".join(p.name if p.required else f"{p.name}={p.default}" for p in spec.parameters) or "none"


def _show(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '…'} ({type(value).__name__})"
