"""RabbitMQ's lists: paged, filtered, sorted, some columns of them."""

import json
from types import SimpleNamespace

import pytest
from rabbit_api import new_api

from logstore.protocols.http.call import Call
from logstore.protocols.http.rabbit import lists
from logstore.protocols.http.rabbit.lists import ROWS_OF_A_PART, WHOLE_MAX
from logstore.slices import Slices

COUNT = WHOLE_MAX + ROWS_OF_A_PART + 1


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    lives, api = new_api(tmp_path_factory.mktemp("rabbit"))
    for number, name in enumerate([b"beta", b"Alpha-2", b"alpha-1", b"gamma"]):
        api.node.declare(name, durable=bool(number % 2))
        if number:
            api.node.publish(name, *[b"x"] * number)
    yield api
    lives.end()


def names(rows):
    return [it["name"] for it in rows]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Alpha-2", "alpha-1", "beta", "gamma"]),
        ("?sort=name&sort_reverse=true", ["gamma", "beta", "alpha-1", "Alpha-2"]),
        ("?sort_reverse=true", ["gamma", "beta", "alpha-1", "Alpha-2"]),
        ("?sort=messages", ["beta", "Alpha-2", "alpha-1", "gamma"]),
        ("?sort=messages_ready&sort_reverse=true", ["gamma", "alpha-1", "Alpha-2", "beta"]),
        ("?sort=nope", ["Alpha-2", "alpha-1", "beta", "gamma"]),
        ("?sort=", ["Alpha-2", "alpha-1", "beta", "gamma"]),
        ("?name=alpha", ["Alpha-2", "alpha-1", "beta", "gamma"]),  # of pages alone
        ("?page_size=2&msg_rates_age=60&unknown=1", ["Alpha-2", "alpha-1", "beta", "gamma"]),
    ],
)
def test_a_whole_list(api, query, found):
    assert names(api.get(f"queues{query}")) == names(api.get(f"queues/%2F{query}")) == found


@pytest.mark.parametrize(
    ("query", "found", "filtered", "pages"),
    [
        ("page=1", ["Alpha-2", "alpha-1", "beta", "gamma"], 4, 1),
        ("page=2&page_size=3", ["gamma"], 4, 2),
        ("page=1&page_size=500&name=ALPHA", ["Alpha-2", "alpha-1"], 2, 1),
        ("page=1&name=%5Ealpha-%5B0-9%5D$&use_regex=true", ["Alpha-2", "alpha-1"], 2, 1),
        ("page=1&name=a$&use_regex=true&pagination=false", ["beta", "gamma"], 2, 1),
        ("page=1&name=nothing", [], 0, 0),
        ("page=1&page_size=1&sort=messages&sort_reverse=true", ["gamma"], 4, 4),
    ],
)  # fmt: skip
def test_a_page_of_it(api, query, found, filtered, pages):
    answer = api.get(f"queues?{query}")
    assert names(answer.pop("items")) == found
    assert answer.pop("page_size") in (1, 3, 100, 500)
    assert answer == {
        "filtered_count": filtered, "item_count": len(found), "page": int(query[5]),
        "page_count": pages, "total_count": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("page=0", "invalid_pagination_parameters"),
        ("page=1&page_size=0", "invalid_pagination_parameters"),
        ("page=1&page_size=501", "invalid_pagination_parameters"),
        ("page=a", "bad_request"),
        ("page=-1", "bad_request"),
        ("page=%C2%B2", "bad_request"),
        ("page=9999999999", "bad_request"),
        ("page=2", "page_out_of_range"),
        ("page=999999999", "page_out_of_range"),
        ("page=2&name=nothing", "page_out_of_range"),
        ("page=1&use_regex=true&name=(", "bad_request"),
        ("page=1&use_regex=true&name=%FF", "bad_request"),
        ("page=1&use_regex=true&name=" + "a" * 1025, "bad_request"),
        ("page=1&use_regex=true&name=((a%7B1,100%7D)%7B1,100%7D)%7B1,100%7D", "bad_request"),
    ],
)
def test_a_page_that_cannot_be_is_refused(api, query, error):
    status, answer = api.ask("GET", f"queues?{query}")
    assert (status, answer["error"]) == (400, error)


def test_columns_are_picked_also_from_within(api):
    rows = api.get("queues?columns=name,arguments.x-none,nope,policy.deep")
    assert rows[0] == {"name": "Alpha-2", "arguments": {}}
    assert api.get("queues/%2F/beta?columns=name,durable") == {"name": "beta", "durable": False}


def test_statistics_are_left_out_where_that_is_asked_for(api):
    plain = api.get("queues?disable_stats=true")[0]
    assert plain.keys() == {
        "arguments", "auto_delete", "durable", "exclusive", "name", "node", "state", "type",
        "vhost",
    }  # fmt: skip
    totals = api.get("queues?disable_stats=true&enable_queue_totals=true")[0]
    assert totals.keys() - plain.keys() == {
        "messages", "messages_ready", "messages_unacknowledged",
    }  # fmt: skip


def test_a_long_list_is_made_as_its_reader_takes_it():
    shown, given = [], []

    def show(number):
        shown.append(number)
        return {"name": str(number)}

    kind = lists.Kind(show, str, lambda it: it)
    call = SimpleNamespace(
        text=Call.text.__get__(SimpleNamespace(query={})), query={},
        stream=lambda content_type, parts: given.append(parts), over=False,
        attempt=lambda work: work(),
    )  # fmt: skip
    lists.answer(SimpleNamespace(slices=Slices()), call, range(COUNT), kind)
    [parts] = given
    assert shown == []
    first = next(parts)
    assert len(shown) == ROWS_OF_A_PART
    assert names(json.loads(first + b"".join(parts))) == [str(it) for it in range(COUNT)]


def test_exchanges_are_paged_by_name_too(api):
    answer = api.get("exchanges/%2F?page=1&page_size=2&name=topic")
    assert names(answer["items"]) == ["amq.topic"]
    assert (answer["total_count"], answer["filtered_count"]) == (7, 1)
