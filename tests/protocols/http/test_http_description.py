"""The OpenAPI document: of every route, valid by a checker, and true of what is answered."""

import json
import re

import pytest
from http_kit import HttpPeer, answers, request

from logstore.protocols.http.description import API
from logstore.protocols.http.native.answers import ANSWERS
from logstore.protocols.http.openapi import operation_id
from logstore.protocols.http.routes import ROUTES


def asked(peer):
    [(status, headers, body)] = answers(peer.say(request("GET", "/openapi.json")))
    assert (status, headers["content-type"]) == (200, "application/json")
    return json.loads(body)


@pytest.fixture(scope="module")
def document():
    return asked(HttpPeer())


def test_every_route_is_described(document):
    found = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert found == {(it.method, it.path) for it in ROUTES}
    ids = [operation_id(it) for it in ROUTES]
    assert len(set(ids)) == len(ids)


def test_it_is_made_once():
    jobs = []
    peer = HttpPeer()
    first = asked(peer)
    object.__setattr__(peer.door, "work", lambda *it: jobs.append(it))
    assert asked(peer) == first
    assert jobs == []


def test_each_reference_leads_to_something(document):
    schemas = document["components"]["schemas"]
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named <= schemas.keys()
    assert "Error" in named


def test_what_is_described_of_answers_is_of_routes():
    there = {f"{it.method} {it.path.removeprefix(API)}" for it in ROUTES if it.path.startswith(API)}
    assert ANSWERS.keys() <= there


def test_each_answer_in_json_is_described():
    ours = [it for it in ROUTES if it.path.startswith(API) and it.kind == "application/json"]
    there = {f"{it.method} {it.path.removeprefix(API)}" for it in ours}
    assert there - ANSWERS.keys() == {"POST /jobs"}  # which is in lines, or refused


@pytest.mark.long
def test_a_checker_finds_it_valid(document):
    checker = pytest.importorskip("openapi_spec_validator")
    checker.validate(document)
