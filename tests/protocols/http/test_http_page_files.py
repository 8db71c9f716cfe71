"""The files of the page: as they are, told apart by what they say, and nothing else besides."""

import gzip

import pytest
from http_kit import HttpPeer, answers, request

from logstore.page_files import KINDS, PageFiles

FILES = {
    "index.html": b"<!doctype html>" + b"<p>hello</p>" * 100,
    "page.css": b"p{}",
    "views/topics.js": b"export {};" * 100,
    "icon.svg": b"<svg/>",
    "notes.py": b"import this",
}


@pytest.fixture
def peer(tmp_path):
    for name, data in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (tmp_path.parent / "secret.txt").write_bytes(b"a secret")
    return HttpPeer(page=PageFiles(str(tmp_path)), who=None)


def get(peer, target, *headers, method="GET"):
    heads = (0,) if method == "HEAD" else ()
    said = request(method, target, b"", *headers).replace(b"host: x", b"host: localhost")
    [found] = answers(peer.say(said), heads=heads)
    return found


@pytest.mark.parametrize("name", ["page.css", "views/topics.js", "icon.svg"])
def test_a_file_is_sent_as_it_is(peer, name):
    status, headers, body = get(peer, f"/{name}")
    assert (status, body) == (200, FILES[name])
    assert headers["content-type"] == KINDS[f".{name.rpartition('.')[2]}"]
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("target", ["/", "/index.html", "/?x=1", "/#x", "http://localhost/"])
def test_the_page_itself_is_at_the_root(peer, target):
    status, headers, body = get(peer, target)
    if target == "/#x":  # which no browser sends
        assert status == 404
        return
    assert (status, body) == (200, FILES["index.html"])
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "target",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/views/../../secret.txt",
     "/./page.css", "//page.css", "/page.css/", "/views", "/views/", "/notes.py", "/PAGE.CSS",
     "/page.css%00", "/..\\secret.txt", "/%ff", "/etc/passwd", "/api", "/api/v1", "/api/v1/",
     "/views/topics.js.map"],
)  # fmt: skip
def test_nothing_else_is_there(peer, target):
    status, headers, body = get(peer, target)
    assert status == 404
    assert headers["content-type"] == "application/json"
    assert b"secret" not in body.replace(b"secret.txt", b"")


def test_a_browser_that_has_a_file_is_told_that_it_is_the_same(peer):
    _, headers, _ = get(peer, "/page.css")
    tag = headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        status, headers, body = get(peer, "/page.css", f"if-none-match: {known}")
        assert (status, body, headers["etag"]) == (304, b"", tag)
        assert "content-length" not in headers
    status, _, body = get(peer, "/page.css", 'if-none-match: "other"')
    assert (status, body) == (200, FILES["page.css"])


def test_a_head_has_the_length_and_no_body(peer):
    status, headers, body = get(peer, "/page.css", method="HEAD")
    assert (status, headers["content-length"], body) == (200, "3", b"")
    status, _, _ = get(peer, "/nothing", method="HEAD")
    assert status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_files_are_only_read(peer, method):
    status, _, _ = get(peer, "/page.css", "x-logstore: 1", method=method)
    assert status == 404


def test_who_takes_gzip_gets_it_where_it_is_shorter(peer):
    _, plain, _ = get(peer, "/")
    status, headers, body = get(peer, "/", "accept-encoding: br, gzip;q=0.8")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(body) == FILES["index.html"]
    assert len(body) < len(FILES["index.html"]) / 2
    assert headers["vary"] == plain["vary"] == "accept-encoding"
    assert headers["etag"] != plain["etag"]
    tag = f"if-none-match: {headers['etag']}"
    assert get(peer, "/", "accept-encoding: gzip", tag)[0] == 304
    for words in ("accept-encoding: gzip;q=0", "accept-encoding: br", "accept-encoding: gzip; q=0"):
        assert "content-encoding" not in get(peer, "/", words)[1]
    assert "content-encoding" not in get(peer, "/page.css", "accept-encoding: gzip")[1]


def test_files_are_read_once_and_by_a_worker(tmp_path):
    (tmp_path / "index.html").write_bytes(b"one")
    jobs = []
    peer = HttpPeer(page=PageFiles(str(tmp_path)))
    object.__setattr__(peer.door, "work", lambda job, done: jobs.append((job, done)))
    other = HttpPeer(door=peer.door)
    assert peer.say(request("GET", "/")) == other.say(request("GET", "/")) == b""
    [(job, done)] = jobs
    done(job())
    assert [answers(it.out())[0][2] for it in (peer, other)] == [b"one", b"one"]
    (tmp_path / "index.html").write_bytes(b"two")
    assert answers(peer.say(request("GET", "/")))[0][2] == b"one"
    assert len(jobs) == 1


def test_files_that_cannot_be_read_are_not_there_and_looked_for_again(tmp_path):
    directory = tmp_path / "page"
    peer = HttpPeer(page=PageFiles(str(directory)))
    assert answers(peer.say(request("GET", "/")))[0][0] == 404
    directory.mkdir()
    (directory / "index.html").write_bytes(b"here")
    assert answers(peer.say(request("GET", "/")))[0][2] == b"here"
