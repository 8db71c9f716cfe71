"""What is published through a server, where the server answers what nobody asked."""

import pytest
from logstore_cli.served.messages import ServedSink
from logstore_cli.served.reader import Arrived

from logstore.amqp import methods
from logstore.amqp.replies import UNEXPECTED_FRAME, Refusal


class Line:
    """Of a server that says what a test has it say."""

    def __init__(self):
        self.to = {}

    def ask(self, *_):
        pass

    def listen(self, *kinds, to):
        self.to |= dict.fromkeys(kinds, to)

    def says(self, method):
        self.to[type(method)](Arrived(1, method))


@pytest.mark.parametrize("under_way", [[], [(1, 10), (3, 10)]])
@pytest.mark.parametrize("kind", [methods.BasicAck, methods.BasicNack])
def test_a_confirm_of_what_is_not_under_way_is_refused(under_way, kind):
    line = Line()
    sink = ServedSink(line, "events", encoder=None)
    sink._under_way.extend(under_way)
    method = kind(2, False) if kind is methods.BasicAck else kind(2, False, False)
    with pytest.raises(Refusal) as refused:
        line.says(method)
    assert refused.value.code == UNEXPECTED_FRAME
    assert list(sink._under_way) == under_way
