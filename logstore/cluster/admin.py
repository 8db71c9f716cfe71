"""Creates, grows, alters, deletes and describes topics: each request once, its reply as a fact.

Requests that change something go to the controller, over a connection of their own. A node that is
not the controller refuses and changes nothing; then the controller is looked up again. If no reply
comes, it is unknown whether the change was made; the caller is told so, and the request is not
repeated here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple

from logstore.cluster import kinds
from logstore.cluster.backoff import Backoff
from logstore.cluster.brokers import Brokers, Use
from logstore.cluster.kinds import Kind
from logstore.cluster.topic_settings import Told
from logstore.errors import (
    ClusterUnreachable,
    Failed,
    Forbidden,
    InvalidName,
    InvalidSetting,
    LogstoreError,
    Refused,
    TopicExists,
    UnknownTopic,
)

TIMEOUT_MS: Final = 20_000  # of the controller, for it to be done
ANSWER_S: Final = 30.0
WITHIN_S: Final = 30.0  # it is asked again, where nothing was done
AS_BROKERS_SAY: Final = -1  # partitions, replicas (KIP-464)
TOPIC: Final = 2  # a kind of resources that have settings
SET, DELETE = 0, 1  # KIP-339

NOT_DONE: Final = frozenset({14, 15, 41, 89})  # no controller, or another one; not so often
NOT_ENDED: Final = 7
ERRORS: Final[Mapping[int, tuple[type[LogstoreError], str]]] = {
    3: (UnknownTopic, "there is no such topic"),
    17: (InvalidName, "the cluster takes no topic of this name"),
    29: (Forbidden, "the cluster does not allow it to this user"),
    31: (Forbidden, "the cluster does not allow it to this user"),
    36: (TopicExists, "it already exists"),
    37: (Refused, "a topic can't have so many partitions"),
    38: (Refused, "the cluster has too few brokers for so many replicas"),
    39: (Refused, "the cluster can't place its replicas"),
    40: (InvalidSetting, "the cluster does not take these settings"),
    42: (Refused, "the cluster does not take the request"),
    44: (Refused, "a policy of the cluster forbids it"),
    60: (Refused, "its replicas are being moved: try again when that is over"),
    73: (Refused, "the cluster lets nobody delete topics (delete.topic.enable)"),
    NOT_ENDED: (Failed, "it has not ended in time, and may still be done: look at it later"),
}

Then = Callable[[Any], None]  # gets what was asked for, or a LogstoreError


class Made(NamedTuple):
    """A topic that was created, with the facts that the cluster gives."""

    id: bytes
    partitions: int  # -1: it does not say


def error_of(code: int, message: str | None, doing: str) -> LogstoreError:
    """The error of a request; ``doing``: ``topic 'x' can't be created``."""
    kind, words = ERRORS.get(code, (Failed, f"error {code}"))
    return kind(f"{doing}: {message or words}")


class Admin:
    """Requests about the topics of one cluster. Used in one thread."""

    def __init__(
        self,
        brokers: Brokers,
        now: Callable[[], float],
        call_at: Callable[[float, Callable[[], object]], object],
        random: Random,
    ) -> None:
        self._brokers = brokers
        self._now = now
        self._call_at = call_at
        self._random = random

    # Changed

    def create(
        self,
        name: str,
        partitions: int | None,
        settings: Mapping[str, str],
        then: Then,
        replicas: int = AS_BROKERS_SAY,
        *,
        only_check: bool = False,
    ) -> None:
        """``then`` gets a Made. Without a number of partitions, the brokers' default applies."""
        m = kinds.CREATE_TOPICS.messages()
        configs = [m.CreatableTopicConfig(key, text) for key, text in settings.items()]
        count = AS_BROKERS_SAY if partitions is None else partitions
        request = m.Request(
            [m.CreatableTopic(name, count, replicas, [], configs)], TIMEOUT_MS, only_check
        )

        def made(it: Any) -> Made:  # noqa: ANN401  a message
            return Made(it.topic_id, it.num_partitions)

        doing = f"topic {name!r} can't be created"
        self._change(kinds.CREATE_TOPICS, request, lambda it: it.topics, made, doing, then)

    def delete(self, name: str, then: Then) -> None:
        """``then`` gets None."""
        request = kinds.DELETE_TOPICS.messages().Request(topic_names=[name], timeout_ms=TIMEOUT_MS)
        doing = f"topic {name!r} can't be deleted"
        self._change(kinds.DELETE_TOPICS, request, lambda it: it.responses, _nothing, doing, then)

    def grow(self, name: str, partitions: int, then: Then, *, only_check: bool = False) -> None:
        """``then`` gets None."""
        m = kinds.CREATE_PARTITIONS.messages()
        request = m.Request([m.Topic(name, partitions, None)], TIMEOUT_MS, only_check)
        doing = f"topic {name!r} can't have {partitions} partitions"
        self._change(kinds.CREATE_PARTITIONS, request, lambda it: it.results, _nothing, doing, then)

    def alter(
        self, name: str, settings: Mapping[str, str], reset: Iterable[str], then: Then
    ) -> None:
        """Change all of these settings or none; ``then`` gets None."""
        m = kinds.ALTER_CONFIGS.messages()
        changes = [m.AlterableConfig(key, SET, text) for key, text in settings.items()]
        changes += [m.AlterableConfig(key, DELETE, None) for key in reset]
        request = m.Request([m.AlterConfigsResource(TOPIC, name, changes)])
        doing = f"topic {name!r} can't be altered"
        self._change(kinds.ALTER_CONFIGS, request, lambda it: it.responses, _nothing, doing, then)

    def _change(
        self,
        kind: Kind,
        request: Any,  # noqa: ANN401  a message
        parts: Callable[[Any], Sequence[Any]],
        fact: Callable[[Any], Any],
        doing: str,
        then: Then,
    ) -> None:
        until, backoff = self._now() + WITHIN_S, Backoff(self._random)

        def attempt() -> None:
            self._brokers.ask_controller(kind, request, answered, ANSWER_S)

        def answered(answer: Any) -> None:  # noqa: ANN401
            if isinstance(answer, LogstoreError):
                then(ClusterUnreachable(f"{doing}: {answer}; it may have been done all the same"))
                return
            found = parts(answer)
            if not found:
                then(ClusterUnreachable(f"{doing}: a broker answers nothing"))
                return
            it = found[0]
            at = self._now() + backoff.failed()
            if it.error_code == 0:
                then(fact(it))
            elif it.error_code in NOT_DONE and at < until:
                self._brokers.refresh()
                self._call_at(at, attempt)
            else:
                then(error_of(it.error_code, it.error_message, doing))

        attempt()

    # Told

    def settings(self, names: Sequence[str], keys: Sequence[str] | None, then: Then) -> None:
        """The settings of these topics, or of all; ``then`` gets those of each, or the error."""
        m = kinds.DESCRIBE_CONFIGS.messages()
        request = m.Request([m.Resource(TOPIC, it, keys) for it in names])

        def answered(answer: Any) -> None:  # noqa: ANN401
            if isinstance(answer, LogstoreError):
                then(answer)
                return
            found: dict[str, Sequence[Told] | LogstoreError] = {
                name: ClusterUnreachable(f"topic {name!r}: a broker does not return its settings")
                for name in names
            }
            for it in answer.results:
                doing = f"settings of topic {it.resource_name!r} can't be read"
                found[it.resource_name] = (
                    error_of(it.error_code, it.error_message, doing)
                    if it.error_code
                    else [Told(one.name, one.value or "", one.config_source) for one in it.configs]
                )
            then(found)

        self._brokers.ask_any(kinds.DESCRIBE_CONFIGS, request, answered, Use.SLOW)

    def partitions(self, name: str, then: Then) -> None:
        """``then`` gets the topic's number of partitions, as some broker knows it; 0: no such
        topic.
        """
        m = kinds.METADATA.messages()
        request = m.Request([m.Topic(name=name)], allow_auto_topic_creation=False)

        def answered(answer: Any) -> None:  # noqa: ANN401
            if isinstance(answer, LogstoreError):
                then(answer)
            else:
                then(sum(len(it.partitions) for it in answer.topics if it.error_code == 0))

        self._brokers.ask_any(kinds.METADATA, request, answered, Use.SLOW)

    def replicas(self, names: Sequence[str], then: Then) -> None:
        """``then`` gets, for each existing topic, the fewest replicas of a partition."""
        m = kinds.METADATA.messages()
        request = m.Request([m.Topic(name=it) for it in names], allow_auto_topic_creation=False)
        self._brokers.ask_any(kinds.METADATA, request, partial(_replicas, then), Use.SLOW)


def _replicas(then: Then, answer: Any) -> None:  # noqa: ANN401
    if isinstance(answer, LogstoreError):
        then(answer)
        return
    then(
        {
            it.name: min(len(one.replica_nodes) for one in it.partitions)
            for it in answer.topics
            if it.error_code == 0 and it.partitions
        }
    )


def _nothing(_: object) -> None:
    """The result of a request without one."""
