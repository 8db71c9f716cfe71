"""Whether the process is alive and can acknowledge records, for supervisors and load balancers.

Anyone may ask. Strangers get one word for each problem.
"""

from collections.abc import Mapping

from logstore.http.faults import UNAVAILABLE
from logstore.protocols.http.call import Call
from logstore.protocols.http.common.health import ANSWER_S, SILENT
from logstore.protocols.http.door import HttpDoor


def alive(door: HttpDoor, call: Call) -> None:
    """Reply that the process is alive."""
    call.answer({"status": "ok"})


def ready(door: HttpDoor, call: Call) -> None:
    """Reply once a worker has checked, or has used up its time."""

    def found(wrong: Mapping[str, str]) -> None:
        if not wrong:
            call.answer({"status": "ok", "failed": []})
            return
        words = ", ".join(wrong)
        sentence = "; ".join(wrong.values()) if call.who.owner else f"wrong: {words}; see the log"
        value = {"status": "error", "failed": list(wrong), "error": f"not ready: {sentence}"}
        call.answer(value, UNAVAILABLE)

    call.later(ANSWER_S, lambda: found(SILENT))
    door.health.ask(found)
