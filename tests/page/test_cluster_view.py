"""The cluster of a node on the page; there is no word of one where the server is of none."""

import pytest
from cluster_nodes import Cluster

pytestmark = pytest.mark.foreign


@pytest.fixture
def node(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster.node("a")
    cluster.stop()


def test_it_shows_who_owns_what(browser, node):
    page = browser.page("http://{}:{}/".format(*node.http)).open("#/server/cluster")
    page.sees("Partitions of the queues' journal", "main")
    page.sees("here", "main")
    rows = page.rows("Databases of keys")
    assert [row[0] for row in rows] == [str(number) for number in range(16)]
    assert page.complaints() == []
    assert page.faults() == []


def test_a_server_of_no_cluster_has_no_such_tab(browser, store):
    page = browser.page(store.url).open("#/server")
    page.sees("Doctor", "main")
    assert "Cluster" not in page.do("return await page.locator('main').innerText()")
    assert page.faults() == []
