"""What the programs that kill a process again and again have in common."""

import argparse
import os
import random
import tempfile


def begin(doc, run, rounds, rounds_of_a_store=None):
    """Run the command line of such a test. ``run(rounds, seed, path)`` runs the rounds of one
    store.

    ``rounds``: the default; ``rounds_of_a_store``: the maximum before a new store is created.
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
    """Check for damage, except in files that can be rebuilt or were left by a kill."""
    findings = [it for report in store.verify() for it in report.findings]
    damaged = [it for it in findings if not (it.derived or it.left)]
    assert not damaged, damaged
