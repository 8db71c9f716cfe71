"""One Redis connection: requests in, replies out in order.

Most input consists of complete requests, many at once, and most of them publish; ``_take_many``
handles these. They are parsed all at once (``whole.py``); all other input is left to
``requests.read``.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from logstore.errors import BrokenProtocol, LogstoreError
from logstore.foreign import (
    asks_http,
    not_http,
    not_kafka,
    speaks_kafka,
    speaks_tls,
    without_tls,
)
from logstore.protocols.resp import unserved
from logstore.protocols.resp.client import (
    QUEUED_BYTES_MAX,
    REPLY_ON,
    REPLY_SKIP,
    REPLY_SKIP_NEXT,
    Queued,
    RespClient,
)
from logstore.protocols.resp.command import Command, found, is_about_keys
from logstore.protocols.resp.commands import COMMANDS
from logstore.protocols.resp.denials import NO_LOGIN, tell, text
from logstore.protocols.resp.door import DENIED, RespDoor
from logstore.protocols.resp.keys import quick
from logstore.protocols.resp.keys.rows import UNITS_A_COMMAND, not_held_up
from logstore.protocols.resp.opening import NAMES_AT_ONCE, Opening
from logstore.protocols.resp.permits import NO_AUTH, Refusal
from logstore.protocols.resp.relaying import Asked, goes_away, relayed
from logstore.protocols.resp.replies import QUEUED, integer
from logstore.protocols.resp.requests import LINE_BYTES_MAX, Begun, read
from logstore.protocols.resp.whole import WholeRequests, written
from logstore.protocols.resp.wrong import TOO_LONG
from logstore.protocols.session import About, Buffer, Link
from logstore.slices import Steps

OUT_BYTES_MAX: Final = 1 << 20  # of replies: the next request is taken when they are sent
# Work of one connection before other sessions have their turn.
COMMANDS_AT_ONCE: Final = 1000  # commands other than PUBLISH: each takes some microseconds
WRITING_COMMANDS: Final = 3  # cost of a change of a key, including the write, in commands
ASKED_COMMANDS: Final = 2  # cost of a check of names by rules, in commands
QUEUED_ALONE: Final = 100  # commands of a transaction that begins in a turn of its own
REFUSAL_COMMANDS: Final = 20  # cost of reporting a refusal, in commands
BYTES_AT_ONCE: Final = 256 << 10  # of requests
MANY: Final = 4  # requests that are worth looking at together
ARGUMENT_HELD_BYTES: Final = 128  # of one beside its bytes: as an object, or where it is found
PROTOCOL: Final = "the Redis protocol"  # as a peer of another is told of
# Beginnings of a browser's requests, sent by a page that a user opened.
OF_BROWSERS: Final = frozenset({b"post", b"host:"})

NO_ROOM: Final = b"command not allowed when used memory > 'maxmemory'."
_ARRAY: Final = 0x2A  # *
_PUBLISH: Final = (b"PUBLISH", b"publish")  # as programs spell it
_LISTS: Final = {list}
_THREES: Final = {3}
_ALL_BYTES: Final = {bytes}


class RespSession:
    """One Redis connection, as a ``Session``."""

    def __init__(self, door: RespDoor, everyone: dict[int, RespClient], link: Link) -> None:
        self.wants = 0
        self._door = door
        self._client = RespClient(door, everyone, link, 0.0)
        self._begun: Begun | None = None
        self._out_bytes = 0  # replies of commands that may have long ones
        self._held = False  # CLIENT PAUSE
        self._held_up = False  # earlier messages are still on their way
        self._asked_sure = False  # whether another node serves its database by now
        self._unsafe = self._client.unsafe
        self._opening = Opening(self._client)
        self._heard = False
        self._asked: Sequence[bytes] | None = None  # the request that rules allow
        self._left = COMMANDS_AT_ONCE
        if door.whole is None:
            door.whole = WholeRequests()
        self._whole = door.whole
        everyone[self._client.number] = self._client
        door.counts.connections += 1
        if door.denies(link.peer_address[0]):
            self._client.out.append(DENIED)
            self._client.closed = "it comes from another machine, and needs no password"
        if self._client.closed is not None or not self._client.known:
            link.wake()  # starts the time limit of the login

    def about(self) -> About:
        """As Doorway.about."""
        client, channels = self._client, self._door.channels
        state = "pubsub" if client.subscribed else "normal" if client.known else "logging in"
        unread_max = self._door.limits.pubsub.hard if client.subscribed else 0
        return About(
            client.permits.who.user,
            client.name.decode(),
            b" ".join(client.library.values()).decode().strip(),
            state,
            unread_max,
            {
                "number": client.number,
                "command": client.last_command,
                "channels": channels.names.names_count(client),
                "patterns": channels.patterns.names_count(client),
            },
        )

    def stand_for(self, asked: Asked) -> None:
        """Carry out the request of another node's client."""
        client = self._client
        client.relayed, client.database = True, asked.database
        with self._door.channels.lock:
            client.speak(asked.version)
        if asked.user:
            client.come_in(asked.user)

    # The session of the server

    @property
    def deadline(self) -> float | None:
        client = self._client
        held_until = self._door.paused_until if self._held else None
        at = (held_until, client.soft_until, client.login_until, client.rest_until)
        return min((it for it in at if it is not None), default=None)

    @property
    def busy(self) -> bool:
        away = self._client.away
        # Commands that may block without limit.
        blocked = self._client.blocked is not None or (away is not None and away.blocks)
        working = self._waits_for_worker() and not blocked
        return self._held or self._held_up or working or bool(self._unsafe)

    @property
    def kept(self) -> bool:
        return False

    @property
    def closed(self) -> str | None:
        return self._client.closed

    @property
    def held_bytes(self) -> int:
        held, begun = self._client.held_bytes, self._begun
        if begun is not None and begun.arguments:
            held += begun.at + ARGUMENT_HELD_BYTES * len(begun.arguments)
        return held

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        if self._unsafe or (self._begun is not None and len(data) < self._begun.wants):
            return 0  # what came in one read is answered before more is taken
        client = self._client
        client.now = client.active_at = now
        if client.closed is not None:
            return len(data)
        if not self._heard:
            self._heard, client.created_at = True, now
            if foreign := _foreign(bytes(data[:LINE_BYTES_MAX])):
                client.closed = foreign
                return len(data)
        channels = self._door.channels
        self._left = COMMANDS_AT_ONCE
        with channels.lock:
            channels.catch_up(client)
            taken = self._take(data)
            channels.settle(taken)
            if self._unsafe:
                self._unsafe.watch(client.link.wake)
        self._door.counts.bytes_in += taken
        paused = self._begun is not None and self._begun.paused
        if paused or (taken < len(data) and self._had_enough(taken)):
            client.link.wake()
        return taken

    def prompt(self, data: bytes, now: float) -> bytes | None:
        """As Doorway.prompt: GETs alone, or SETs, of a client of which nothing else is known."""
        if not data:
            return self._late()
        count = quick.alike(data)
        if not (count and self.is_idle and self._is_plain(now) and self._keyed()):
            return None
        client, counts = self._client, self._door.counts
        if count == 1:
            reply = quick.answer(client, data)
            replies: Sequence[bytes] = () if reply is None else (reply,)
        else:
            replies = self._answer_all(data, count)
        if not replies:
            return None
        client.now = client.active_at = now
        counts.commands += count
        counts.bytes_in += len(data)
        if client.depends:
            client.out += replies
            client.note_unsaved(0, each=True)
            self._unsafe.watch(client.link.wake)
            return b""
        return replies[0] if count == 1 else b"".join(replies)

    def _late(self) -> bytes | None:
        """The replies that waited for safety, if nothing else has happened; otherwise None."""
        client = self._client
        if client.closed is not None or client.soft_over or client.behind or client.following:
            return None
        if not self._unsafe.settled():
            return b""
        replies = b"".join(client.out)
        client.out.clear()
        client.unsaved.clear()
        return replies or None

    def _answer_all(self, data: bytes, count: int) -> Sequence[bytes]:
        """The replies to ``count`` simple requests; empty, with nothing done, if others are among
        them.
        """
        requests, clean = self._whole.read(data)
        if not clean or len(requests) != count:
            return ()
        return quick.answer_all(self._client, requests) or ()

    def _had_enough(self, taken: int) -> bool:
        """Whether other sessions have their turn first."""
        return self._left <= 0 or taken >= BYTES_AT_ONCE

    def wake(self, now: float) -> None:
        """As Session.wake."""
        self._client.now = now
        self._held = self._held_up = False  # looked at again
        self._client.look_at_the_clock(now)

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing; returns all output, so that pushed data comes after it."""
        client = self._client
        if self._unsafe and not self._unsafe.settled():
            return ()
        out = client.out
        if not out and (client.behind or client.following):
            with self._door.channels.lock:
                self._door.channels.catch_up(client)
                client.read_on()
        if not out:
            return ()
        joined = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        if client.unsaved:
            client.unsaved.clear()
        self._out_bytes = 0
        return (joined,)

    def finish(self, now: float) -> None:
        """As Session.finish."""
        self._held = False

    def leave(self, now: float) -> bool:
        """As Session.leave: what has arrived is answered, and that is all."""
        return False

    def close(self) -> None:
        """As Session.close."""
        if self._client.away is not None:
            self._client.away.give_up()
        if self._asked_sure:
            self._door.keys.unasked(self._client.link.wake)
        self._client.seat.close()
        with self._door.channels.lock:
            self._client.cut_off = True
            self._client.out.clear()
            self._client.forget_queue()
            self._door.onlookers.forget(self._client)
            self._begun = None
            self._unsafe.close()
            del self._client.everyone[self._client.number]
        self._door.slices.begin(self._leave(), lambda _: None)

    def _leave(self) -> Steps:
        steps = self._client.leave()
        while True:
            with self._door.channels.lock:
                done = next(steps, None)
            if done is None:
                return
            yield done

    # Taking requests

    def _full(self) -> bool:
        """Whether no more requests are accepted for now."""
        return (
            self._client.closed is not None
            or self._held
            or self._held_up
            or self._waits_for_worker()
            or self._out_bytes > OUT_BYTES_MAX
            or self._left <= 0
        )

    def _waits_for_worker(self) -> bool:
        return self._opening.under_way or self._client.working

    def _take(self, data: memoryview) -> int:
        at, end = 0, len(data)
        while at < end and at < BYTES_AT_ONCE and not self._full():
            if self._begun is None and data[at] == _ARRAY and self._client.known:
                at += self._take_many(data[at : at + BYTES_AT_ONCE])
                if at == end or self._full():
                    break
            taken = self._take_one(data[at:])
            if not taken:
                break
            at += taken
        return end if self.closed is not None else at

    def _take_many(self, data: memoryview) -> int:
        """Carry out the whole requests at the start of ``data``; returns their size in bytes."""
        door, counts = self._door, self._door.counts
        requests, clean = self._whole.read(bytes(data))
        before = counts.executed
        done = self._carry_out(requests)
        counts.commands += done
        published = done - (counts.executed - before)
        counts.published += published
        door.totals.messages_in += published
        return len(data) if clean and done == len(requests) else written(requests[:done])

    def _carry_out(self, requests: Sequence[Any]) -> int:
        """Carry out plain requests while there is room; returns their number."""
        if len(requests) >= MANY and self._quick() and self._publish_all(requests):
            return len(requests)
        client = self._client
        channels = self._door.channels
        out, publish, unsafe = client.out, channels.publish, client.unsafe
        keeps = channels.keeps
        plain, number, count = self._quick(), 0, len(requests)
        may, keyed = self._asked_about_publishing(), plain and self._keyed()
        while number < count:
            request = requests[number]
            if type(request) is not list or not request:
                return number
            if keyed and request[0] in quick.VERBS:
                before = number
                number, size = quick.carry_out(client, requests, number)
                self._out_bytes += size
                if self._out_bytes > OUT_BYTES_MAX:
                    return number
                if number > before:
                    continue
            if (
                plain
                and len(request) == 3
                and request[0] in _PUBLISH
                and type(request[1]) is type(request[2]) is bytes
            ):
                if keeps and channels.unopened([(request[1], True)]):
                    return number  # once it is seen that it may
                if (may is None or may(request[1])) and channels.is_quick(request[1]):
                    number += 1
                    try:
                        out.append(integer(publish(request[1], request[2], unsafe)))
                    except LogstoreError as error:  # only a channel with a history
                        client.fail(str(error))
                    continue
            elif not _ALL_BYTES.issuperset(map(type, request)) or self._hold(request):
                return number
            self._execute(request)
            number += 1
            if self._full():
                return number
            plain, may = self._quick(), self._asked_about_publishing()
            keyed = plain and self._keyed()
        return number

    def _keyed(self) -> bool:
        """Whether GET and SET are plain: they need no check and wait for no one."""
        client, keys = self._client, self._door.keys
        if not (client.permits.free and keys.open) or client.database in keys.elsewhere:
            return False
        return not keys.standings or keys.is_sure(client.database)

    def _publish_all(self, requests: Sequence[Any]) -> bool:
        """Publish, column by column, if all requests are PUBLISH; returns whether they are."""
        if set(map(type, requests)) != _LISTS or set(map(len, requests)) != _THREES:
            return False
        verbs, names, payloads = zip(*requests, strict=True)
        # A value that equals bytes is bytes: if all names are equal, two columns need no check.
        first, count = names[0], len(names)
        alone = type(first) is bytes and names.count(first) == count
        if not (verbs.count(_PUBLISH[0]) == count or verbs.count(_PUBLISH[1]) == count):
            return False
        if not _ALL_BYTES.issuperset(map(type, payloads if alone else names + payloads)):
            return False
        client, door = self._client, self._door
        channels = door.channels
        distinct = {first} if alone else set(names)
        if not all(map(channels.is_quick, distinct)):
            return False
        if not client.permits.free and not all(map(client.permits.may_publish, distinct)):
            return False
        if channels.keeps and channels.unopened([(it, True) for it in distinct]):
            return False
        if alone:
            try:
                receivers = channels.publish_many(first, payloads, client.unsafe)
                client.out.append(integer(receivers) * len(payloads))
            except LogstoreError as error:
                for _ in payloads:
                    client.fail(str(error))
            return True
        for name, payload in zip(names, payloads, strict=True):
            try:
                receivers = channels.publish(name, payload, client.unsafe)
                client.out.append(integer(receivers))
            except LogstoreError as error:
                client.fail(str(error))
        return True

    def _quick(self) -> bool:
        """Whether a PUBLISH has no effect beyond publishing."""
        client = self._client
        if not self._is_plain(client.now):
            return False
        client.last_command = "publish"
        return True

    def _is_plain(self, now: float) -> bool:
        """Whether requests are carried out at once, with the reply as the only result."""
        client, door = self._client, self._door
        return (
            client.known
            and not client.subscribed
            and client.queue is None
            and client.replying == REPLY_ON
            and client.tracking is None
            and door.paused_until <= now
            and not door.channels.under_way
        )

    @property
    def is_idle(self) -> bool:
        """Whether all requests are answered."""
        client = self._client
        if not self._heard or self._begun is not None or client.out or client.working:
            return False
        return client.closed is None and not self._unsafe

    def _asked_about_publishing(self) -> Callable[[bytes], bool] | None:
        """A check of the channels it may publish to; None if it may publish to all."""
        permits = self._client.permits
        return None if permits.free else permits.may_publish

    def _hold(self, request: Sequence[bytes]) -> bool:
        """Whether the request, and with it the connection, must wait.

        It waits for a history, for CLIENT PAUSE, or for earlier messages that go to many
        subscribers.
        """
        client = self._client
        if not (client.permits.free and client.known) and not self._allowed(request):
            return False  # refused at once; nothing is opened for it
        if client.queue is not None and self._comes_first(request):
            self._left = 0
            return True
        if self._opening.first(request):
            return True
        door = self._door
        if door.keys.held_up(client, client.link.wake):
            self._held_up = True
            return True
        if door.keys.standings and self._is_unsure(request):
            door.keys.when_sure(client.database, client.link.wake)
            self._asked_sure = self._held_up = True
            return True
        channels = door.channels
        if channels.under_way and self._publishes(request) and channels.held_up(client.link.wake):
            self._held_up = True
            return True
        if door.paused_until <= self._client.now:
            door.paused_all = False
            return False
        if not door.paused_all and not self._publishes(request):
            return False
        self._held = request[0].lower() != b"quit"
        return self._held

    def _comes_first(self, request: Sequence[bytes]) -> bool:
        """Whether the request is an EXEC of many commands that must wait for the next turn."""
        queue = self._client.queue or ()
        many = len(queue) > QUEUED_ALONE and self._left < COMMANDS_AT_ONCE
        return many and request[0].lower() == b"exec"

    def _allowed(self, request: Sequence[bytes]) -> bool:
        """Whether the command is allowed; a command with many names is checked as it runs."""
        client = self._client
        command = found(request)
        if command is None or not command.takes(len(request)):
            return False
        if not client.known and NO_AUTH not in command.flags:
            return False
        if len(request) > NAMES_AT_ONCE:
            return True
        allowed = client.permits.refusal(command, request) is None
        self._asked = request if allowed else None
        return allowed

    def _is_unsure(self, request: Sequence[bytes]) -> bool:
        """Whether the request uses keys that another node may serve by now; also of EXEC."""
        command = found(request)
        if command is None or self._door.keys.is_sure(self._client.database):
            return False
        return self._client.queue_keyed if command.name == "exec" else is_about_keys(command)

    def _publishes(self, request: Sequence[bytes]) -> bool:
        """Whether the request publishes; for EXEC, whether a queued command does."""
        command, queue = COMMANDS.get(request[0].lower()), self._client.queue
        if command is None:
            return False
        if command.name == "exec":
            return queue is not None and self._client.queue_publishes
        return command.publishes

    def _take_one(self, data: memoryview) -> int:
        """Carry out the request at the start of ``data``; returns its size, 0 if incomplete."""
        begun = self._begun or Begun(
            bytes_max=self._door.budget.request_bytes_max, known=self._client.known
        )
        self._begun, self.wants = None, 0
        try:
            most = min(self._door.limits.bulk_bytes_max, begun.bytes_max)
            arguments = read(data, begun, most)
        except BrokenProtocol as broken:
            self._end(str(broken.args[0]))
            return len(data)
        if arguments is None:
            self._begun, self.wants = begun, begun.room
            return 0
        if arguments:
            if self._hold(arguments):
                return 0
            self._door.counts.commands += 1
            self._execute(arguments)
        return begun.at

    def _end(self, reason: str) -> None:
        if reason.startswith("Protocol error"):
            self._client.fail(reason.encode("latin-1"))
        self._client.closed = reason

    # Carrying out

    def _execute(self, arguments: Sequence[bytes]) -> None:
        client = self._client
        self._door.counts.executed += 1
        self._door.onlookers.tracked.acting = client
        self._left -= 1
        before = len(client.out)
        name = arguments[0].lower()
        if name in OF_BROWSERS:
            client.closed = "it speaks HTTP: cut off, as Redis does against attacks by web pages"
            return
        command = COMMANDS.get(name)
        if command is not None and command.subcommands and len(arguments) > 1:
            parent, command = command, command.subcommands.get(arguments[1].lower())
            if command is None:
                name = parent.name.upper().encode()
                self._reject(
                    b"unknown subcommand '%b'. Try %b HELP." % (unserved.shown(arguments[1]), name)
                )
        elif command is None:
            self._reject(unserved.unknown(arguments))
        if command is not None:
            try:
                self._command(command, arguments)
            except LogstoreError as refusal:  # of a key, or of a channel with a history
                client.tell(refusal)
            self._changed(before)
            self._left -= client.units // UNITS_A_COMMAND
            client.units = 0
        if client.replying == REPLY_SKIP_NEXT:
            client.replying = REPLY_SKIP
        elif client.replying == REPLY_SKIP:
            client.replying = REPLY_ON
        self._out_bytes += sum(map(len, client.out[before:]))

    def _changed(self, before: int) -> None:
        """Check whether the command with the replies from ``before`` on changed keys."""
        client, keys = self._client, self._door.keys
        if keys.awake:
            client.note_stirred()
        if client.depends:
            client.note_unsaved(before)
        client.look_around()
        if keys.failing is not None and keys.awake:
            keys.try_now()

    def _command(self, command: Command, arguments: Sequence[bytes]) -> None:
        client = self._client
        client.last_command = command.name
        client.changed = True
        if not command.takes(len(arguments)) or command.run is None:
            text = f"wrong number of arguments for '{command.name}' command"
            self._reject(text.encode(), command)
            return
        if not client.known and NO_AUTH not in command.flags:
            self._reject(NO_LOGIN.encode(), command, "NOAUTH")
            return
        if self._is_too_early(command):
            return
        if self._is_too_large(command, arguments):
            self._reject(TOO_LONG.encode(), command)
            return
        if client.permits.free or len(arguments) <= NAMES_AT_ONCE:
            refusal = None
            if not client.permits.free:
                self._left -= ASKED_COMMANDS
                if self._asked is not arguments:  # otherwise it was just checked
                    refusal = client.permits.refusal(command, arguments)
                self._asked = None
            if refusal is not None:
                self._refuse(command, refusal)
                return
            steps = self._do(command, arguments)
        else:
            steps = self._ask(command, arguments)
        if steps is not None:
            client.in_slices(command.name, steps, whole=command.name == "exec")
        elif client.notices or client.tracking is not None:
            client.carried_out(command.name)

    def _is_too_early(self, command: Command) -> bool:
        """Whether keys are still being read from disk, or could not be; replies with an error."""
        keys = self._door.keys
        if keys.loading and "loading" not in command.flags:
            text = b"Redis is loading the dataset in memory"
            self._reject(text, command, "LOADING")
            return True
        if keys.damage is not None and is_about_keys(command):
            self._reject(keys.damage.encode(), command)
            return True
        if keys.eviction.bytes_max and not keys.taken and not keys.eviction.make_room():
            if "denyoom" not in command.flags:
                return False
            self._reject(NO_ROOM, command, "OOM")
            return True
        return False

    def _is_too_large(self, command: Command, arguments: Sequence[bytes]) -> bool:
        """Whether the command may store its arguments, and one is longer than the limit."""
        if "write" not in command.flags and not command.numkeys:
            return False
        return max(map(len, arguments)) > self._door.limits.value_bytes_max

    def _ask(self, command: Command, arguments: Sequence[bytes]) -> Steps:
        """Carry out the command if it is allowed; with many names the check takes several steps."""
        refusal = yield from self._client.permits.asking(command, arguments)
        if refusal is not None:
            self._refuse(command, refusal)
            return
        yield from not_held_up(self._client)
        steps = self._do(command, arguments)
        if steps is not None:
            yield from steps

    def _do(self, command: Command, arguments: Sequence[bytes]) -> Steps | None:
        """Carry out an allowed command; returns the remaining steps of a long one."""
        client = self._client
        assert command.run is not None
        if client.subscribed and client.version == 2 and not command.while_subscribed:
            self._reject(
                b"Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
                b"are allowed in this context" % command.name.encode(),
                command,
            )
        elif client.queue is not None and not command.at_once:
            queued = Queued(command.run, arguments, command.publishes, command)
            self._queue(client.queue, queued)
        else:
            if client.tracking is not None:
                self._door.onlookers.remember(client, command, arguments)
            if "write" in command.flags:
                self._left -= WRITING_COMMANDS
            away = self._door.keys.elsewhere and goes_away(client, command)
            steps = relayed(client, arguments) if away else command.run(client, arguments)
            calls = self._door.counts.calls
            calls[command.name] = calls.get(command.name, 0) + 1
            return steps
        return None

    def _queue(self, queue: list[Queued], queued: Queued) -> None:
        client = self._client
        arguments = queued.arguments
        client.queue_bytes += sum(map(len, arguments)) + ARGUMENT_HELD_BYTES * (1 + len(arguments))
        if client.queue_bytes > QUEUED_BYTES_MAX:
            client.cut(f"more than {QUEUED_BYTES_MAX} bytes of commands after MULTI")
            return
        queue.append(queued)
        client.queue_publishes |= queued.publishes
        client.queue_keyed |= is_about_keys(queued.command)
        client.say(QUEUED)

    def _refuse(self, command: Command, refusal: Refusal) -> None:
        self._left -= REFUSAL_COMMANDS
        tell(self._client, refusal)
        self._reject(text(self._client.user, refusal), command, "NOPERM")

    def _reject(self, said: bytes, command: Command | None = None, code: str = "ERR") -> None:
        """Refuse a command, and the transaction to which it would belong."""
        client = self._client
        if client.queue is not None:
            client.queue_failed = True
        if command is not None and command.name == "exec":
            client.forget_queue()
            why = said if code == "ERR" else b"%b %b" % (code.encode(), said)
            client.refuse("EXECABORT", b"Transaction discarded because of: " + why)
        else:
            client.refuse(code, said)


def _foreign(data: bytes) -> str | None:
    """The error for a peer of another protocol; None if the first bytes may be requests."""
    if speaks_tls(data):
        return without_tls(PROTOCOL, "resp.tls.port")
    if speaks_kafka(data):
        return not_kafka(PROTOCOL)
    return not_http(PROTOCOL) if asks_http(data.partition(b"\n")[0]) else None
