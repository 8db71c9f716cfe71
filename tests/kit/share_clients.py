"""What members of share groups ask a coordinator, and how a group stands then."""

from logstore.broker.coordinator.calls import Beat, Identity


def beat(bench, member, epoch=0, topics=("t",), group="g", rack=None, reply=None, sight=None):
    """The answer to a heartbeat; [] if there is none yet."""
    answers = []
    call = Beat(
        group, member, epoch, Identity("c", "/h", None, rack),
        topics=None if topics is None else frozenset(topics), sight=sight,
    )  # fmt: skip
    bench.coordinator.share_heartbeat(call, bench.now, reply or answers.append)
    return answers[0] if answers else answers


def share_state(bench, group="g"):
    """State, epoch, the assignment's epoch, and each member's assignment."""
    found = bench.coordinator.describe(group)
    assert (found.kind, found.protocol_type, found.protocol) == ("share", "share", "simple")
    members = {it.id: it.assigned for it in found.members}
    return found.state, found.epoch, found.target_epoch, members
