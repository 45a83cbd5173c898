"""Exact arithmetic for models.

An expression is parsed and evaluated node by node; it is never executed as Python. Numbers are decimals of 60 digits,
so 0.1 + 0.2 is 0.3, and neither the size of a number nor the time of an operation depends on the input.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, DecimalException, Overflow, localcontext

from langchain_core.tools import ToolException, tool

_MAX_LENGTH = 500  # characters of an expression
_DIGITS = 60
_RESULT_DIGITS = 20  # digits of a result that is not an integer
_MAX_EXPONENT = 10_000
_MAX_FACTORIAL = 1000
# Signs that people write, in Python's grammar.
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "（": "(", "）": ")", "，": ","})
_PERCENT = re.compile(r"(?<=\d)%(?!\s{0,3}[\w.(])")  # `15%`; with a space before the sign it is the remainder operator


def _remainder(value: Decimal, by: Decimal) -> Decimal:
    # With the sign of the divisor, like Python's int and float, and unlike its Decimal.
    remainder = value % by
    return remainder + by if remainder and (remainder < 0) != (by < 0) else remainder


def _quotient(value: Decimal, by: Decimal) -> Decimal:
    return (value - _remainder(value, by)) / by


_OPERATORS: Mapping[type[ast.AST], Callable[..., Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: _quotient,
    ast.Mod: _remainder,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


class NoResult(ToolException):
    """The expression has no result. The message explains why, for the model."""


@tool(parse_docstring=True)
def calculator(expression: str) -> str:
    """Calculate the result of an arithmetic expression.

    Args:
        expression: The sum, for example "2 * (3 + 4) / 7", "sqrt(2) ** 3" or "round(100 / 3, 2)". It can use
            + - * / // % **, brackets, pi and e, and the functions abs, ceil, cos, exp, factorial, floor, ln, log (to
            the base 10, or to a second argument), max, min, round, sin, sqrt, sum and tan, with angles in radians.
    """
    return calculate(expression)


def calculate(expression: str) -> str:
    """Evaluate an expression, and format the result as a person would write it.

    Raises:
        NoResult: if the expression is malformed, has no result, or has one that is too large.
    """
    if len(expression) > _MAX_LENGTH:
        raise NoResult(f"The expression is longer than {_MAX_LENGTH} characters.")
    normalized = _PERCENT.sub("/100", expression.strip().rstrip("=?").translate(_SIGNS).replace("^", "**"))
    try:
        with localcontext(Context(prec=_DIGITS, Emax=_MAX_EXPONENT, Emin=-_MAX_EXPONENT)):
            return _format_number(_Expression(normalized.strip()).value())
    except ZeroDivisionError:
        raise NoResult("Nothing can be divided by zero.") from None
    except Overflow:
        raise NoResult("The result is too large.") from None
    except (DecimalException, ValueError) as error:
        if isinstance(error, UnicodeError):
            raise NoResult("This is no arithmetic expression.") from None
        raise NoResult("The expression has no result among the real numbers.") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise NoResult("This is no arithmetic expression. Write it like 2 * (3 + 4).") from None


class _Expression:
    def __init__(self, text: str) -> None:
        self._text = text

    def value(self) -> Decimal:
        return self._value(ast.parse(self._text, mode="eval").body)

    def _value(self, node: ast.AST) -> Decimal:
        match node:
            case ast.Constant(value=bool() | complex()):
                pass
            case ast.Constant(value=int() as number):
                return +Decimal(number)
            case ast.Constant(value=float()):
                # From the source text: a float has fewer digits, and may overflow to infinity.
                return +Decimal((ast.get_source_segment(self._text, node) or "").replace("_", ""))
            case ast.Name(id=name) if name.lower() in _CONSTANTS:
                return _CONSTANTS[name.lower()]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._value(left), self._value(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self._value(operand))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name.lower() in _FUNCTIONS:
                return _call(name.lower(), [self._value(argument) for argument in arguments])
            case ast.Tuple():
                raise NoResult("Write numbers without commas: 1234, not 1,234.")
        raise NoResult(f"{ast.unparse(node)[:40]!r} is nothing that this calculator knows.")


def _call(name: str, values: list[Decimal]) -> Decimal:
    least, most, function = _FUNCTIONS[name]
    if not least <= len(values) <= most:
        raise NoResult(f"{name} takes {least if least == most else f'{least} to {most}'} numbers.")
    return function(*values)


def _log(value: Decimal, base: Decimal | None = None) -> Decimal:
    return value.log10() if base is None else value.ln() / base.ln()


def _round(value: Decimal, digits: Decimal = Decimal(0)) -> Decimal:
    if digits != digits.to_integral_value() or abs(digits) > _DIGITS:
        raise NoResult(f"round takes a whole number of digits, up to {_DIGITS}.")
    return round(value, int(digits))


def _factorial(value: Decimal) -> Decimal:
    if value != value.to_integral_value() or not 0 <= value <= _MAX_FACTORIAL:
        raise NoResult(f"factorial takes a whole number from 0 to {_MAX_FACTORIAL}.")
    return +Decimal(math.factorial(int(value)))


def _to_integer(rounding: Callable[[Decimal], int]) -> Callable[[Decimal], Decimal]:
    def function(value: Decimal) -> Decimal:
        if value.adjusted() > _DIGITS:
            return value  # it has no fraction, and would be a huge int
        return Decimal(rounding(value))

    return function


def _with_floats(function: Callable[[float], float]) -> Callable[[Decimal], Decimal]:
    return lambda value: Decimal(repr(round(function(float(value)), 15)))


_MAX_ARGUMENTS = 100
_CONSTANTS = {"pi": Decimal("3.14159265358979323846264338327950288419716939937510582097494"), "e": Decimal(1).exp()}
_FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Decimal]]] = {
    "abs": (1, 1, abs),
    "ceil": (1, 1, _to_integer(math.ceil)),
    "cos": (1, 1, _with_floats(math.cos)),
    "exp": (1, 1, Decimal.exp),
    "factorial": (1, 1, _factorial),
    "floor": (1, 1, _to_integer(math.floor)),
    "ln": (1, 1, Decimal.ln),
    "log": (1, 2, _log),
    "max": (1, _MAX_ARGUMENTS, lambda *values: max(values)),
    "min": (1, _MAX_ARGUMENTS, lambda *values: min(values)),
    "round": (1, 2, _round),
    "sin": (1, 1, _with_floats(math.sin)),
    "sqrt": (1, 1, Decimal.sqrt),
    "sum": (1, _MAX_ARGUMENTS, lambda *values: sum(values, Decimal(0))),
    "tan": (1, 1, _with_floats(math.tan)),
}


def _format_number(value: Decimal) -> str:
    if not value:
        return "0"  # a Decimal zero has a sign and an exponent
    whole = value == value.to_integral_value()
    if not whole:
        value = value.normalize(Context(prec=_RESULT_DIGITS))
    if abs(value.adjusted()) > _DIGITS:
        return f"{value.normalize(Context(prec=_RESULT_DIGITS, Emax=_MAX_EXPONENT, Emin=-_MAX_EXPONENT)):e}"
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
