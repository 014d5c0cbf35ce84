"""The language of `data.assign`: one expression over columns, read with `ast` and computed by pandas.

Only the nodes that are listed here are understood, and nothing is ever compiled or looked up by name outside of this
file: an expression reaches columns and the functions in `functions`, no attribute, no module, no Python.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.core.errors import InvalidArguments
from workbench.operations.data import functions
from workbench.operations.data.columns import single

if TYPE_CHECKING:
    from pandas import DataFrame

LENGTH = 2000
"""Characters an expression may have."""
DEPTH = 100
"""How deep its parts may be nested; a sum of n terms is n deep."""
EXPONENT = 64
"""The largest exponent, and the largest negative one."""
_WHOLE = 2**63

_ARITHMETIC: dict[type[ast.operator], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", operator.pow),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
_MEMBERSHIP = (ast.In, ast.NotIn)
_KNOWN = "Known are columns, numbers, text in quotes, + - * / // % **, comparisons, in, and, or, not, and functions"


def evaluate(text: str, data: DataFrame) -> Any:
    """Compute an expression over a table.

    Parameters
    ----------
    text
        The expression, e.g. `if_else(arr_delay > 15, "late", "on time")`.
    data
        The table whose columns it names.

    Returns
    -------
    pandas.Series or scalar
        A scalar where the expression names no column.

    Raises
    ------
    InvalidArguments
        Naming the character at which it isn't understood, or doesn't fit its columns.
    """
    import numpy as np

    evaluation = _Evaluation(text, data)
    tree = evaluation.parse()
    evaluation.check(tree)
    with np.errstate(all="ignore"), warnings.catch_warnings():  # log(-1) is missing, as it is in pandas
        warnings.simplefilter("ignore", RuntimeWarning)
        return evaluation.compute(tree)


def names_in(text: str, data: DataFrame) -> set[str]:
    """Return the names that occur in an expression: of the columns it is computed from, and others."""
    nodes = list(ast.walk(_Evaluation(text, data).parse()))
    words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return words | {node.id for node in nodes if isinstance(node, ast.Name)}


class _Evaluation:
    """One expression over one table: read, then checked as a whole, then computed."""

    def __init__(self, text: str, data: DataFrame) -> None:
        self.text = text.strip()
        self.data = data

    def refused(self, node: ast.expr | int, reason: str) -> InvalidArguments:
        """Return the error for what stands there, naming the character."""
        if isinstance(node, int):
            at = node
        else:  # ast counts UTF-8's bytes, from the start of the node's line
            before = self.text.split("\n")[: node.lineno]
            at = sum(len(line) + 1 for line in before[:-1])
            at += len(before[-1].encode()[: node.col_offset].decode(errors="ignore")) + 1
        around = self.text if len(self.text) <= 80 else f"…{self.text[max(0, at - 30) : at + 30]}…"
        return InvalidArguments(f"{around!r}, at character {at}: {reason}")

    # --- reading ------------------------------------------------------------------------------------

    def parse(self) -> ast.expr:
        if len(self.text) > LENGTH:
            raise InvalidArguments(
                f"an expression may have {LENGTH} characters, this one has {len(self.text)}: compute it in steps"
            )
        if not self.text.isascii() and (odd := re.search("[\ud800-\udfff]", self.text)) is not None:
            raise self.refused(odd.start() + 1, "it can't be read: there is half of a character")
        if "\0" in self.text:
            raise self.refused(self.text.index("\0") + 1, "it can't be read: there is a null character")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            above = self.text.split("\n")[: max((error.lineno or 1) - 1, 0)]
            at = sum(len(line) + 1 for line in above) + error.offset if error.offset else len(self.text) + 1
            raise self.refused(at, f"it can't be read: {error.msg}. {_KNOWN}") from None
        except (RecursionError, MemoryError):
            raise self.refused(1, "it is nested too deeply: compute it in steps") from None

    def check(self, node: ast.expr, depth: int = 0) -> None:
        """Refuse what isn't part of the language, wherever it stands."""
        if depth > DEPTH:
            raise self.refused(node, f"it is nested more than {DEPTH} deep: compute it in steps")
        for child in self._children(node):
            self.check(child, depth + 1)

    def _children(self, node: ast.expr) -> list[ast.expr]:
        match node:
            case ast.Constant():
                self._check_constant(node)
                return []
            case ast.Name():
                self._column(node, node.id)
                return []
            case ast.UnaryOp(op=ast.UAdd() | ast.USub() | ast.Not() | ast.Invert(), operand=operand):
                return [operand]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                if isinstance(op, ast.Pow) and not self._is_exponent(right):
                    raise self.refused(right, f"an exponent has to be a number from -{EXPONENT} to {EXPONENT}")
                return [left, right]
            case ast.BoolOp(values=values):
                return values
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return [left, *self._compared(ops, comparators)]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                self._check_call(node, name, args)
                return [] if name == "col" else args
        raise self._unknown(node)

    def _unknown(self, node: ast.expr) -> InvalidArguments:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.refused(
                node, f"there are no attributes; write col({node.value.id + '.' + node.attr!r}) for a column"
            )
        if isinstance(node, ast.Call) and node.keywords:
            return self.refused(node, "functions take their arguments by position")
        if isinstance(node, ast.IfExp):
            return self.refused(node, "write if_else(condition, one, other)")
        part = ast.get_source_segment(self.text, node) or self.text
        return self.refused(node, f"{part[:60]!r} is not part of the language. {_KNOWN}")

    def _compared(self, ops: list[ast.cmpop], comparators: list[ast.expr]) -> list[ast.expr]:
        children: list[ast.expr] = []
        for op, right in zip(ops, comparators, strict=True):
            if isinstance(op, _MEMBERSHIP):
                if not isinstance(right, ast.List | ast.Tuple) or not right.elts:
                    raise self.refused(right, "in takes a list of values: x in [1, 2]")
                for item in right.elts:
                    self._literal(item)
            elif type(op) in _COMPARISONS:
                children.append(right)
            else:
                raise self.refused(right, "write == or != instead of is; is_missing(x) for missing values")
        return children

    def _check_constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool | float | str | None):
            return
        if isinstance(value, int):
            if not -_WHOLE <= value < _WHOLE:
                raise self.refused(node, "a whole number has to fit into 64 bits")
            return
        raise self._unknown(node)

    def _literal(self, node: ast.expr) -> Any:
        """Return a number or text that is written out."""
        match node:
            case ast.Constant():
                self._check_constant(node)
                return node.value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                self._check_constant(node.operand)  # type: ignore[arg-type]
                return -value
        raise self.refused(node, "a number or text has to be written out here")

    def _is_exponent(self, node: ast.expr) -> bool:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            node = node.operand
        value = node.value if isinstance(node, ast.Constant) else None
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= EXPONENT

    def _check_call(self, node: ast.Call, name: str, args: list[ast.expr]) -> None:
        if name == "col":
            if len(args) != 1 or not isinstance(args[0], ast.Constant) or not isinstance(args[0].value, str):
                raise self.refused(node, 'col takes a column\'s name in quotes: col("air time")')
            self._column(node, args[0].value)
            return
        function = functions.FUNCTIONS.get(name)
        if function is None:
            raise self.refused(node, f"there is no function {name!r}. Known: col, {', '.join(functions.FUNCTIONS)}")
        if not function.least <= len(args) <= function.most:
            raise self.refused(node, f"write {function.usage}")
        for position in function.literals:
            if position < len(args):
                self._literal(args[position])

    # --- computing ----------------------------------------------------------------------------------

    def _column(self, node: ast.expr, name: str) -> Any:
        try:
            single(self.data, name)
        except InvalidArguments as error:
            raise self.refused(node, str(error)) from error
        return self.data[name]

    def compute(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name) | ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(name))]):
                return functions.decoded(self._column(node, name))
            case ast.UnaryOp(op=op, operand=operand):
                return self._unary(op, self.compute(operand), operand)
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(node, op, self.compute(left), self.compute(right))
            case ast.BoolOp(op=op, values=values):
                word = "and" if isinstance(op, ast.And) else "or"
                result = self._truth(values[0], self.compute(values[0]), word)
                for each in values[1:]:
                    value = self._truth(each, self.compute(each), word)
                    result = result & value if word == "and" else result | value
                return result
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=name), args=args):
                return self._called(node, name, [self.compute(each) for each in args])
        raise AssertionError(node)  # `check` has refused all others

    def _called(self, node: ast.expr, name: str, values: list[Any]) -> Any:
        try:
            return functions.FUNCTIONS[name].compute(*values)
        except functions.Misfit as misfit:
            raise self.refused(node, f"{name} {misfit}") from misfit
        except _FOREIGN as error:
            raise self.refused(node, f"{name} can't be computed: {error}") from error

    def _unary(self, op: ast.unaryop, value: Any, node: ast.expr) -> Any:
        if isinstance(op, ast.Not | ast.Invert):
            value = self._truth(node, value, "not")
            return not value if isinstance(value, bool) else ~value
        if functions.kind_of(value) not in ("number", "duration"):
            raise self.refused(node, f"a sign takes numbers, this is {functions.name_of(value)}")
        return -value if isinstance(op, ast.USub) else +value

    def _truth(self, node: ast.expr, value: Any, word: str) -> Any:
        if functions.kind_of(value) != "bool":
            raise self.refused(node, f"{word} takes conditions, this is {functions.name_of(value)}")
        return value

    def _binary(self, node: ast.BinOp, op: ast.operator, left: Any, right: Any) -> Any:
        sign, compute = _ARITHMETIC[type(op)]
        kinds = functions.kind_of(left), functions.kind_of(right)
        if sign in ("&", "|"):
            left, right = self._truth(node.left, left, sign), self._truth(node.right, right, sign)
        elif sign == "**":
            left = functions.as_float(left)  # Python's own whole numbers would grow without bound
        if sign in ("&", "|") or _fits(sign, *kinds):
            try:
                return compute(left, right)
            except ZeroDivisionError:
                raise self.refused(node.right, "it divides by zero") from None
            except _FOREIGN as error:
                raise self.refused(node, f"{sign} can't be computed: {error}") from error
        raise self.refused(
            node, f"{sign} doesn't go between {functions.name_of(left)} and {functions.name_of(right)}: see data.astype"
        )

    def _compare(self, node: ast.Compare) -> Any:
        result: Any = None
        left_node, left = node.left, self.compute(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, _MEMBERSHIP):
                items = [self._literal(item) for item in right_node.elts]  # type: ignore[attr-defined]
                for item, part in zip(items, right_node.elts, strict=True):  # type: ignore[attr-defined]
                    self._comparable(part, left, item, moments=False)
                try:
                    holds = left.isin(items) if functions.is_column(left) else left in items
                except _FOREIGN as error:
                    raise self.refused(left_node, f"in can't be computed: {error}") from error
                right: Any = items
                if isinstance(op, ast.NotIn):
                    holds = not holds if isinstance(holds, bool) else ~holds
            else:
                right = self.compute(right_node)
                self._comparable(left_node, left, right)
                try:
                    holds = _COMPARISONS[type(op)][1](left, right)
                except _FOREIGN as error:
                    raise self.refused(left_node, f"{_COMPARISONS[type(op)][0]} can't be computed: {error}") from error
            result = holds if result is None else result & holds
            left_node, left = right_node, right
        return result

    def _comparable(self, node: ast.expr, left: Any, right: Any, *, moments: bool = True) -> None:
        """Refuse a number beside text, which pandas finds unequal and so says nothing of."""
        if left is None or right is None:
            raise self.refused(node, "nothing compares with None: write is_missing(x)")
        kinds = {functions.kind_of(left), functions.kind_of(right)} - {"empty"}
        if (len(kinds) == 1 and "other" not in kinds) or kinds == {"number", "bool"} or not kinds:
            return
        text = next((value for value in (left, right) if isinstance(value, str)), None)
        if moments and text is not None and functions.is_moment(text, kinds):
            return
        raise self.refused(node, f"{functions.name_of(left)} doesn't compare with {functions.name_of(right)}")


_FOREIGN = (TypeError, ValueError, ArithmeticError, NotImplementedError)


def _fits(sign: str, left: str, right: str) -> bool:
    """Tell whether values of two kinds can be calculated with."""
    kinds = {left, right}
    if kinds <= {"number", "bool"}:
        return "number" in kinds
    if kinds <= {"text", "empty"}:
        return sign == "+"
    if sign == "+":
        return kinds in ({"time", "duration"}, {"zoned", "duration"}, {"duration"})
    if sign == "-":
        return kinds in ({"time"}, {"zoned"}, {"duration"}) or (left in ("time", "zoned") and right == "duration")
    if sign in ("*", "/", "//"):
        return (left, right) == ("duration", "number") or (sign != "*" and kinds == {"duration"})
    return False
