"""Apache Kafka beside ``logstore serve``: one broker of each, the same load on both."""
