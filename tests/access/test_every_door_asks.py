"""Each door has a test of who may send each of its requests: by nobody, by users without the right,
by users with it. It is made from the door's own table, and fails where a request lacks.
"""

import pytest
from named_tests import is_there

from logstore.doors import DOORS

# By the door: the file, its test that no request lacks, and one that goes through them all.
MATRICES = {
    "kafka": ("kafka/test_rights.py", "every_right_that_the_table_names_is_asked_for",
              "whoever_lacks_a_right_is_refused_by_its_code_and_that_is_told"),
    "resp": ("resp/test_resp_matrix.py", "it_is_said_what_each_command_asks",
             "without_rules_only_that_is_allowed_which_concerns_nobody_else"),
    "amqp": ("amqp/test_amqp_permissions.py", "each_method_has_a_sample_and_its_rights",
             "who_lacks_one_right_is_told_which"),
    "mqtt": ("mqtt/test_mqtt_matrix.py", "every_packet_of_a_client_and_every_act_has_a_sample",
             "without_its_right_it_is_refused_and_nothing_is_done"),
    "stomp": ("stomp/test_stomp_matrix.py", "every_frame_of_a_client_has_a_sample",
              "without_one_of_its_rights_it_is_refused_and_nothing_is_done"),
    "http": ("http/test_http_logins.py", "no_route_is_for_whoever_its_row_does_not_name",
             "no_route_is_for_whoever_its_row_does_not_name"),
}  # fmt: skip


def test_every_door_has_its_matrix():
    assert MATRICES.keys() == {it.name for it in DOORS}


@pytest.mark.parametrize("door", MATRICES)
def test_a_matrix_has_its_tests(door):
    file, *names = MATRICES[door]
    assert [it for it in names if not is_there(f"protocols/{file}::{it}")] == []
