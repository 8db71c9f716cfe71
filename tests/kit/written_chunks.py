"""Subscribers of channels that write down what they get."""


class Written:
    """A form whose chunks are lists of (kind, pattern, channel, payload)."""

    def opening(self, source):
        return source

    def chunk(self, openings, payloads):
        return [(self, source, payload) for payload in payloads for source in openings]

    def join(self, chunks):
        return [message for chunk in chunks for message in chunk]


FORMS = [Written(), Written()]


class Listener:
    def __init__(self, form=FORMS[0]):
        self.form, self.got, self.chunks = form, [], []

    def deliver(self, chunk):
        self.chunks.append(chunk)
        self.got += [(source.channel, source.pattern, payload) for _, source, payload in chunk]
