"""Signatures as data, and the check that notebook and worker make with them."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import InvalidArguments, InvalidName, UnknownOperation, WorkbenchError
from workbench.core.messages import OperationSpec, TypeSpec
from workbench.core.policy import RetryPolicy
from workbench.operations import registry, signature
from workbench.operations.signature import bind, describe, type_spec
from workbench.values.refs import FileRef, OutputPath

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from nowhere import Stranger
    from pandas import DataFrame, Series
    from PIL.Image import Image
    from pyarrow import Table


def leaf(kind: str, value: object) -> object:
    """A leaf that takes paths, as text, for whatever can be a file."""
    if kind == "any" or isinstance(value, str):
        return value if kind == "any" else (kind, value)
    raise TypeError


def kinds(function: Any) -> dict[str, str]:
    return {parameter.name: parameter.type.kind for parameter in describe("test.it", function).parameters}


# --- describe ---------------------------------------------------------------------------------------


def test_classes_that_are_imported_for_type_checkers_only_are_known_by_name():
    def it(a: Image, b: DataFrame, c: Series, d: Table, e: pd.DataFrame, f: pa.Table, g: FileRef, h: OutputPath): ...

    assert list(kinds(it).values()) == ["image", "frame", "series", "table", "frame", "table", "file", "output"]


def test_classes_that_are_there_are_known_as_well():
    import pandas
    import PIL.Image
    import pyarrow

    classes = (PIL.Image.Image, pandas.DataFrame, pandas.Series, pyarrow.Table, np.ndarray)

    assert [type_spec(each).kind for each in classes] == ["image", "frame", "series", "table", "array"]


def test_one_annotation_that_only_a_type_checker_can_read_leaves_the_others_as_they_are():
    def it(image: Image, model: Stranger, n: int = 3) -> Stranger: ...

    assert kinds(it) == {"image": "image", "model": "any", "n": "int"}


def test_pillows_module_imported_for_type_checkers_only_names_the_class_within():
    namespace: dict[str, Any] = {}
    source = "from __future__ import annotations\ndef it(a: Image.Image, b: list[Image.Image], c: PIL.Image.Image): ..."
    exec(source, namespace)  # a module without the names

    assert list(kinds(namespace["it"]).values()) == ["image", "list", "image"]


def test_containers_and_unions_say_what_is_in_them():
    def it(
        a: list[Image],
        b: tuple[int, int],
        c: dict[str, list[float]],
        d: Image | None,
        e: Optional[FileRef],  # noqa: UP045 - the older spelling is the point
        f: tuple[str, ...],
        g: Sequence[int],
        h: FileRef | Image,
        i: Annotated[int, "counted"],
        j: list,  # type: ignore[type-arg]
    ): ...

    found = {parameter.name: signature.type_text(parameter.type) for parameter in describe("t.t", it).parameters}
    image_text, file_text = signature.type_text(TypeSpec("image")), signature.type_text(TypeSpec("file"))
    assert found == {
        "a": f"list[{image_text}]",
        "b": "tuple[int, int]",
        "c": "dict[str, list[float]]",
        "d": f"{image_text} or None",
        "e": f"{file_text} or None",
        "f": "list[str]",
        "g": "list[int]",
        "h": f"{file_text} or {image_text}",
        "i": "int",
        "j": "list[anything]",
    }


def test_a_description_knows_defaults_forms_and_the_docstrings_first_line():
    def it(a: int, /, b: str = "x", *rest: float, c: bool = False, **more: str) -> None:
        """Do it.

        And more.
        """

    spec = describe("test.it", it, timeout=3.0, soft_timeout=2.0, retry=RetryPolicy(attempts=2))

    assert (spec.summary, spec.timeout, spec.soft_timeout) == ("Do it.", 3.0, 2.0)
    assert spec.retry == RetryPolicy(attempts=2)
    told = [(p.name, p.form, p.required, p.default) for p in spec.parameters]
    assert told == [
        ("a", "positional_only", True, ""),
        ("b", "positional_or_keyword", False, "'x'"),
        ("rest", "var_positional", False, ""),
        ("c", "keyword_only", False, "False"),
        ("more", "var_keyword", False, ""),
    ]


def test_a_description_survives_the_wire():
    def it(a: Literal["x", 1, None] = None, *, b: dict[str, int | str], c: Image): ...

    spec = describe("test.it", it)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=OperationSpec) == spec


def test_every_operation_of_the_package_is_fully_understood():
    registry.load()
    untyped = {
        f"{spec.name}({parameter.name})"
        for spec in registry.specs(("image", "data", "convert"))
        for parameter in spec.parameters
        if parameter.type.kind == "any"
    }

    assert untyped == {"data.fillna(value)"}  # a scalar, or one for each column
    assert all(spec.summary for spec in registry.specs(("image", "data", "convert")))


# --- bind -------------------------------------------------------------------------------------------


def bound(function: Any, *args: object, **kwargs: object) -> tuple[tuple[object, ...], dict[str, object]]:
    return bind(describe("test.it", function), args, kwargs, leaf)


def refusal(function: Any, *args: object, **kwargs: object) -> str:
    with pytest.raises(InvalidArguments) as caught:
        bound(function, *args, **kwargs)
    return str(caught.value)


def test_values_of_a_kind_are_handed_to_the_leaf_wherever_they_stand():
    def it(a: Image, b: list[FileRef], c: dict[str, DataFrame], *, d: Table | None = None): ...

    args, kwargs = bound(it, "a.png", ("b.csv",), {"x": "c.csv"}, d="d.parquet")

    assert args == (("image", "a.png"), [("file", "b.csv")], {"x": ("frame", "c.csv")})
    assert kwargs == {"d": ("table", "d.parquet")}
    assert bound(it, "a", [], {}, d=None) == ((("image", "a"), [], {}), {"d": None})


def test_a_list_becomes_the_tuple_that_is_asked_for():
    def it(size: tuple[int, int]): ...

    assert bound(it, [1, 2]) == (((1, 2),), {})
    assert "tuple[int, int], got [1, 2, 3]" in refusal(it, [1, 2, 3])


def test_a_file_is_meant_by_text_where_a_union_has_one_and_text_where_it_has_none():
    def it(a: str | FileRef, b: str | list[str]): ...

    assert bound(it, "x", "y") == ((("file", "x"), "y"), {})
    assert bound(it, "x", ["y"]) == ((("file", "x"), ["y"]), {})


def test_a_whole_number_stays_one_where_a_union_takes_both():
    def it(a: float | int, b: float): ...

    args, _ = bound(it, 3, 3)

    assert [type(value) for value in args] == [int, float]


def test_numpys_scalars_become_pythons():
    def it(a: int, b: float, c: bool, d: str): ...

    args, _ = bound(it, np.int64(1), np.float32(0.5), np.bool_(True), np.str_("x"))

    assert args == (1, 0.5, True, "x")
    assert [type(value) for value in args] == [int, float, bool, str]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, True),
        (int, 1.0),
        (int, "1"),
        (float, True),
        (float, "1"),
        (bool, 1),
        (str, b"x"),
        (str, 1),
        (bytes, "x"),
        (datetime, "2013-01-01"),
        (list[int], "12"),
        (list[int], [1, "2"]),
        (dict[str, int], {"a": "b"}),
        (Literal["a", "b"], "c"),
        (Literal[1, 2], True),
        (Literal[True], 1),
        (Literal["a"], ["a"]),
        (None, 0),
        (int | None, "x"),
        (FileRef, 3),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_parameter_and_what_it_takes(annotation: Any, value: object):
    def it(number): ...  # type: ignore[no-untyped-def]

    it.__annotations__["number"] = annotation
    text = refusal(it, value)

    assert text.startswith("test.it: parameter 'number' takes ")
    assert f"got {value!r} ({type(value).__name__})" in text


def test_a_long_value_is_shortened_in_the_refusal():
    def it(a: int): ...

    assert len(refusal(it, "x" * 10_000)) < 200


def test_arguments_that_do_not_fit_the_parameters_are_refused_with_the_parameters_listed():
    def it(a: int, /, b: int, *, c: int = 3): ...

    listed = "Its parameters: a, b, c=3"
    assert refusal(it) == f"test.it: missing parameter 'a', 'b'. {listed}"
    assert refusal(it, 1, 2, 3) == f"test.it: takes at most 2 positional arguments, got 3. {listed}"
    assert refusal(it, 1, 2, d=3) == f"test.it: has no parameter 'd'. {listed}"
    assert refusal(it, 1, b=2, a=1) == f"test.it: has no parameter 'a'. {listed}"
    assert refusal(it, 1, 2, b=2) == "test.it: parameter 'b' was given twice, by position and by name"


def test_what_the_leaf_has_to_say_is_passed_on_with_the_parameters_name():
    def it(a: FileRef): ...

    def picky(kind: str, value: object) -> object:
        raise InvalidArguments("x is a directory")

    with pytest.raises(InvalidArguments, match=r"test\.it: parameter 'a': x is a directory"):
        bind(describe("test.it", it), ("x",), {}, picky)


def test_a_positional_parameters_name_can_be_another_ones_keyword():
    def it(a: int, /, **words: str): ...

    assert bound(it, 1, a="x") == ((1,), {"a": "x"})
    assert "missing parameter 'a'" in refusal(it, a="x")


def test_further_arguments_go_to_the_parameters_that_take_any_number():
    def it(*numbers: int, **words: str): ...

    assert bound(it, 1, 2, a="x", b="y") == ((1, 2), {"a": "x", "b": "y"})
    assert "parameter 'numbers' takes int" in refusal(it, 1, "2")
    assert "parameter 'b' takes str" in refusal(it, b=2)


@given(st.integers(), st.text(), st.lists(st.floats(allow_nan=False)), st.booleans() | st.none())
def test_what_fits_a_signature_arrives_unchanged(a: int, b: str, c: list[float], d: bool | None):
    def it(a: int, b: str, c: list[float], d: bool | None): ...

    assert bound(it, a, b, c=c, d=d) == ((a, b), {"c": c, "d": d})


# --- the registry -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch):
    registry.load()
    monkeypatch.setattr(registry, "_operations", dict(registry._operations))


def test_a_registered_function_stays_what_it_was_and_is_found_by_name():
    @registry.operation("test.double", timeout=5, retries=1)
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    found = registry.get("test.double")

    assert double(4) == 8
    assert found.function is double
    assert (found.spec.timeout, found.spec.retry) == (5, RetryPolicy(attempts=2))
    assert repr(found) == "<Operation test.double: Double a number.>"
    assert "test" in registry.families()
    assert [spec.name for spec in registry.specs(("test",))] == ["test.double"]


def test_an_unknown_operation_is_refused_with_those_that_come_close():
    with pytest.raises(UnknownOperation, match=r"Did you mean image\.thumbnail"):
        registry.get("image.thumbnial")
    with pytest.raises(UnknownOperation, match=r"Known: .*convert\.table"):
        registry.get("zzz.qqq")


def test_a_name_that_is_none_is_refused_where_it_is_given():
    with pytest.raises(InvalidName, match=r"'double' is not the name"):
        registry.operation("double")
    with pytest.raises(WorkbenchError, match=r"@operation\('family.double'\)"):

        @registry.operation
        def double(number: int) -> int:
            return number


def test_a_users_module_that_cannot_be_imported_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(WorkbenchError, match=r"'no_such_module' can't be imported: ModuleNotFoundError"):
        registry.load(["no_such_module"])
    monkeypatch.setitem(sys.modules, "some_module", types.ModuleType("some_module"))
    registry.load(["some_module"])


def test_a_users_path_stays_a_path_in_the_signature(tmp_path: Path):
    def it(anything): ...  # type: ignore[no-untyped-def]

    assert bound(it, tmp_path) == ((tmp_path,), {})
