"""Topics and groups of a Kafka cluster, or of a ``logstore serve``, by its port.

All of confluent-kafka is behind here. It is imported when a cluster is spoken to, not before.
"""
