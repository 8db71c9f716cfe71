"""SCRAM as the RFC has it: its own examples, and whatever is not as it should be refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scram_client import ScramClient, b64

from logstore.access import scram
from logstore.access.logins import Found
from logstore.access.sasl import OTHER_AUTHZID, Done, Refusal
from logstore.access.scram import ScramServer
from logstore.access.scram_keys import is_key_of, key_of, keys_of, made_up, salted
from logstore.kept.users import SHA_256, SHA_512

ROUNDS = 4096
KEYS = keys_of(b"pencil", ROUNDS)
MECHANISMS = (SHA_256, SHA_512)


def server(mechanism=SHA_256, nonce="servernonce", names=("user",)):
    def find(name):
        if name in names:
            return Found(KEYS[mechanism], known=True)
        return Found(made_up(mechanism, b"secret", name, ROUNDS), known=False)

    return ScramServer(mechanism, find, lambda: nonce)


def take(conversation, token):
    steps = []
    conversation.take(token, steps.append)
    [step] = steps
    return step


def log_in(client, conversation, **wrong):
    first = take(conversation, client.first())
    return first if isinstance(first, Refusal) else take(conversation, client.final(first, **wrong))


def test_the_example_of_rfc_7677():
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    key = key_of(SHA_256, salted(SHA_256, b"pencil", salt, 4096), salt, 4096)
    conversation = ScramServer(
        SHA_256,
        lambda name: Found(key, known=name == "user"),
        lambda: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    )
    assert take(conversation, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert take(
        conversation,
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    ) == Done("user", b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("header", ["n,,", "y,,", "n,a=user,"])
def test_who_knows_the_password_comes_in_and_is_shown_that_the_server_knows_it(mechanism, header):
    client = ScramClient("user", "pencil", mechanism, header=header)
    done = log_in(client, server(mechanism))
    assert done == Done("user", client.verifier)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("name", ["user", "nobody"])
def test_a_wrong_password_and_a_name_that_nobody_has_are_told_the_same(mechanism, name):
    client = ScramClient(name, "pencil" if name == "nobody" else "brush", mechanism)
    conversation = server(mechanism)
    first = take(conversation, client.first())
    assert first.endswith(b",i=4096")
    assert take(conversation, client.final(first)) == Refusal(user=name)


def test_the_made_up_salt_of_a_name_is_always_the_same_and_another_for_each_name_and_store():
    one = made_up(SHA_256, b"secret", "nobody", ROUNDS)
    assert one == made_up(SHA_256, b"secret", "nobody", ROUNDS)
    assert len(one.salt) == len(KEYS[SHA_256].salt)
    assert len(one.stored_key) == len(KEYS[SHA_256].stored_key)
    others = [
        made_up(SHA_512, b"secret", "nobody", ROUNDS),
        made_up(SHA_256, b"other", "nobody", ROUNDS),
        made_up(SHA_256, b"secret", "nobody2", ROUNDS),
    ]
    assert len({one.salt, *(it.salt for it in others)}) == 4


@pytest.mark.parametrize(
    "nonce",
    [
        "servernonce",  # CVE-2024-56128: the end of it was enough
        "xclientnonceservernonce",
        "clientnonce",
        "clientnonceSERVERNONCE",
        "clientnonceservernonc",
        "clientnonceservernoncex",
    ],
)
def test_a_nonce_that_is_not_the_whole_one_is_refused(nonce):
    assert log_in(ScramClient("user", "pencil"), server(), nonce=nonce) == Refusal(user="user")


@pytest.mark.parametrize(
    "binding", [b64(b"y,,"), b64(b"n,a=user,"), b64(b"n,,x"), b64(b"p=x,,"), ""]
)
def test_a_header_other_than_at_first_is_refused(binding):
    assert log_in(ScramClient("user", "pencil"), server(), binding=binding) == Refusal(user="user")


@pytest.mark.parametrize("proof", [b"", b"\0" * 32, b"\0" * 31, b"\0" * 33, b"\0" * 64])
def test_a_proof_that_is_none_is_refused(proof):
    assert log_in(ScramClient("user", "pencil"), server(), proof=proof) == Refusal(user="user")


def test_what_the_client_must_not_be_told_is_what_was_wrong():
    told = {
        log_in(ScramClient("user", "brush"), server()),
        log_in(ScramClient("user", "pencil"), server(), nonce="clientnonce"),
        log_in(ScramClient("user", "pencil"), server(), binding=b64(b"y,,")),
    }
    assert told == {Refusal(user="user")}


def test_who_gets_another_password_while_he_logs_in_does_not_come_in_by_the_old_one():
    now, later = KEYS[SHA_256], keys_of(b"pencil", ROUNDS)[SHA_256]
    for then in (Found(later, known=True), Found(now, known=False)):
        kept = [then, Found(now, known=True)]
        conversation = ScramServer(SHA_256, lambda name, kept=kept: kept.pop())
        assert log_in(ScramClient("user", "pencil"), conversation) == Refusal(user="user")


def test_extensions_count_in_the_proof_as_they_were_sent():
    client = ScramClient("user", "pencil", extensions=",b=two,a=one")
    assert log_in(client, server(), extensions=",z=1,y=2") == Done("user", client.verifier)


@pytest.mark.parametrize(
    ("extensions", "last"), [(",m=x", ""), ("", ",m=x"), (",tokenauth=true", "")]
)
def test_an_extension_that_a_server_must_know_is_refused(extensions, last):
    client = ScramClient("user", "pencil", extensions=extensions)
    assert isinstance(log_in(client, server(), extensions=last), Refusal)


@pytest.mark.parametrize("header", ["p=tls-server-end-point,,", "p=tls-unique,,", "x,,", ",,", ""])
def test_channel_binding_is_refused(header):
    assert take(server(), ScramClient("user", "pencil", header=header).first()) == Refusal()


def test_who_asks_to_act_as_another_is_refused():
    token = ScramClient("user", "pencil", header="n,a=root,").first()
    assert take(server(), token) == Refusal(OTHER_AUTHZID, "user")


@pytest.mark.parametrize("name", ["a,b", "a=b", "=2C", "a b", "jos\u00e9", "\u4eba", "x" * 255])
def test_names_of_any_letters(name):
    client = ScramClient(name, "pencil")
    assert log_in(client, server(names=(name,))) == Done(name, client.verifier)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"n,,",
        b"n,,n=,r=x",
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,r=x,n=user",
        b"n,,n=us=er,r=x",
        b"n,,n=us=2cer,r=x",
        b"n,,m=x,n=user,r=x",
        b"n,,n=user,r=x,",
        b"n,,n=user,r=x,ext",
        b"n,,n=user,r=x\n",
        b"n,,n=user\0,r=x",
        b"n,,n=\xff,r=x",
        b"n,,n=user,r=caf\xc3\xa9",
        b"n,,n=" + b"u" * 5000 + b",r=x",
    ],
)
def test_a_first_message_that_is_none_is_refused(token):
    assert take(server(), token) == Refusal()


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"c=biws",
        b"c=biws,r=clientnonceservernonce",
        b"r=clientnonceservernonce,c=biws,p=AAAA",
        b"c=b!ws,r=clientnonceservernonce,p=AAAA",
        b"c=biws,r=clientnonceservernonce,p=AAA",
        b"c=biws,r=clientnonceservernonce,p=AAAA,x=y",
        b"c=biws,r=clientnonceservernonce,p=AA=A",
        b"\xff\xff",
    ],
)
def test_a_final_message_that_is_none_is_refused(token):
    conversation = server()
    take(conversation, b"n,,n=user,r=clientnonce")
    assert take(conversation, token) == Refusal(user="user")


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_garbage_is_refused_and_nothing_else(tokens):
    conversation = server()
    for token in tokens:
        step = take(conversation, token)
        assert isinstance(step, (Refusal, bytes))
        if isinstance(step, Refusal):
            break


@given(st.data())
def test_a_login_with_a_byte_changed_is_refused(data):
    client, conversation = ScramClient("user", "pencil"), server()
    final = client.final(take(conversation, client.first()))
    at = data.draw(st.integers(0, len(final) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda it: it != final[at]))
    changed = final[:at] + bytes([byte]) + final[at + 1 :]
    assert take(conversation, changed) == Refusal(user="user")


def test_a_nonce_of_ours_has_no_comma_and_comes_once():
    found = {scram._new_nonce() for _ in range(100)}
    assert len(found) == 100
    assert not any("," in it for it in found)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_password_in_the_clear_is_checked_against_the_same_key(mechanism):
    assert is_key_of(mechanism, KEYS[mechanism], b"pencil")
    assert not is_key_of(mechanism, KEYS[mechanism], b"pencils")


def test_each_key_has_a_salt_of_its_own():
    keys = [*keys_of(b"pencil", ROUNDS).values(), *KEYS.values()]
    assert len({it.salt for it in keys}) == 4
