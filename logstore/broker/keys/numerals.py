"""Numbers as Redis reads and writes them: 64-bit integers, doubles, and C's long doubles.

A long double is that of x86-64, with a mantissa of 64 bits. It is stored as a fraction and rounded
as the machine would round it, so that sums equal Redis's to the last digit.
"""

import math
import re
from fractions import Fraction
from typing import Final

INTEGER_DIGITS_MAX: Final = 19
DIGITS_AT_ONCE: Final = 4000
LONG_DOUBLE_TEXT_MAX: Final = 5 * 1024  # bytes of a text that Redis reads as one
MANTISSA_BITS: Final = 64
LONG_DOUBLE_EXPONENT_MAX: Final = 16384  # of two: from there on it is infinite
LONG_DOUBLE_EXPONENT_MIN: Final = -16445  # the least that is not 0
WHOLE_MAX: Final = (2**63 - 1) // 2  # a double up to here is written as an integer

_FLOAT: Final = re.compile(
    rb"[ \t\n\v\f\r]*([+-]?)(?:(inf(?:inity)?)|(nan(?:\(\w*\))?)"
    rb"|0x((?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?\d+)?)"
    rb"|((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?))",
    re.IGNORECASE | re.ASCII,
)
_SPACE: Final = b" \t\n\v\f\r"


def as_integer(text: bytes) -> int | None:
    """Parse a 64-bit number as Redis writes it: only ``-`` as a sign, no leading zeros, no spaces.

    Returns None for any other text.
    """
    digits = text[1:] if text.startswith(b"-") else text
    if not digits.isdigit() or len(digits) > INTEGER_DIGITS_MAX:
        return None
    if digits[:1] == b"0" and text != b"0":
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def strtod(text: bytes) -> tuple[float, int, bool]:
    """Parse as C's ``strtod``; return the value, the bytes read, and whether it is out of range."""
    found = _FLOAT.match(text)
    if found is None:
        return 0.0, 0, False
    sign, infinite, nan, hexadecimal, decimal = found.groups()
    minus = -1.0 if sign == b"-" else 1.0
    if infinite is not None:
        return minus * math.inf, found.end(), False
    if nan is not None:
        return math.nan, found.end(), False
    if hexadecimal is not None:
        try:
            value = float.fromhex("0x" + hexadecimal.decode())
        except OverflowError:
            return minus * math.inf, found.end(), True
        digits = hexadecimal.lower().partition(b"p")[0]
    else:
        value = float(decimal)
        digits = decimal.lower().partition(b"e")[0]
    lost = math.isinf(value) or (value == 0 and bool(digits.strip(b"0.")))
    return minus * value, found.end(), lost


def as_double(text: bytes) -> float | None:
    """Parse the whole text as a score or increment; None: it is not a number, or out of range."""
    if not text or text[0] in _SPACE:
        return None
    value, size, lost = strtod(text)
    return None if size != len(text) or lost or math.isnan(value) else value


def double_text(value: float) -> bytes:
    """Return the shortest text that is parsed to the same double, as Redis 7.2 writes it."""
    if math.isinf(value):
        return b"inf" if value > 0 else b"-inf"
    if value == 0:
        return b"-0" if math.copysign(1, value) < 0 else b"0"
    if -WHOLE_MAX <= value <= WHOLE_MAX and value == int(value):
        return b"%d" % int(value)
    digits, power = _shortest(value)
    sign = "-" if value < 0 else ""
    return (sign + _placed(digits, power)).encode()


def _shortest(value: float) -> tuple[str, int]:
    """Return the significant digits, and the power of ten of the last digit."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    power = int(exponent or 0) - len(part)
    stripped = digits.rstrip("0")
    return stripped, power + len(digits) - len(stripped)


def _placed(digits: str, power: int) -> str:
    """Return the digits as ``fpconv_dtoa`` formats them: plain, with zeros, or with an exponent."""
    exponent = power + len(digits) - 1
    if power >= 0 and abs(exponent) < len(digits) + 7:
        return digits + "0" * power
    if power < 0 and (power > -7 or abs(exponent) < 4):
        point = len(digits) + power
        if point <= 0:
            return "0." + "0" * -point + digits
        return digits[:point] + "." + digits[point:]
    more = "." + digits[1:] if len(digits) > 1 else ""
    return f"{digits[0]}{more}e{'-' if exponent < 0 else '+'}{abs(exponent)}"


# Long doubles


def _rounded(value: Fraction) -> Fraction | None:
    """Round to the nearest long double, ties to even; None: the result is infinite."""
    if not value:
        return value
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    if exponent >= LONG_DOUBLE_EXPONENT_MAX:
        return None
    unit = max(exponent - MANTISSA_BITS + 1, LONG_DOUBLE_EXPONENT_MIN)
    scale = Fraction(2) ** unit
    rounded = round(value / scale) * scale
    return None if abs(rounded) >= Fraction(2) ** LONG_DOUBLE_EXPONENT_MAX else rounded


def as_long_double(text: bytes) -> Fraction | float | None:
    """Parse a long double; infinities are returned as floats. None: the text is not a number."""
    if not text or len(text) >= LONG_DOUBLE_TEXT_MAX or text[0] in _SPACE:
        return None
    found = _FLOAT.fullmatch(text)
    if found is None or found[3] is not None:
        return None
    minus = -1 if found[1] == b"-" else 1
    if found[2] is not None:
        return minus * math.inf
    exact = _exact_hex(found[4].lower()) if found[4] is not None else _exact(found[5].lower())
    value = None if exact is None else _rounded(exact)
    if value is None or (not value and exact):
        return None  # out of range
    return minus * value


def _exact(text: bytes) -> Fraction | None:
    mantissa, _, exponent = text.partition(b"e")
    whole, _, part = mantissa.partition(b".")
    digits = _number(whole + part)
    power = _number(exponent or b"0") - len(part)
    if not digits:
        return Fraction(0)
    if not -LONG_DOUBLE_TEXT_MAX * 3 < power < LONG_DOUBLE_TEXT_MAX * 3:
        return None
    return digits * Fraction(10) ** power


def _number(digits: bytes) -> int:
    """Convert digits of any length to an integer; Python converts at most 4,300 at once."""
    sign = -1 if digits.startswith(b"-") else 1
    plain, number = digits.lstrip(b"+-"), 0
    for at in range(0, len(plain), DIGITS_AT_ONCE):
        some = plain[at : at + DIGITS_AT_ONCE]
        number = number * 10 ** len(some) + int(some)
    return sign * number


def _exact_hex(text: bytes) -> Fraction | None:
    mantissa, _, exponent = text.partition(b"p")
    whole, _, part = mantissa.partition(b".")
    digits = int(whole + part, 16)
    power = _number(exponent or b"0") - 4 * len(part)
    if not digits:
        return Fraction(0)
    if abs(power) > 8 * LONG_DOUBLE_EXPONENT_MAX:
        return None
    return digits * Fraction(2) ** power


def long_double_sum(one: Fraction, other: Fraction) -> Fraction | None:
    """Return the sum as a long double; None: it is infinite."""
    return _rounded(one + other)


def long_double_text(value: Fraction) -> bytes:
    """Return the number as Redis shows it to users: ``%.17Lf`` without trailing zeros."""
    scaled = round(abs(value) * 10**17)
    whole, part = divmod(scaled, 10**17)
    high, low = divmod(whole, 10**DIGITS_AT_ONCE)
    shown = f"{high}{low:0{DIGITS_AT_ONCE}}" if high else str(low)
    text = f"{shown}.{part:017d}".rstrip("0").rstrip(".")
    return ("-" + text if value < 0 and scaled else text).encode()
