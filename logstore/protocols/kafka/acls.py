"""Rules in Kafka's form: DescribeAcls, CreateAcls, DeleteAcls (KIP-11, KIP-290).

Some rules cannot be expressed in Kafka's form: those about channels, exchanges, queues and keys,
and those with a pattern for names. They apply at this door, too, but are neither shown nor removed
here.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from logstore.access.administration import check_host, check_rule
from logstore.access.filters import ANY as ANY_PATTERN
from logstore.access.filters import MATCH, RuleFilter, picked
from logstore.access.resources import CLUSTER, GROUP, TOKEN, TOPIC, TRANSACTIONAL_ID, USER
from logstore.errors import LogstoreError, Refused
from logstore.kafka.messages import (
    create_acls as create_messages,
)
from logstore.kafka.messages import (
    delete_acls as delete_messages,
)
from logstore.kafka.messages import (
    describe_acls as describe_messages,
)
from logstore.kept.users import ANYONE, LITERAL, PREFIX, KeptRule
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, Later, given, made_elsewhere
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.protocols.kafka.operations import NUMBERS as OPERATIONS
from logstore.slices import Steps, parts

NO_RULES: Final = "there are no users here, so everyone may do everything: add a user first"
FEW: Final = 500  # rules that are looked at while others wait
# Rules in one change: the audit log and others are told of it while clients wait.
CHANGED_AT_ONCE: Final = 100
CHANGE_UNITS: Final = 5
PRINCIPAL: Final = "User:"  # the one type that there is
ANY: Final = 1  # in a filter
RESOURCES: Final = {
    TOPIC: 2, GROUP: 3, CLUSTER: 4, TRANSACTIONAL_ID: 5, TOKEN: 6, USER: 7,
}  # fmt: skip
PATTERNS: Final = {LITERAL: 3, PREFIX: 4}
PERMISSIONS: Final = {False: 2, True: 3}

_RESOURCE_OF: Final = {number: it for it, number in RESOURCES.items()}
_PATTERN_OF: Final = {number: it for it, number in PATTERNS.items()}
_PERMISSION_OF: Final = {number: it for it, number in PERMISSIONS.items()}
_OPERATION_OF: Final = {number: it for it, number in OPERATIONS.items()}
_PATTERNS_ASKED: Final = {1: ANY_PATTERN, 2: MATCH, **_PATTERN_OF}

_T = TypeVar("_T")

Filter = describe_messages.Request | delete_messages.Filter


def describe(
    client: KafkaClient, version: int, request: describe_messages.Request
) -> describe_messages.Response | InWorker:
    """Key 29."""
    if not client.door.access.required:
        return describe_messages.Response(
            error_code=errors.SECURITY_DISABLED, error_message=NO_RULES
        )
    rules = client.door.access.rules
    told = partial(_described, rules, request)
    return InWorker(told) if len(rules) > FEW else told()


def _described(
    rules: Sequence[KeptRule], request: describe_messages.Request
) -> describe_messages.Response:
    try:
        wanted = _picked(rules, request)
    except Refused as error:
        return describe_messages.Response(error_code=code_of(error), error_message=str(error))
    resources: dict[tuple[str, str, str], list[describe_messages.AclDescription]] = {}
    for it in wanted:
        resources.setdefault((it.kind, it.name, it.pattern), []).append(
            describe_messages.AclDescription(
                PRINCIPAL + it.user, it.host, OPERATIONS[it.operation], PERMISSIONS[it.allow]
            )
        )
    return describe_messages.Response(
        resources=[
            describe_messages.Resource(RESOURCES[kind], name, PATTERNS[pattern], told)
            for (kind, name, pattern), told in resources.items()
        ]
    )


def create(
    client: KafkaClient, version: int, request: create_messages.Request
) -> create_messages.Response | Steps:
    """Key 30. Rules are durable when answered, in parts if there are many; an existing rule is no
    error.
    """
    if not client.door.access.required:
        refused = create_messages.AclCreationResult(errors.SECURITY_DISABLED, NO_RULES)
        return create_messages.Response(results=[refused] * len(request.creations))
    return _created(client, request)


def _created(client: KafkaClient, request: create_messages.Request) -> Steps:
    results: list[create_messages.AclCreationResult] = []
    made: list[tuple[KeptRule, create_messages.AclCreationResult]] = []
    for it in request.creations:
        result = create_messages.AclCreationResult()
        try:
            made.append((_rule(it), result))
        except LogstoreError as error:
            result.error_code, result.error_message = errors.INVALID_REQUEST, str(error)
        results.append(result)
        yield 1
    for some in parts(made, CHANGED_AT_ONCE):
        kept = yield given(_changed(client, keep=[rule for rule, _ in some]))
        if kept.error is not None:
            for _, result in some:
                result.error_code, result.error_message = code_of(kept.error), str(kept.error)
        yield CHANGE_UNITS * len(some)
    return create_messages.Response(results=results)


def delete(
    client: KafkaClient, version: int, request: delete_messages.Request
) -> delete_messages.Response | Steps:
    """Key 31. Deletions are durable when answered, in parts if there are many."""
    if not client.door.access.required:
        refused = delete_messages.FilterResult(errors.SECURITY_DISABLED, NO_RULES)
        return delete_messages.Response(filter_results=[refused] * len(request.filters))
    return _deleted(client, request)


def _deleted(client: KafkaClient, request: delete_messages.Request) -> Steps:
    results: list[delete_messages.FilterResult] = []
    gone: dict[KeptRule, list[delete_messages.MatchingAcl]] = {}  # and what is told of each
    for wanted in request.filters:
        try:
            rules = yield from _looked_up(client, wanted)
        except Refused as error:
            results.append(delete_messages.FilterResult(code_of(error), str(error)))
            continue
        told: list[delete_messages.MatchingAcl] = []
        results.append(delete_messages.FilterResult(matching_acls=told))
        for some in parts(rules, CHANGED_AT_ONCE):
            for rule in some:
                told.append(_gone(rule))
                gone.setdefault(rule, []).append(told[-1])
            yield len(some)
        yield 1
    for some in parts(list(gone), CHANGED_AT_ONCE):
        kept = yield given(_changed(client, forget=some))
        if kept.error is not None:
            for it in (one for rule in some for one in gone[rule]):
                it.error_code, it.error_message = code_of(kept.error), str(kept.error)
        yield CHANGE_UNITS * len(some)
    return delete_messages.Response(filter_results=results)


def _looked_up(client: KafkaClient, wanted: delete_messages.Filter) -> Steps:
    """As ``_picked``."""
    rules = client.door.access.rules
    if len(rules) <= FEW:
        return _picked(rules, wanted)
    found = yield made_elsewhere(client.door, partial(_picked_or_not, rules, wanted))
    if isinstance(found, str):
        raise Refused(found)
    return found


def _picked_or_not(
    rules: Sequence[KeptRule], wanted: delete_messages.Filter
) -> list[KeptRule] | str:
    """Return the picked rules, or the error text; called in a worker, where an error ends the
    connection.
    """
    try:
        return _picked(rules, wanted)
    except Refused as error:
        return str(error)


def _gone(rule: KeptRule) -> delete_messages.MatchingAcl:
    return delete_messages.MatchingAcl(
        errors.NONE,
        None,
        RESOURCES[rule.kind],
        rule.name,
        PATTERNS[rule.pattern],
        PRINCIPAL + rule.user,
        rule.host,
        OPERATIONS[rule.operation],
        PERMISSIONS[rule.allow],
    )


def _changed(
    client: KafkaClient, keep: Sequence[KeptRule] = (), forget: Sequence[KeptRule] = ()
) -> Later:
    """Store and delete rules; the answer is the ``Keeping``, which holds the error."""
    later = Later()
    client.door.access.change(keep, forget, by=client.rights.who).then(later.give)
    return later


# From Kafka's words


def _rule(asked: create_messages.AclCreation) -> KeptRule:
    """The rule that a creation describes. Raises Refused, InvalidName."""
    return check_rule(
        KeptRule(
            _user(asked.principal),
            _word(_OPERATION_OF, asked.operation, "operation"),
            _word(_RESOURCE_OF, asked.resource_type, "resource type"),
            asked.resource_name,
            _word(_PATTERN_OF, asked.resource_pattern_type, "pattern type"),
            _word(_PERMISSION_OF, asked.permission_type, "permission type"),
            asked.host,
        )
    )


def _user(principal: str) -> str:
    if not principal.startswith(PRINCIPAL):
        raise Refused(f"principal {principal!r}: must begin with {PRINCIPAL!r}, or be empty")
    return principal.removeprefix(PRINCIPAL)


def _word(words: Mapping[int, _T], number: int, what: str) -> _T:
    found = words.get(number)
    if found is None:
        raise Refused(f"{what} {number} can't be used here")
    return found


def _picked(rules: Sequence[KeptRule], asked: Filter) -> list[KeptRule]:
    """The rules that match the filter and that Kafka can express. Raises Refused."""
    principal = asked.principal_filter
    if principal is not None and not principal.startswith(PRINCIPAL):
        return []
    host = asked.host_filter
    with suppress(Refused):  # no address: there is no rule with such a one
        host = host if host in (None, ANYONE) else check_host(host)
    wanted = RuleFilter(
        _any_or(_RESOURCE_OF, asked.resource_type_filter, "resource type"),
        asked.resource_name_filter,
        _word(_PATTERNS_ASKED, asked.pattern_type_filter, "pattern type"),
        None if principal is None else principal.removeprefix(PRINCIPAL),
        host,
        _any_or(_OPERATION_OF, asked.operation, "operation"),
        _any_or(_PERMISSION_OF, asked.permission_type, "permission type"),
    )
    return [it for it in picked(rules, wanted) if it.kind in RESOURCES and it.pattern in PATTERNS]


def _any_or(words: Mapping[int, _T], number: int, what: str) -> _T | None:
    return None if number == ANY else _word(words, number, what)


HANDLERS: Final = {
    29: handler(describe_messages.Request, describe_messages.Response, describe),
    30: handler(create_messages.Request, create_messages.Response, create),
    31: handler(delete_messages.Request, delete_messages.Response, delete),
}
