"""What the HTTP door costs while nobody comes: nothing."""

import subprocess
import sys

import pytest

OPENED = """
import sys
import logstore
import logstore.node.node
import logstore.upkeep.desk
import logstore.protocols.http.doorway as doorway
from unittest.mock import MagicMock
doorway.open(MagicMock())
print([it for it in sys.modules if it.partition(".")[0] == "h11" or "http.session" in it])
"""


@pytest.mark.long
def test_the_library_for_http_is_imported_for_the_first_connection():
    done = subprocess.run(
        [sys.executable, "-c", OPENED], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.long
def test_who_asks_for_no_queues_has_none_of_their_model_imported():
    code = (
        "import sys, logstore.node.node, logstore.protocols.http.session; "
        "print([it for it in sys.modules if it.endswith(('queues.queue', 'queues.vhost'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
