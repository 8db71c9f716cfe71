"""Ten thousand queues that are declared and empty: what each of them is allowed to cost."""

import os
import tracemalloc

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.queues import Queues
from logstore.broker.routing.arguments import Arguments

MANY = 150
BYTES_EACH = 4000  # so that 10,000 of them take less than 60 MB, with what is around them


def declare(node):
    for n in range(MANY):
        node.vhost.declare_queue(QueueFacts(b"queue-%d" % n, True, False, False, Arguments()))
    node.run()


def open_files():
    return len(os.listdir("/proc/self/fd"))


def everything(path):
    return sorted(str(it) for it in path.rglob("*"))


def test_declared_queues_cost_neither_files_nor_open_ones(lives, tmp_path):
    lives.node.declare(b"first")
    lives.node.run()
    files, opened = everything(tmp_path), open_files()
    declare(lives.node)
    assert (everything(tmp_path), open_files()) == (files, opened)
    lives.again()
    assert len(list(lives.node.vhost.queues())) == MANY + 1
    assert everything(tmp_path) == files
    assert open_files() <= opened


def test_a_declared_queue_takes_little_memory_when_declared_and_when_opened_again(lives):
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        declare(lives.node)
        declared, _ = tracemalloc.get_traced_memory()
        assert declared - before < MANY * BYTES_EACH
    finally:
        tracemalloc.stop()
    lives.kill()
    tracemalloc.start()
    try:
        again = Queues(lives.node.logs, lives.node.clock, lives.node.soon, lives.node.work)
        opened, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(list(again.vhosts[b"/"].queues())) == MANY
    assert opened < MANY * BYTES_EACH
