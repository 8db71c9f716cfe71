"""The rules of a share group, and where it begins in a partition."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from logstore.broker.committed import isolated
from logstore.broker.shares.partition import Limits
from logstore.errors import InvalidSetting
from logstore.log import Log
from logstore.settings import GroupSettings

LATEST: Final = "latest"
EARLIEST: Final = "earliest"
BY_DURATION: Final = "by_duration:"

_DURATION: Final = re.compile(
    r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,9}))?S)?)?"
)


class Rules(NamedTuple):
    """The settings of a group that apply to the delivery of records."""

    limits: Limits = Limits()
    committed: bool = False  # share.isolation.level
    begins: str = LATEST  # share.auto.offset.reset
    dead_letters: str = ""  # errors.deadletterqueue.topic.name
    copies: bool = False  # errors.deadletterqueue.copy.record.enable

    def seen(self, log: Log) -> Log:
        """Return the log as the group reads it."""
        return isolated(log, "committed" if self.committed else "uncommitted")


@lru_cache(1000)
def rules_of(settings: GroupSettings) -> Rules:
    """Return the rules from the settings of a group."""
    limits = Limits(
        settings.share_delivery_count_limit,
        settings.share_partition_max_record_locks,
        settings.share_record_lock_duration_ms,
        settings.share_renew_acknowledge_enable,
        bool(settings.errors_deadletterqueue_topic_name),
    )
    return Rules(
        limits,
        settings.share_isolation_level == "read_committed",
        settings.share_auto_offset_reset,
        settings.errors_deadletterqueue_topic_name,
        settings.errors_deadletterqueue_copy_record_enable,
    )


def duration_ms(text: str) -> int:
    """Parse a duration ``PnDTnHnMn.nS``, as in ISO 8601, to ms. Raises InvalidSetting."""
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        raise InvalidSetting(f"{text!r} is not a duration: use PnDTnHnMn.nS, such as PT1H30M")
    days, hours, minutes, seconds = (int(it or 0) for it in found.groups()[:4])
    fraction = int((found[5] or "0").ljust(9, "0")[:3])
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + fraction


def beginning(log: Log, rules: Rules, now_ms: int) -> int:
    """Return the group's first offset; may take long. Raises CorruptBatch, Refused."""
    seen = rules.seen(log)
    if rules.begins == EARLIEST:
        return seen.start
    if rules.begins == LATEST:
        return seen.safe
    if not rules.begins.startswith(BY_DURATION):
        raise InvalidSetting(
            f"a share group begins at {rules.begins!r}: must be earliest, latest or"
            f" {BY_DURATION}DURATION"
        )
    since_ms = now_ms - duration_ms(rules.begins.removeprefix(BY_DURATION))
    return seen.find(max(since_ms, 0), damaged=True)
