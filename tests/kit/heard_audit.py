"""An ``Audit`` that a test reads."""

from logstore.access.audit import DONE


class Heard(list):
    """What it was told: event, who, what, outcome."""

    def tell(self, event, who, what="", outcome=DONE):
        self.append((event, who, what, outcome))

    def __bool__(self):
        return True  # it is one, also while it has heard nothing
