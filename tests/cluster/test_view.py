"""What nodes say of the topics of a cluster, and what is not believed."""

from types import SimpleNamespace as Said

from logstore.cluster.view import NO_EPOCH, NO_NODE, Led, View, partitions_of


def partition(number, leader=1, epoch=0):
    return Said(partition_index=number, leader_id=leader, leader_epoch=epoch)


def answer(*partitions, id_=b"\x01" * 16):
    topic = Said(error_code=0, name="t", topic_id=id_, partitions=partitions)
    broker = Said(node_id=1, host="kafka-1", port=9092, rack=None)
    return Said(brokers=[broker], topics=[topic], controller_id=1, cluster_id="c")


def test_partitions_are_known_by_their_leaders():
    view = View()
    assert view.take(answer(partition(2, 1, 4), partition(0, 1, 3)), None)
    assert view.topics["t"].partitions == (Led(1, 3), Led(NO_NODE, NO_EPOCH), Led(1, 4))
    assert not view.take(answer(partition(2, 1, 4), partition(0, 1, 3)), None)


def test_an_older_epoch_is_not_believed_of_the_same_topic():
    view = View()
    view.take(answer(partition(0, 1, 5)), None)
    view.take(answer(partition(0, 2, 4)), None)
    assert view.topics["t"].partitions == (Led(1, 5),)
    view.take(answer(partition(0, 2, 4), id_=b"\x02" * 16), None)
    assert view.topics["t"].partitions == (Led(2, 4),)


def test_numbers_that_no_partition_has_take_no_room():
    view = View()
    said = answer(partition(0), partition(-5), partition(2**31 - 1))
    view.take(said, None)
    assert view.topics["t"].partitions == (Led(1, 0),)
    assert partitions_of(said.topics[0]) == 1
    assert partitions_of(answer(partition(-5)).topics[0]) == 0
