"""What the programs that kill a process again and again have in common."""

import argparse
import os
import random
import tempfile


def begin(doc, run, rounds, rounds_of_a_store=None):
    """One of them, by its command line. ``run(rounds, seed, path)`` has the rounds of one store.

    ``rounds``: unless it is told; ``rounds_of_a_store``: at the most, then with one made anew.
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.randrange(2**32) if given.seed is None else given.seed
    print(f"seed {seed}, {given.rounds} rounds", flush=True)
    most = rounds_of_a_store or max(1, given.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        for first in range(0, given.rounds, most):
            path = os.path.join(scratch, f"store-{first}")
            print(run(min(most, given.rounds - first), seed + first, path), flush=True)


def check_undamaged(store):
    """What can be made anew, and what a kill has left over, is no damage."""
    findings = [it for report in store.verify() for it in report.findings]
    damaged = [it for it in findings if not (it.derived or it.left)]
    assert not damaged, damaged
