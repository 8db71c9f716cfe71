"""Tests of the library that are run over both of its faces: the other one is ``logstore.aio``."""

import pytest
from both_faces import Opener

import logstore

# By the files' names; but those that reach into the library's own objects, or are about threads.
BOTH = {
    "test_commit_after_output": (),
    "test_library_audit": (),
    "test_library_channels": (),
    "test_library_damage": (),
    "test_library_queues": ("test_a_fork_has_no_queues",),  # nor has it the loop
    "test_library_deduplication": (),
    "test_library_shares": (
        "test_a_fork_has_no_share_groups",
        "test_a_server_in_the_process_takes_the_groups_over",
        "test_what_is_settled_behind_a_logs_end_is_not_of_records_that_come_there",
        # In threads of a test: here all is in the loop's.
        "test_who_waits_hears_of_records_and_of_what_others_give_back",
        "test_what_was_settled_before_a_kill_does_not_come_again_and_all_else_does",
    ),
    "test_library_store": (
        # Of what a topic is: here each is a handle of its own.
        "test_a_reader_sees_topics_partitions_and_settings_as_they_change",
        "test_threads_that_ask_for_a_topic_at_once_get_the_same_one",
        "test_threads_that_create_a_topic_at_once_create_it_once",
        # Ctrl-C comes to the thread that syncs: here a thread that never gets it.
        "test_ctrl_c_in_a_sync_neither_hangs_the_close_nor_loses_what_was_acknowledged",
    ),
    "test_library_transactions": (
        # In threads of a test: here all is in the loop's.
        "test_threads_have_transactions_at_once",
        "test_one_alone_takes_one_sync_by_the_thread_that_waits",
        "test_is_refused",
        "test_of_another_store_is_not",
        "test_every_error_is_one_of_ours",
    ),
    "test_library_upkeep": (),
    "test_queue_upkeep": (
        "test_by_a_process_that_uses_no_queues",  # a loop watches them from the start
    ),
    "test_scheduled_topics": (),
}
AT_ONCE = "test_who_listens_gets_what_is_published"  # the others take their time


def pytest_generate_tests(metafunc):
    name = metafunc.module.__name__.rpartition(".")[2]
    if name not in BOTH or metafunc.definition.originalname in BOTH[name]:
        return
    marks = () if metafunc.definition.originalname == AT_ONCE else pytest.mark.long
    metafunc.parametrize("face", ["", pytest.param("asyncio", marks=marks)], indirect=True)


@pytest.fixture(autouse=True)
def face(request):
    if not getattr(request, "param", ""):
        yield
        return
    opener = Opener()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logstore, "open", opener)
        if hasattr(request.module, "open_store"):
            patch.setattr(request.module, "open_store", opener)
        yield
    opener.close()
