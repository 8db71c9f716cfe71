"""Who sends a request, and whether a browser of somebody's page does: found out from its head."""

import json
from base64 import b64encode
from types import SimpleNamespace

import pytest
from http_kit import HttpPeer, answers, request
from msgspec.structs import replace

from logstore.access.access import Access, Unkept
from logstore.access.logins import Login
from logstore.access.resources import KINDS
from logstore.access.tokens import BadToken, Bearer
from logstore.http import asks
from logstore.http.routes import Route, Router
from logstore.http.server_end import THROWN_BYTES_MAX
from logstore.kept.users import KeptAccess, KeptRule, KeptUser, ScramKey
from logstore.protocols.http.entry import browsers
from logstore.protocols.http.entry.browsers import IDLE_S, Browsers, LoggedIn
from logstore.protocols.http.entry.targets import is_of as is_rabbits
from logstore.protocols.http.native.table_server import ROUTES
from logstore.protocols.http.replies.flows import LOOK_S
from logstore.protocols.http.routes import ROUTES as REAL
from logstore.protocols.http.session import DISCARD_S, STRANGERS_BYTES_MAX

KEY = ScramKey(b"salt", 4096, b"stored", b"server")
ROOT = KeptUser("root", {"SCRAM-SHA-256": KEY}, ("administrator",))
ANA = KeptUser("ana", {"SCRAM-SHA-256": KEY}, ("management",))
MON = KeptUser("mon", {"SCRAM-SHA-256": KEY}, ("monitoring",))
NONE = KeptUser("none", {"SCRAM-SHA-256": KEY})
USERS = (ROOT, ANA, MON, NONE)
OURS = "x-logstore: 1"


class Passwords:
    """Everyone's password is his name; checked now, or when the test says so."""

    def __init__(self, delay_s=0.0):
        self.held, self.waiting, self.failures, self.delay_s = False, [], [], delay_s
        self.out = set()

    def check(self, name, password, host, then):
        def answer():
            then(Login(name.decode()) if name == password else Login(None, self.delay_s))

        if self.held:
            self.waiting.append(answer)
        else:
            answer()

    def admits(self, name):
        return name not in self.out

    def failed(self, host):
        self.failures.append(host)
        return self.delay_s


class Audit:
    def __init__(self):
        self.told = []

    def tell(self, event, who, what="", outcome="done"):
        self.told.append((event, who.user, who.mechanism, outcome))


def reached(door, call):
    call.answer({"user": call.who.user, "host": call.who.host})


WAITING = []  # for what a worker looks up

TABLE = (
    Route("GET", "/later", lambda door, call: WAITING.append(call), "", asks.LOGGED_IN),
    Route("POST", "/later", lambda door, call: WAITING.append(call), "", asks.LOGGED_IN),
    *ROUTES,
    Route("GET", "/open", reached, "", asks.OPEN),
    Route("GET", "/any", reached, "", asks.LOGGED_IN),
    Route("POST", "/any", reached, "", asks.LOGGED_IN),
    Route("GET", "/lines", lambda door, call: call.line(b"1\n"), "", asks.LOGGED_IN),
    Route("GET", "/news", lambda door, call: call.events().send("x"), "", asks.LOGGED_IN),
    Route("GET", "/all", reached, "", asks.MAY_ALL),
    Route("GET", "/sees", reached, "", asks.SEES_ALL),
    Route("GET", "/own", reached, "", asks.OWN),
    Route("GET", "/topics/{name}", reached, "", asks.of("describe", "topic")),
    Route("GET", "/topics/{name}/records", reached, "", asks.of("read", "topic")),
    Route("GET", "/queues/{name}", reached, "", asks.of("describe", "queue"), ("vhost",)),
)


class House:
    """A door with users, and those who come in."""

    def __init__(self, users=USERS, rules=(), delay_s=0.0, **more):
        self.access = Access(Unkept(KeptAccess(users, rules)))
        self.logins, self.audit, self.now = Passwords(delay_s), Audit(), 0.0
        first = self.come(
            None, logins=self.logins, access=self.access, audit=self.audit,
            stopwatch=lambda: self.now, keeps_history=lambda name: name == "news", **more,
        )  # fmt: skip
        self.door = first.door

    def come(self, door, **more):
        return HttpPeer(router=Router(TABLE), who=None, door=door, **more)

    def peer(self, **more):
        return self.come(self.door, **more)

    def ask(self, target, *headers, method="GET", body=b""):
        [(status, headers, answer)] = answers(
            self.peer().say(request(method, target, body, *headers))
        )
        return status, headers, json.loads(answer)

    def status(self, target, *headers, **more):
        return self.ask(target, *headers, **more)[0]

    def change(self, *keep, forget=()):
        self.access.change(keep, forget)


def basic(name, password=None):
    said = f"{name}:{name if password is None else password}"
    return f"authorization: Basic {b64encode(said.encode()).decode()}"


@pytest.fixture
def house():
    return House()


# Tools


def test_a_tool_is_who_its_name_and_password_say(house):
    status, _, answer = house.ask("/any", basic("ana"))
    assert (status, answer) == (200, {"user": "ana", "host": "192.0.2.1"})


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ("x: y", "log in with a name and a password"),
        (basic("ana", "wrong"), "wrong name or password"),
        (basic("nobody"), "wrong name or password"),
        ("authorization: Basic", "wrong name or password"),
        ("authorization: Basic %%%", "wrong name or password"),
        ("authorization: Basic YQ==", "wrong name or password"),  # no colon
        ("authorization: Digest username=ana", "wrong name or password"),
        ("authorization: Bearer abc", "wrong name or password"),
        (f"{basic('ana')}\r\n{basic('root')}", "wrong name or password"),
        ("cookie: logstore=abc", "log in with a name and a password"),
    ],
)
def test_who_is_not_known_is_asked_to_log_in(house, header, error):
    status, headers, answer = house.ask("/any", header)
    assert (status, answer["error"]) == (401, error)
    assert headers["www-authenticate"].startswith("Basic ")
    status, headers, _ = house.ask("/any", header, OURS)
    assert status == 401
    assert "www-authenticate" not in headers  # a browser would ask in a window of its own


def test_a_wrong_login_is_answered_late_and_told(house):
    house.logins.delay_s = 0.5
    peer = house.peer()
    assert peer.say(request("GET", "/any", b"", basic("ana", "wrong")) * 2) == b""
    assert peer.session.busy
    assert peer.session.deadline == peer.now + 0.5
    assert [it[0] for it in answers(peer.pass_time(0.5))] == [401]
    assert house.audit.told == [("login", "ana", "BASIC", "refused")] * 2
    assert [it[0] for it in answers(peer.pass_time(0.5))] == [401]


def test_whoever_leaves_while_a_password_is_checked_is_answered_nothing(house):
    house.logins.held = True
    peer = house.peer()
    peer.feed(request("GET", "/any", b"", basic("ana")))
    peer.session.close()
    house.logins.waiting.pop()()
    assert peer.session.outgoing(1000) == ()
    assert house.audit.told == [("login", "ana", "BASIC", "done")]


def test_a_tool_is_told_of_once_on_a_connection(house):
    peer = house.peer()
    for name in ("ana", "ana", "root", "root"):
        peer.say(request("GET", "/any", b"", basic(name)))
    assert [user for _, user, _, _ in house.audit.told] == ["ana", "root"]


def test_a_user_who_is_deleted_while_the_password_is_checked_is_not_let_in(house):
    house.logins.held = True
    peer = house.peer()
    peer.feed(request("GET", "/any", b"", basic("ana")))
    house.change(forget=[ANA])
    house.logins.waiting.pop()()
    [(status, _, _)] = answers(peer.out())
    assert status == 401


def test_the_body_of_a_stranger_is_not_kept(house):
    body = bytes(THROWN_BYTES_MAX)
    peer = house.peer()
    head = request("POST", "/any", b"", OURS, f"content-length: {len(body)}")
    peer.feed(head + body[:-1])
    assert peer.session.held_bytes < THROWN_BYTES_MAX / 2
    assert [it[0] for it in answers(peer.say(body[-1:]))] == [401]
    assert [it[0] for it in answers(peer.say(request("GET", "/open")))] == [200]


@pytest.mark.parametrize(
    "route", [it for it in REAL if it.asks.level in (asks.NOBODY, asks.ANYBODY)],
    ids=lambda it: f"{it.method} {it.path}",
)  # fmt: skip
def test_what_anybody_may_ask_has_little_of_a_body(route):
    house = House()
    house.come = lambda door, **more: HttpPeer(router=Router(REAL), who=None, door=door, **more)
    peer = house.peer()
    size = STRANGERS_BYTES_MAX + 1
    head = request(route.method, filled(route), b"", OURS, f"content-length: {size}")
    [(status, _, _)] = answers(peer.say(head))
    assert status == 413
    assert peer.session.held_bytes < size


def test_a_large_body_of_a_stranger_is_not_waited_for(house):
    peer = house.peer()
    much = f"content-length: {THROWN_BYTES_MAX + 1}"
    [(status, headers, _)] = answers(peer.say(request("POST", "/any", b"", OURS, much)))
    assert (status, headers["connection"]) == (401, "close")
    peer.pass_time(DISCARD_S)
    assert peer.session.closed == ""


def test_a_body_is_taken_only_once_it_is_known_who_sends_it(house):
    house.logins.held = True
    peer = house.peer()
    body = bytes(1 << 20)
    peer.feed(request("POST", "/any", body, basic("ana")))
    assert peer.session.held_bytes < 1 << 16
    assert peer.session.deadline is None  # the time of the check is not the peer's
    house.logins.waiting.pop()()
    [(status, _, _)] = answers(peer.out())
    assert status == 200


def test_who_waits_before_sending_a_body_is_refused_at_once(house):
    peer = house.peer()
    head = request("POST", "/any", b"", OURS, "expect: 100-continue", "content-length: 2")
    assert [it[0] for it in answers(peer.say(head))] == [401]
    head = request("POST", "/any", b"", basic("ana"), "expect: 100-continue", "content-length: 2")
    peer = house.peer()
    assert [it[0] for it in answers(peer.say(head))] == [100]
    assert [it[0] for it in answers(peer.say(b"{}"))] == [200]


def test_a_token_names_its_user():
    class Tokens:
        def check(self, token, then):
            then(Bearer("ana", 0) if token == "good" else BadToken("no"))

    house = House(tokens=Tokens())
    assert house.status("/any", "authorization: Bearer good") == 200
    assert house.status("/any", "authorization: Bearer bad") == 401
    assert house.logins.failures == ["192.0.2.1"]


def test_a_certificate_names_its_user(house):
    peer = house.peer()
    peer.certificate = SimpleNamespace(user="ana")
    [(status, _, body)] = answers(peer.say(request("GET", "/any")))
    assert (status, json.loads(body)["user"]) == (200, "ana")
    [(status, _, _)] = answers(peer.say(request("POST", "/any")))
    assert status == 403  # a browser sends it by itself
    house.logins.out.add("ana")
    assert answers(peer.say(request("GET", "/any")))[0][0] == 401


# Browsers


def log_in(house, name="ana", **more):
    body = json.dumps({"user": name, "password": name}).encode()
    status, headers, answer = house.ask("/api/v1/session", OURS, method="POST", body=body, **more)
    assert status == 200, answer
    cookie, *attributes = headers["set-cookie"].split("; ")
    return f"cookie: other=1; {cookie}", attributes, answer


def test_a_browser_logs_in_and_out(house):
    cookie, attributes, answer = log_in(house)
    assert attributes == ["HttpOnly", "SameSite=Strict", "Path=/"]
    assert len(cookie.partition("logstore=")[2]) >= 43  # 256 bits
    assert answer == {
        "user": "ana", "tags": ["management"], "owner": False, "login_needed": False,
        "cluster": False, "directory": None,
    }  # fmt: skip
    assert house.ask("/api/v1/whoami", cookie)[2] == answer
    assert house.ask("/any", cookie)[2]["user"] == "ana"
    assert house.audit.told == [("login", "ana", "BASIC", "done")]
    status, headers, _ = house.ask("/api/v1/session", cookie, OURS, method="DELETE")
    assert status == 200
    assert "Max-Age=0" in headers["set-cookie"]
    assert house.status("/any", cookie) == 401


def test_by_tls_the_cookie_is_for_tls_alone(house):
    peer = house.peer()
    peer.secure = True
    body = b'{"user":"ana","password":"ana"}'
    [(_, headers, _)] = answers(peer.say(request("POST", "/api/v1/session", body, OURS)))
    assert headers["set-cookie"].endswith("; Secure")


def test_whoami_tells_who_has_not_logged_in_that_a_login_is_needed(house):
    nobody = {
        "user": "", "tags": [], "owner": False, "login_needed": True, "cluster": False,
        "directory": None,
    }  # fmt: skip
    assert house.ask("/api/v1/whoami")[2] == nobody
    assert house.ask("/api/v1/whoami", "cookie: logstore=old")[2] == nobody
    assert house.status("/api/v1/whoami", basic("ana", "wrong")) == 401
    _, answer = from_browser(House(users=()), "/api/v1/whoami")
    assert answer == nobody | {"login_needed": False, "directory": ""}  # who sees all is told


def test_a_wrong_password_gives_no_cookie(house):
    house.logins.delay_s = 0.25
    body = b'{"user":"ana","password":"wrong"}'
    peer = house.peer()
    assert peer.say(request("POST", "/api/v1/session", body, OURS)) == b""
    [(status, headers, _)] = answers(peer.pass_time(0.25))
    assert status == 401
    assert "set-cookie" not in headers
    assert "www-authenticate" not in headers


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"user":1,"password":"x"}', b'{"user":"a"', b"\xff",
             b'{"user":"a","password":"b","more":1}', b"[" * 8000],
)  # fmt: skip
def test_a_login_that_is_none_is_a_bad_request(house, body):
    status, _, answer = house.ask("/api/v1/session", OURS, method="POST", body=body)
    assert status == 400
    assert answer["error"].startswith("the request's body: ")


def test_a_user_without_a_tag_of_management_does_not_get_in(house):
    body = b'{"user":"none","password":"none"}'
    status, headers, answer = house.ask("/api/v1/session", OURS, method="POST", body=body)
    assert (status, answer["kind"]) == (403, "Forbidden")
    assert "set-cookie" not in headers
    assert house.status("/any", basic("none")) == 403


def test_a_browser_that_is_silent_for_long_logs_in_again(house):
    cookie, _, _ = log_in(house)
    for _ in range(3):
        house.now += IDLE_S
        assert house.status("/any", cookie) == 200  # its time begins anew
    house.now += IDLE_S + 1
    assert house.status("/any", cookie) == 401


def test_who_only_listens_is_silent_and_hears_no_more_when_the_time_is_over(house):
    cookie, _, _ = log_in(house)
    peer, tool = house.peer(), house.peer()
    for each, header in ((peer, cookie), (tool, basic("ana"))):
        assert b"data: x" in each.say(request("GET", "/news", b"", header))
    house.now += IDLE_S
    for each in (peer, tool):
        each.pass_time(LOOK_S)
        assert each.cut_for is None
    house.now += 1
    for each in (peer, tool):
        each.pass_time(LOOK_S)
    assert peer.cut_for == "no more of an answer: the time of its login is over"
    assert tool.cut_for is None


def test_a_login_ends_one_of_the_same_browser(house):
    cookie, _, _ = log_in(house)
    body = b'{"user":"mon","password":"mon"}'
    _, headers, _ = house.ask("/api/v1/session", cookie, OURS, method="POST", body=body)
    assert house.status("/any", cookie) == 401
    assert house.status("/any", f"cookie: {headers['set-cookie'].partition(';')[0]}") == 200


@pytest.mark.parametrize("how", ["deleted", "new password", "made anew", "off"])
def test_a_browser_is_out_at_once_when_its_user_is_another(house, how):
    cookie, _, _ = log_in(house)
    other, _, _ = log_in(house, "mon")
    if how == "off":
        house.logins.out.add("ana")
    elif how == "new password":
        house.change(replace(ANA, scram={"SCRAM-SHA-256": replace(KEY, salt=b"new")}))
    else:
        house.change(forget=[ANA])
        if how == "made anew":
            house.change(ANA)
    assert house.status("/any", cookie) == 401
    assert house.status("/any", other) == 200


def test_other_tags_count_at_once_and_log_nobody_out(house):
    cookie, _, _ = log_in(house)
    assert house.status("/all", cookie) == 403
    house.change(replace(ANA, tags=("administrator",)))
    assert house.status("/all", cookie) == 200
    house.change(replace(ANA, tags=()))
    assert house.status("/any", cookie) == 403


def test_what_lasts_ends_when_its_user_may_not_have_it_any_more(house):
    cookie, _, _ = log_in(house)
    mon, _, _ = log_in(house, "mon")
    peer, other = house.peer(), house.peer()
    assert b"1\n" in peer.say(request("GET", "/lines", b"", cookie))
    assert b"1\n" in other.say(request("GET", "/lines", b"", mon))
    house.change(KeptRule("ana", "read", "topic", "t"))
    assert peer.cut_for is None
    house.change(replace(ANA, tags=()))
    assert peer.cut_for.startswith("no more of an answer: user 'ana' may not use this")
    assert other.cut_for is None
    house.change(forget=[MON])
    assert other.cut_for == "no more of an answer: its user is deleted"


@pytest.mark.parametrize(
    ("how", "why"),
    [("log out", "its browser has logged out"), ("log in", "its browser has logged out"),
     ("new password", "log in with a name and a password"),
     ("off", "log in with a name and a password")],
)  # fmt: skip
def test_what_lasts_ends_with_the_login_of_its_browser(house, how, why):
    cookie, _, _ = log_in(house)
    another, _, _ = log_in(house)
    peers = [house.peer() for _ in range(3)]
    for peer, header in zip(peers, (cookie, another, basic("ana")), strict=True):
        assert b"1\n" in peer.say(request("GET", "/lines", b"", header))
    if how == "log out":
        assert house.status("/api/v1/session", cookie, OURS, method="DELETE") == 200
    elif how == "log in":
        body = b'{"user":"mon","password":"mon"}'
        assert house.status("/api/v1/session", cookie, OURS, method="POST", body=body) == 200
    elif how == "new password":
        house.change(replace(ANA, scram={"SCRAM-SHA-256": replace(KEY, salt=b"new")}))
    else:
        house.logins.out.add("ana")
        house.change(replace(ANA, redis="off"))
    both = how in ("new password", "off")  # of all browsers; of tools none, or all
    found = [peer.cut_for for peer in peers]
    wanted = f"no more of an answer: {why}"
    assert found == [wanted, wanted if both else None, wanted if how == "off" else None]


def test_whoever_has_logged_out_is_answered_nothing_that_was_asked_before(house):
    cookie, _, _ = log_in(house)
    peer = house.peer()
    assert peer.say(request("POST", "/any", b"", cookie, OURS, "content-length: 2") + b"{") == b""
    assert house.status("/api/v1/session", cookie, OURS, method="DELETE") == 200
    assert [it[0] for it in answers(peer.say(b"}"))] == [401]


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(house):
    body = b'{"user":"ana","password":"ana"}'
    _, headers, _ = house.ask(
        "/api/v1/session", OURS, "x-forwarded-proto: https", method="POST", body=body
    )
    assert headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize(
    ("how", "status"), [("log out", 401), ("deleted", 401), ("made anew", 401), ("no tag", 403)]
)
def test_what_is_looked_up_is_not_told_to_who_may_not_know_it_any_more(house, how, status):
    cookie, _, _ = log_in(house)
    peer, changing = house.peer(), house.peer()
    assert peer.say(request("GET", "/later", b"", cookie)) == b""
    assert changing.say(request("POST", "/later", b"", cookie, OURS)) == b""
    if how == "log out":
        house.status("/api/v1/session", cookie, OURS, method="DELETE")
    elif how == "no tag":
        house.change(replace(ANA, tags=()))
    else:
        house.change(forget=[ANA])
        if how == "made anew":
            house.change(ANA)
    for call in WAITING:
        call.answer({"a": "secret"})
    WAITING.clear()
    [(found, _, body)] = answers(peer.out())
    assert (found, b"secret" in body) == (status, False)
    assert [it[0] for it in answers(changing.out())] == [200]  # it was done


def test_a_request_whose_user_goes_while_its_body_comes_is_refused(house):
    cookie, _, _ = log_in(house)
    peer = house.peer()
    assert peer.say(request("POST", "/any", b"", cookie, OURS, "content-length: 2") + b"{") == b""
    house.change(forget=[ANA])
    assert [it[0] for it in answers(peer.say(b"}"))] == [401]


def test_browsers_are_bounded_and_each_user_has_some(monkeypatch):
    monkeypatch.setattr(browsers, "BROWSERS_MAX", 4)
    monkeypatch.setattr(browsers, "OF_ONE_MAX", 2)
    kept = Browsers()
    ana, mon = LoggedIn("ana", "BASIC", ANA), LoggedIn("mon", "BASIC", MON)
    secrets = [kept.let_in(ana, now) for now in range(3)]
    assert [kept.find(it, 3) for it in secrets] == [None, ana, ana]
    others = [kept.let_in(mon, now) for now in range(4, 6)]
    assert kept.find(secrets[1], 6) == ana
    assert kept.let_in(LoggedIn("root", "BASIC", ROOT), 7)
    assert [kept.find(it, 8) for it in (*secrets[1:], *others)] == [ana, None, mon, mon]
    assert len(kept) == 4
    kept.let_in(ana, 9 + IDLE_S)
    assert len(kept) == 1


# Pages of others


def from_browser(house, target, *headers, method="GET", host="localhost:15672", **more):
    peer = house.peer(**more)
    head = "\r\n".join([f"{method} {target} HTTP/1.1", f"host: {host}", *headers, "", ""])
    [(status, headers, body)] = answers(peer.say(head.encode()))
    assert not any(it.startswith("access-control") for it in headers)
    return status, json.loads(body)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:15672", "LOCALHOST.", "127.0.0.1:1", "127.1.2.3", "[::1]:15672",
     "[::1]", "logs.example:80", "LOGS.example."],
)  # fmt: skip
def test_where_nobody_logs_in_this_machine_may_be_asked_by_its_names(host):
    house = House(users=(), names=frozenset(["logs.example"]))
    assert from_browser(house, "/any", host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:15672", "localhost.evil.example", "127.0.0.1.evil.example",
     "192.0.2.7", "[2001:db8::1]", "evil", "", ":15672", "localhost@evil.example", "\u00e4",
     "[::1", "0.0.0.0", "localhost evil"],
)  # fmt: skip
def test_where_nobody_logs_in_another_name_for_us_is_refused(host):
    house = House(users=())
    for target in ("/any", "/open"):
        status, answer = from_browser(house, target, host=host)
        assert status == 403
        assert "http.hosts" in answer["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("192.0.2.7:15672", 200), ("logs", 200), ("localhost", 200), ("[2001:db8::1]", 200),
     ("evil.example", 403), ("", 403)],
)  # fmt: skip
def test_beyond_this_machine_an_address_is_a_name_of_ours(host, status):
    house = House(users=())
    assert from_browser(house, "/any", host=host, address=("192.0.2.7", 15672))[0] == status


def test_where_one_has_to_log_in_any_name_will_do(house):
    assert from_browser(house, "/any", basic("ana"), host="logs.example")[0] == 200


@pytest.mark.parametrize("users", [(), USERS])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([OURS], 200),
        ([OURS, "origin: http://localhost:15672"], 200),
        ([OURS, "origin: http://LOCALHOST:15672", "sec-fetch-site: same-origin"], 200),
        ([OURS, "sec-fetch-site: none"], 200),
        ([], 403),
        (["content-type: text/plain", "origin: http://evil.example"], 403),
        ([OURS, "origin: http://evil.example"], 403),
        ([OURS, "origin: http://localhost:3000"], 403),
        ([OURS, "origin: null"], 403),
        ([OURS, "sec-fetch-site: cross-site"], 403),
        ([OURS, "sec-fetch-site: same-site"], 403),
        ([OURS, "sec-fetch-site: cross-site", "origin: http://localhost:15672"], 403),
    ],
)
def test_a_page_of_another_changes_nothing(users, headers, status):
    house = House(users=users)
    cookie = log_in(house)[0] if users else "x: y"
    assert from_browser(house, "/any", cookie, *headers, method="POST")[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        (["sec-fetch-site: cross-site"], 403),
        (["origin: http://evil.example"], 403),
        (["sec-fetch-site: cross-site", "sec-fetch-mode: navigate", "sec-fetch-dest: iframe"], 403),
        (["sec-fetch-site: cross-site", "sec-fetch-mode: navigate", "sec-fetch-dest: document"],
         200),
    ],
)  # fmt: skip
def test_a_page_of_another_may_lead_here_and_not_look(headers, status):
    house = House(users=())
    assert from_browser(house, "/any", *headers)[0] == status
    assert from_browser(house, "/open", *headers)[0] == 200


def test_a_tool_with_a_password_needs_no_other_header(house):
    assert house.status("/any", basic("ana"), method="POST") == 200
    assert House(users=()).status("/any", basic("x"), "host: x", method="POST") == 400  # two hosts
    status, _ = from_browser(House(users=()), "/any", basic("x"), method="POST")
    assert status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [([OURS], 200), ([], 403), (["content-type: text/plain"], 403)],
)
def test_a_password_that_a_browser_remembers_is_no_sign_of_our_page(headers, status):
    house = House(names=frozenset(["logs.example"]))
    other = "origin: http://logs.example:8080"  # on another port, or what a proxy has there
    more = {"method": "POST", "host": "logs.example:15672"}
    assert from_browser(house, "/any", basic("ana"), other, *headers, **more)[0] == status


def test_a_proxy_may_have_a_name_of_its_own(house):
    house = House(names=frozenset(["logs.example"]))
    cookie, _, _ = log_in(house)
    for origin, status in (("https://logs.example", 200), ("https://evil.example", 403)):
        found = from_browser(house, "/any", cookie, OURS, f"origin: {origin}", method="POST")
        assert found[0] == status


def test_a_path_prefix_that_a_proxy_leaves_is_taken_off():
    house = House(users=(), prefix=b"/logs")
    assert from_browser(house, "/logs/any")[0] == 200
    assert from_browser(house, "/any")[0] == 200
    assert from_browser(house, "/logsany")[0] == 404
    for target in ("/logs/nothing", "/logs/api/nothing"):
        status, answer = from_browser(house, target)
        assert (status, "reason" in answer) == (404, "api" in target)  # as RabbitMQ has it
    peer = house.peer()
    for target, place in (("/logs", "/logs/"), ("/logs?a=1", "/logs/?a=1")):
        [(status, headers, _)] = answers(peer.say(request("GET", target)))
        assert (status, headers["location"]) == (308, place)


def test_every_answer_forbids_a_browser_to_guess_to_keep_and_to_frame(house):
    for target in ("/open", "/any", "/nothing"):
        _, headers, _ = house.ask(target)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["date"] == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_options_says_what_there_is_and_nothing_to_other_pages(house):
    peer = house.peer()
    head = request("OPTIONS", "/any", b"", "origin: http://evil.example")
    [(status, headers, body)] = answers(peer.say(head))
    assert (status, headers["allow"], body) == (204, "GET, POST, HEAD, OPTIONS", b"")
    assert not any(it.startswith("access-control") for it in headers)
    assert house.status("/open") == 200


# What one may

RULES = (
    KeptRule("ana", "describe", "topic", "seen"),
    KeptRule("ana", "read", "topic", "read"),
    KeptRule("ana", "describe", "queue", "mail"),
    KeptRule("ana", "describe", "queue", "shop:mail"),
    KeptRule("ana", "read", "topic", "news"),
    KeptRule("none", "all", "topic", "*"),
)


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/open", "nobody none ana mon root"),
        ("/any", "ana mon root"),
        ("/sees", "mon root"),
        ("/all", "root"),
        ("/own", ""),
        ("/topics/seen", "ana mon root"),
        ("/topics/read", "ana mon root"),
        ("/topics/other", "mon root"),
        ("/topics/seen/records", "root"),
        ("/topics/read/records", "ana root"),
        ("/topics/news/records", "root"),  # it is a channel's, which has other rules
        ("/topics/__queue.mail", "ana mon root"),  # it is a queue's
        ("/queues/mail", "ana mon root"),
        ("/queues/mail?vhost=shop", "ana mon root"),
        ("/queues/mail?vhost=other", "mon root"),
        ("/queues/shop:mail", "mon root"),
    ],
)
def test_each_may_what_tags_and_rules_say(target, allowed):
    house = House(rules=RULES)
    found = [it.name for it in USERS if house.status(target, basic(it.name)) == 200]
    nobody = house.status(target)
    assert nobody == (200 if "nobody" in allowed else 403 if target == "/own" else 401)
    assert sorted(found) == sorted(it for it in allowed.split() if it != "nobody")


@pytest.mark.parametrize("target", ["/any", "/sees", "/all", "/topics/t", "/topics/t/records"])
def test_while_there_are_no_users_everyone_may_do_everything_but_what_is_the_owners(target):
    assert from_browser(House(users=()), target)[0] == 200
    assert from_browser(House(users=()), "/own")[0] == 403
    owner = HttpPeer(router=Router(TABLE), access=House().access)
    for each in (target, "/own"):
        [(status, _, _)] = answers(owner.say(request("GET", each)))
        assert status == 200


def test_whether_an_object_is_there_is_not_told_to_whom_it_is_not_to_be_shown():
    house = House(rules=RULES)
    _, _, answer = house.ask("/topics/other", basic("ana"))
    assert answer == {"error": "user 'ana' may not describe topic 'other'", "kind": "Forbidden"}


def test_what_is_refused_is_told(caplog):
    House(rules=RULES).ask("/topics/other", basic("ana"))
    assert "User:ana from 192.0.2.1: describe topic other: refused: no rule" in caplog.text


def test_a_tag_that_is_missing_is_told(caplog):
    house = House()
    assert house.status("/all", basic("mon")) == 403
    assert house.status("/any", basic("none")) == 403
    assert "User:mon from 192.0.2.1: GET path /all: refused: it needs the tag admin" in caplog.text
    assert "User:none from 192.0.2.1: GET path /any: refused: it needs the tag man" in caplog.text


@pytest.mark.parametrize(
    ("user", "target", "reason"),
    [("none", "/api/overview", "Not management user"), ("ana", "/api/nodes", "Not monitor user"),
     ("mon", "/api/users", "Not administrator user")],
)  # fmt: skip
def test_rabbitmqs_tools_hear_as_from_rabbitmq_what_their_user_lacks(house, user, target, reason):
    house.come = lambda door, **more: HttpPeer(who=None, door=door, **more)
    status, headers, answer = house.ask(target, basic(user))
    assert (status, answer) == (401, {"error": "not_authorised", "reason": reason})
    assert "www-authenticate" not in headers


def test_rabbitmqs_tools_are_refused_in_its_words(house):
    for target, status, error in (
        ("/api/nothing", 404, "Object Not Found"),
        ("/api/v1/nothing", 404, "no such path: /api/v1/nothing"),
    ):
        found, _, answer = house.ask(target)
        assert (found, answer["error"]) == (status, error)


# Every route there is


def filled(route):
    """A path of it, with some name for each of its names."""
    return "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))


# Who may, of those below, by the level that a row asks for.
FROM = {
    asks.NOBODY: ["", "none", "ana", "mon", "root"],
    asks.ANYBODY: ["", "none", "ana", "mon", "root"],
    asks.MANAGEMENT: ["ana", "mon", "root"],
    asks.POLICYMAKER: ["root"],
    asks.MONITORING: ["mon", "root"],
    asks.ADMINISTRATOR: ["root"],
    asks.LOCAL: [],
}


def may(ask):
    if ask.operation:  # ana has no rule; mon sees facts
        return ["mon", "root"] if ask.operation in ("describe", "describe-configs") else ["root"]
    return FROM[ask.level]


def test_no_route_is_for_whoever_its_row_does_not_name():
    house = House(rules=[KeptRule("none", "all", kind, "*") for kind in KINDS])
    router = Router([it._replace(handler=reached) for it in REAL])
    peers = {
        name: HttpPeer(router=router, who=None, door=house.door)
        for name in ("", "none", "ana", "mon", "root")
    }
    for route in REAL:
        allowed, found = may(route.asks), {}
        for name, peer in peers.items():
            said = request(route.method, filled(route), b"", basic(name) if name else OURS)
            [(found[name], _, _)] = answers(peer.say(said))
        refusal = 401 if is_rabbits(route.path.encode()) else 403  # as RabbitMQ has it
        refused = {name: refusal for name in peers if name not in allowed}
        if "" in refused and route.asks.level != asks.LOCAL:
            refused[""] = 401
        assert found == dict.fromkeys(allowed, 200) | refused, (route.method, route.path)
