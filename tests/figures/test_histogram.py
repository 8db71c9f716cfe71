"""Histograms."""

import pytest

from logstore.counts.histogram import Histogram


def test_what_is_measured_is_counted_in_the_column_that_it_belongs_to():
    histogram = Histogram((1, 5, 10))
    for measured in (0.5, 1, 1.1, 10, 11):
        histogram.add(measured)
    assert histogram.columns == [2, 1, 1, 1]
    assert histogram.upto() == [2, 3, 4, 5]
    assert histogram.count == 5
    assert histogram.total == pytest.approx(23.6)


def test_many_of_one_size_are_counted_at_once():
    histogram = Histogram((1, 5))
    histogram.add(2, 10)
    assert (histogram.columns, histogram.count, histogram.total) == ([0, 10, 0], 10, 20)
