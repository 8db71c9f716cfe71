"""SCRAM credentials of users for Kafka's tools (KIP-554): set, never shown with salt or key."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from logstore.access.access import ADMINISTRATOR, Access, steers
from logstore.access.scram_keys import ITERATIONS_MAX, ITERATIONS_MIN, key_of
from logstore.errors import LogstoreError, Refused
from logstore.kafka.messages import (
    alter_user_scram_credentials as alter_messages,
)
from logstore.kafka.messages import (
    describe_user_scram_credentials as describe_messages,
)
from logstore.kept.keeping import Keeping
from logstore.kept.users import SHA_256, SHA_512, KeptUser
from logstore.names import check_user
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, Later, given, made_elsewhere
from logstore.protocols.kafka.handler import handler
from logstore.slices import Steps, parts

MECHANISMS: Final = {1: SHA_256, 2: SHA_512}  # by Kafka's numbers of them
NUMBERS: Final = {name: number for number, name in MECHANISMS.items()}
FEW: Final = 100  # users that are looked at while others wait
ALTERED_AT_ONCE: Final = 50  # of one change
ALTER_UNITS: Final = 10
SALT_BYTES_MAX: Final = 1024  # Kafka's tools make 26; it is kept, and sent at each login

DESCRIBED_TWICE: Final = (
    "Cannot describe SCRAM credentials for the same user twice in a single request: "
)
NOT_THERE: Final = "Attempt to describe a user credential that does not exist: "
ALTERED_TWICE: Final = "A user credential cannot be altered twice in the same request"
LAST_TO_LEAD: Final = (
    f"the last user with the tag {ADMINISTRATOR} must have a password: set another one, or "
    f"add another such user first"
)
NOTHING_TO_DELETE: Final = "Attempt to delete a user credential that does not exist"

Fault = tuple[int, str]  # code and text
Deletion = alter_messages.ScramCredentialDeletion
Upsertion = alter_messages.ScramCredentialUpsertion


def describe(
    client: KafkaClient, version: int, request: describe_messages.Request
) -> describe_messages.Response | InWorker:
    """Key 50."""
    users = client.door.access.users  # as they are now: another one comes in its place
    told = partial(_all_described, users, request)
    return InWorker(told) if len(request.users or users) > FEW else told()


def _all_described(
    users: Mapping[str, KeptUser], request: describe_messages.Request
) -> describe_messages.Response:
    if request.users:
        asked = Counter(it.name for it in request.users)
    else:
        asked = Counter(name for name, user in sorted(users.items()) if user.scram)
    return describe_messages.Response(
        results=[_described(users.get(name), name, times) for name, times in asked.items()]
    )


def _described(
    user: KeptUser | None, name: str, times: int
) -> describe_messages.DescribeUserScramCredentialsResult:
    result = describe_messages.DescribeUserScramCredentialsResult
    if times > 1:
        return result(name, errors.DUPLICATE_RESOURCE, DESCRIBED_TWICE + name)
    if user is None or not user.scram:
        return result(name, errors.RESOURCE_NOT_FOUND, NOT_THERE + name)
    infos = [
        describe_messages.CredentialInfo(NUMBERS[mechanism], key.iterations)
        for mechanism, key in sorted(user.scram.items())
    ]
    return result(name, errors.NONE, None, infos)


def alter(client: KafkaClient, version: int, request: alter_messages.Request) -> Steps:
    """Key 51: changes all or nothing of each user; some tens of users are one change."""
    deletions, upsertions = yield made_elsewhere(client.door, partial(_by_user, request))
    results: list[alter_messages.AlterUserScramCredentialsResult] = []
    for names in parts(list(deletions | upsertions), ALTERED_AT_ONCE):
        results += yield given(_altered(client, names, deletions, upsertions))
        yield ALTER_UNITS * len(names)
    return alter_messages.Response(results=results)


def _altered(
    client: KafkaClient,
    names: Sequence[str],
    deletions: Mapping[str, Sequence[Deletion]],
    upsertions: Mapping[str, Sequence[Upsertion]],
) -> Later:
    """The results for these users, with the valid changes applied."""
    access = client.door.access
    faults: dict[str, Fault] = {}
    changed: dict[str, KeptUser] = {}
    for name in names:
        mine = deletions.get(name, []), upsertions.get(name, [])
        fault = _fault(access, name, *mine)
        if fault is None:
            now = access.to_be(name) or KeptUser(name)
            changed[name] = _changed(now, *mine)
            if _leads(now) and not _leads(changed[name]) and not _others_lead(access, changed):
                del changed[name]
                fault = errors.POLICY_VIOLATION, LAST_TO_LEAD
        if fault is not None:
            faults[name] = fault
    return _kept(client, list(changed.values()), faults)


def _by_user(
    request: alter_messages.Request,
) -> tuple[dict[str, list[Deletion]], dict[str, list[Upsertion]]]:
    deletions: dict[str, list[Deletion]] = {}
    upsertions: dict[str, list[Upsertion]] = {}
    for deletion in request.deletions:
        deletions.setdefault(deletion.name, []).append(deletion)
    for upsertion in request.upsertions:
        upsertions.setdefault(upsertion.name, []).append(upsertion)
    return deletions, upsertions


def _fault(
    access: Access, name: str, deletions: Sequence[Deletion], upsertions: Sequence[Upsertion]
) -> Fault | None:
    """The reason why this user cannot be changed so; None if the change is valid."""
    if not name:
        return errors.UNACCEPTABLE_CREDENTIAL, "Username must not be empty"
    mechanisms = [it.mechanism for it in deletions] + [it.mechanism for it in upsertions]
    if not MECHANISMS.keys() >= set(mechanisms):
        return errors.UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism"
    if len(set(mechanisms)) < len(mechanisms):
        return errors.DUPLICATE_RESOURCE, ALTERED_TWICE
    for it in upsertions:
        if it.iterations < ITERATIONS_MIN:
            return errors.UNACCEPTABLE_CREDENTIAL, "Too few iterations"
        if it.iterations > ITERATIONS_MAX:
            return errors.UNACCEPTABLE_CREDENTIAL, "Too many iterations"
        if not 0 < len(it.salt) <= SALT_BYTES_MAX:
            return (
                errors.UNACCEPTABLE_CREDENTIAL,
                f"a salt of {len(it.salt)} bytes: 1 to {SALT_BYTES_MAX} are allowed",
            )
    if upsertions:
        return _unwanted(access, name)
    user = access.to_be(name)
    if user is None or any(MECHANISMS[it.mechanism] not in user.scram for it in deletions):
        return errors.RESOURCE_NOT_FOUND, NOTHING_TO_DELETE
    return None


def _unwanted(access: Access, name: str) -> Fault | None:
    """The reason why a user of this name cannot be created."""
    if not access.required:  # and then no administrator could log in
        text = "there are no users: add the first one with `logstore user add`"
        return errors.POLICY_VIOLATION, text
    try:
        check_user(name)
    except Refused as error:
        return errors.UNACCEPTABLE_CREDENTIAL, str(error)
    return None


def _leads(user: KeptUser) -> bool:
    """Whether the user may do everything and can log in with a password."""
    return bool(user.scram or user.rabbit) and steers(user)


def _others_lead(access: Access, changed: Mapping[str, KeptUser]) -> bool:
    """Whether an administrator remains: an unchanged user, or a changed one that stays one.

    Users that another pending change deletes do not count, nor users that are not yet durable.
    """
    if any(_leads(it) and _leads(access.users.get(it.name, it)) for it in changed.values()):
        return True
    return any(
        name not in changed and _leads(it) and (then := access.to_be(name)) is not None
        and _leads(then)
        for name, it in access.users.items()
    )  # fmt: skip


def _changed(
    user: KeptUser, deletions: Sequence[Deletion], upsertions: Sequence[Upsertion]
) -> KeptUser:
    gone = {MECHANISMS[it.mechanism] for it in deletions}
    scram = {mechanism: key for mechanism, key in user.scram.items() if mechanism not in gone}
    for it in upsertions:
        mechanism = MECHANISMS[it.mechanism]
        scram[mechanism] = key_of(mechanism, it.salted_password, it.salt, it.iterations)
    rabbit = None if upsertions else user.rabbit  # which has the password that was before
    return replace(user, scram=scram, rabbit=rabbit)


def _kept(client: KafkaClient, changed: Sequence[KeptUser], faults: dict[str, Fault]) -> Later:
    """Store the changed users; the answer is given when the change is durable."""
    later = Later()

    def answer(fault: Fault | None) -> None:
        told = {user.name: fault for user in changed} | faults
        result = alter_messages.AlterUserScramCredentialsResult
        later.give([result(name, *(it or (errors.NONE, None))) for name, it in told.items()])

    def kept(keeping: Keeping) -> None:
        answer(None if keeping.error is None else _failed(keeping.error))

    if not changed:
        answer(None)
        return later
    try:
        client.door.access.change(changed, by=client.rights.who).then(kept)
    except LogstoreError as error:
        answer(_failed(error))
    return later


def _failed(error: LogstoreError) -> Fault:
    refused = isinstance(error, Refused)
    return errors.POLICY_VIOLATION if refused else errors.KAFKA_STORAGE_ERROR, str(error)


HANDLERS: Final = {
    50: handler(describe_messages.Request, describe_messages.Response, describe),
    51: handler(alter_messages.Request, alter_messages.Response, alter),
}
