"""A client's end of a session that has no socket: it is given bytes, and what it sends is taken."""


class FedPeer:
    """``door`` has the time; ``hear`` is a subclass's: what to do with what was sent."""

    def __init__(self, door, link, tls):
        self.door = door
        self.link = link
        link.__dict__ |= tls
        link.look = self.look
        self.session = None  # made by a subclass, of door and link
        self.left = b""
        self.over = False

    def look(self):
        if not self.over:
            self.session.wake(self.door.now)
            self.flush()

    def flush(self):
        """Send and process remaining input, as the server does."""
        for _ in range(100):
            if self.link.unsent:
                return
            out = self.session.outgoing(1 << 20)
            if out:
                self.hear(b"".join(out))
            elif not self.left or self.session.closed is not None or not self._feed():
                return

    def _feed(self):
        taken = self.session.receive(memoryview(bytearray(self.left)), self.door.now)
        assert 0 <= taken <= len(self.left)
        self.left = self.left[taken:]
        return taken

    def give(self, data):
        """Give bytes as one read."""
        self.left += data
        if self.session.closed is None:
            self._feed()
        self.flush()

    def end(self):
        if not self.over:
            self.over = True
            self.session.close()
