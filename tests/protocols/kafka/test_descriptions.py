"""Symptoms that clients showed when they read descriptions of topics."""

from door_kit import Talk

from logstore.kafka.messages import describe_topic_partitions as messages


def test_java_fails_on_a_null_where_a_description_has_a_list():
    talk = Talk()
    talk.topics.create("t", 2, {})
    asked = messages.Request([messages.TopicRequest("t")])
    [topic] = talk.ask(75, 0, asked, messages.Response).topics
    for it in topic.partitions:
        lists = (it.eligible_leader_replicas, it.last_known_elr, it.offline_replicas)
        assert [list(one) for one in lists] == [[], [], []]
