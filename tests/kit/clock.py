"""A clock that stands still until a test moves it."""

NOW_MS = 1_700_000_000_000


class Clock:
    """Milliseconds since 1970; ``ms`` may be set."""

    def __init__(self, ms=NOW_MS):
        self.ms = ms

    def __call__(self):
        return self.ms
