"""Turns of the sessions' thread that a test ends itself."""


class Turns:
    """What is left for the end of each turn, once for equal calls; ``over`` ends one."""

    def __init__(self):
        self.left = {}

    def soon(self, call):
        self.left[call] = None

    def over(self):
        calls, self.left = self.left, {}
        for call in calls:
            call()
