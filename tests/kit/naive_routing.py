"""Exchanges and bindings as plainly as can be: lists, regular expressions, recursion."""

import re

from logstore.broker.routing.tracing import trace


def topic_matches(pattern, key):
    """Match word by word, trying every possibility."""
    return _words_match(_words(pattern), _words(key))


def _words(text):
    return text.split(b".") if text else []


def _words_match(pattern, words):
    if not pattern:
        return not words
    if pattern[0] == b"#":
        return any(_words_match(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in (b"*", words[0]) and _words_match(pattern[1:], words[1:])


def topic_regex(pattern):
    """The pattern as a regular expression over a key whose words each end with a dot."""
    parts = {b"*": rb"[^.]*\.", b"#": rb"(?:[^.]*\.)*"}
    words = [parts.get(word, re.escape(word) + rb"\.") for word in _words(pattern)]
    return re.compile(b"".join(words), re.DOTALL)


def dotted(key):
    return b"".join(word + b"." for word in _words(key))


def traced(topology, *given, **more):
    """The trace of a message, computed at once."""
    steps = trace(topology, *given, **more)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class NaiveTopology:
    """Names only: a queue is its name. Exchanges are (type, auto_delete, alternate)."""

    def __init__(self):
        self.exchanges = {}
        self.queues = []
        self.bindings = []  # as logstore's Binding

    def delete(self, name):
        if name in self.exchanges:
            del self.exchanges[name]
            self._remove(lambda it: it.source == name, cascade=False)
            self._remove(lambda it: it.kind == "exchange" and it.destination == name)

    def remove_queue(self, name):
        self.queues.remove(name)
        self._remove(lambda it: it.kind == "queue" and it.destination == name)

    def unbind(self, binding):
        self._remove(lambda it: it == binding)

    def _remove(self, which, cascade=True):
        lost = [it for it in self.bindings if which(it)]
        self.bindings = [it for it in self.bindings if not which(it)]
        for source in {it.source for it in lost} if cascade else ():
            if (
                source in self.exchanges
                and self.exchanges[source][1]
                and not any(it.source == source for it in self.bindings)
            ):
                self.delete(source)

    def route(self, exchange, keys):
        return self._reached(exchange, keys, set())

    def _reached(self, exchange, keys, seen):
        """The names of the reached queues."""
        if exchange in seen:
            return set()
        seen.add(exchange)
        if exchange == b"":
            return {key for key in keys if key in self.queues}
        type_name, _, alternate = self.exchanges[exchange]
        found = [
            it
            for it in self.bindings
            if it.source == exchange and any(self._matches(type_name, it.key, key) for key in keys)
        ]
        queues = set()
        for binding in found:
            if binding.kind == "queue":
                queues.add(binding.destination)
            else:
                queues |= self._reached(binding.destination, keys, seen)
        if not found and (alternate == b"" or alternate in self.exchanges):
            queues |= self._reached(alternate, keys, seen)
        return queues

    def matching(self, hop, keys):
        """The bindings of a hop that let the message pass."""
        type_name, _, _ = self.exchanges[hop.source]
        ends = (hop.source, hop.kind, hop.destination)
        return {
            it
            for it in self.bindings
            if (it.source, it.kind, it.destination) == ends
            and any(self._matches(type_name, it.key, key) for key in keys)
        }

    @staticmethod
    def _matches(type_name, pattern, key):
        if type_name == "fanout":
            return True
        return pattern == key if type_name == "direct" else topic_matches(pattern, key)
