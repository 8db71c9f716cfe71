"""Numbers are read and written to the last digit as Redis does it."""

import ctypes
import ctypes.util
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.broker.keys.numerals import (
    as_double,
    as_integer,
    as_long_double,
    double_text,
    long_double_sum,
    long_double_text,
    strtod,
)

C = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6")
C.strtod.restype = ctypes.c_double
C.strtod.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p))

TEXTS = [
    b"", b" ", b"1", b" 1", b"1 ", b"+1", b"-0", b"1.", b".5", b".", b"1e5", b"1e", b"1e+", b"1E-3",
    b"inf", b"-Infinity", b"infinit", b"nan", b"nan(12)", b"0x1p3", b"0x.8", b"0x", b"0x1.8p-1",
    b"1_0", b"1e400", b"-1e400", b"1e-400", b"0e-400", b"1e308", b"4.9e-324", b"abc", b"--1",
    b"1e5x", b"\t\n3", b"0x1p2000", b"0x0p9999", b"00012", b"\xd9\xa1",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_doubles_are_read_as_c_reads_them(text):
    end = ctypes.c_char_p()
    buffer = ctypes.create_string_buffer(text)
    start = ctypes.cast(buffer, ctypes.c_char_p)
    value = C.strtod(start, ctypes.byref(end))
    size = ctypes.cast(end, ctypes.c_void_p).value - ctypes.addressof(buffer)
    ours, ours_size, _ = strtod(text)
    assert ours_size == size
    assert ours == value or (math.isnan(ours) and math.isnan(value))


@pytest.mark.parametrize("text", [b"", b" 1", b"1 ", b"nan", b"1e400", b"1e-400", b"0x", b"x"])
def test_what_is_no_score(text):
    assert as_double(text) is None


def test_integers():
    good = {b"0": 0, b"-1": -1, b"%d" % (2**63 - 1): 2**63 - 1, b"%d" % -(2**63): -(2**63)}
    for text, number in good.items():
        assert as_integer(text) == number
    for text in (b"", b"-", b"+1", b"01", b"-0", b" 1", b"1.0", b"%d" % 2**63, b"9" * 30, b"\xb2"):
        assert as_integer(text) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"), (-0.0, b"-0"), (1.0, b"1"), (-5.0, b"-5"), (3.14, b"3.14"), (0.1, b"0.1"),
        (1e17, b"100000000000000000"), (1e20, b"1e+20"), (1.5e20, b"1.5e+20"), (1e-5, b"0.00001"),
        (1e-7, b"1e-7"), (1.5e-7, b"1.5e-7"), (123456.789, b"123456.789"), (1e300, b"1e+300"),
        (math.inf, b"inf"), (-math.inf, b"-inf"), (0.1 + 0.2, b"0.30000000000000004"),
        (-1.7976931348623157e308, b"-1.7976931348623157e+308"), (5e-324, b"5e-324"),
        (1e-6, b"0.000001"), (12345678901234567890.0, b"12345678901234567000"),
    ],
)  # fmt: skip
def test_scores_are_written_as_redis_7_2_writes_them(value, text):
    assert double_text(value) == text
    assert float(text) == value


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.floats(allow_nan=False))
def test_a_score_is_the_same_when_it_is_read_again(value):
    assert as_double(double_text(value)) == value


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (b"10.50", b"0.1", b"10.6"), (b"5.0e3", b"2.0e2", b"5200"), (b"3", b"1.1", b"4.1"),
        (b"0", b"-0.0", b"0"), (b"1e18", b"0.5", b"1000000000000000000.5"), (b"-1.1", b"1.1", b"0"),
        (b"3.0e-5", b"0", b"0.00003"), (b"1", b"-3.25", b"-2.25"),
        (b"0.1", b"0.2", b"0.3"), (b"1e20", b"1", b"100000000000000000000"),
        (b"17179869184.1", b"0", b"17179869184.09999999962747097"), (b"5e-18", b"0", b"0"),
        (b"123456789.123456789", b"0.1", b"123456789.22345678899728227"), (b"0x1.8p3", b"1", b"13"),
    ],
)  # fmt: skip
def test_sums_of_long_doubles_are_those_of_a_real_redis_server(one, other, text):
    total = long_double_sum(as_long_double(one), as_long_double(other))
    assert long_double_text(total) == text


def test_what_is_no_long_double():
    for text in (b"", b" 1", b"nan", b"1e5000", b"1e-5000", b"1x", b"1" * 6000):
        assert as_long_double(text) is None
    assert as_long_double(b"-inf") == -math.inf
    assert long_double_sum(as_long_double(b"1.1e4932"), as_long_double(b"1.1e4932")) is None
