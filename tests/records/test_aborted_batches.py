"""Which batches were aborted, against a plain look at each transaction."""

import random

from transactions_kit import Producers

from logstore.aborted import AbortedBatches
from logstore.log import Aborted


def test_as_a_look_at_each_says():
    rng = random.Random(16)
    for _ in range(50):
        producers, batches, at = Producers(rng, bumps=True), [], 0
        for _ in range(60):
            batches.append(producers.next().with_base_offset(at))
            at = batches[-1].next_offset
        aborted, free = [], {}
        for last in sorted(rng.sample(range(at), 12)):
            producer = rng.randrange(3)
            first = rng.randrange(free.get(producer, 0), last + 1)
            if first < last:
                aborted.append(Aborted(producer, first, last, last + 1))
                free[producer] = last + 1
        found = AbortedBatches(aborted)
        assert bool(found) is bool(aborted)
        for batch in batches:
            assert (batch in found) is any(
                batch.is_transactional
                and not batch.is_control
                and batch.producer_id == it.producer_id
                and it.first <= batch.base_offset < it.last
                for it in aborted
            )
