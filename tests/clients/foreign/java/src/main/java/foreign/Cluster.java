package foreign;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** The admin client. */
final class Cluster implements AutoCloseable {
  private final Admin admin;

  Cluster(String address) {
    admin = Admin.create(Told.at(address));
  }

  @Override
  public void close() {
    admin.close();
  }

  void offer(Map<String, Told.Deed> deeds) {
    deeds.put("nodes", this::nodes);
    deeds.put("topics", told -> Map.of("topics", admin.listTopics().names().get()));
    deeds.put("create", this::create);
    deeds.put("partitions", this::partitions);
    deeds.put("grow", this::grow);
    deeds.put("delete", this::delete);
    deeds.put("settings", this::settings);
    deeds.put("set", this::set);
    deeds.put("ends", this::ends);
    deeds.put("delete_records", this::deleteRecords);
    deeds.put("groups", this::groups);
    deeds.put("group", this::group);
    deeds.put("committed", this::committed);
    deeds.put("reset", this::reset);
    deeds.put("delete_group", this::deleteGroup);
  }

  private static String topic(JsonNode told) {
    return told.get("topic").asText();
  }

  private static Object done() {
    return Map.of();
  }

  private Object nodes(JsonNode told) throws Exception {
    List<String> nodes = new ArrayList<>();
    admin.describeCluster().nodes().get().forEach(it -> nodes.add(it.host() + ":" + it.port()));
    return Map.of("nodes", nodes);
  }

  private Object create(JsonNode told) throws Exception {
    Map<String, String> config = new HashMap<>();
    told.path("config").fields().forEachRemaining(it -> config.put(it.getKey(), it.getValue().asText()));
    NewTopic made =
        new NewTopic(topic(told), Optional.of(told.path("partitions").asInt(1)), Optional.empty());
    admin.createTopics(List.of(made.configs(config))).all().get();
    return done();
  }

  private Object partitions(JsonNode told) throws Exception {
    return Map.of(
        "partitions",
        admin
            .describeTopics(List.of(topic(told)))
            .allTopicNames()
            .get()
            .get(topic(told))
            .partitions()
            .size());
  }

  private Object grow(JsonNode told) throws Exception {
    NewPartitions count = NewPartitions.increaseTo(told.get("partitions").asInt());
    admin.createPartitions(Map.of(topic(told), count)).all().get();
    return done();
  }

  private Object delete(JsonNode told) throws Exception {
    admin.deleteTopics(List.of(topic(told))).all().get();
    return done();
  }

  private Object settings(JsonNode told) throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(told));
    Map<String, List<Object>> found = new TreeMap<>();
    for (ConfigEntry it :
        admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
      found.put(it.name(), Arrays.asList(it.value(), it.isDefault()));
    }
    return Map.of("settings", found);
  }

  private Object set(JsonNode told) throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic(told));
    Collection<AlterConfigOp> changes = new ArrayList<>();
    told.get("config")
        .fields()
        .forEachRemaining(
            it ->
                changes.add(
                    new AlterConfigOp(
                        new ConfigEntry(it.getKey(), Told.text(it.getValue())),
                        it.getValue().isNull()
                            ? AlterConfigOp.OpType.DELETE
                            : AlterConfigOp.OpType.SET)));
    admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
    return done();
  }

  private Object ends(JsonNode told) throws Exception {
    TopicPartition place = new TopicPartition(topic(told), told.path("partition").asInt(0));
    return Map.of(
        "start", offset(place, OffsetSpec.earliest()), "end", offset(place, OffsetSpec.latest()));
  }

  private long offset(TopicPartition place, OffsetSpec which) throws Exception {
    return admin.listOffsets(Map.of(place, which)).partitionResult(place).get().offset();
  }

  private Object deleteRecords(JsonNode told) throws Exception {
    TopicPartition place = new TopicPartition(topic(told), told.path("partition").asInt(0));
    RecordsToDelete before = RecordsToDelete.beforeOffset(told.get("before").asLong());
    admin.deleteRecords(Map.of(place, before)).all().get();
    return done();
  }

  @SuppressWarnings("deprecation") // Kafka 3.9 has no other
  private Object groups(JsonNode told) throws Exception {
    TreeSet<String> names = new TreeSet<>();
    admin.listConsumerGroups().all().get().forEach(it -> names.add(it.groupId()));
    return Map.of("groups", names);
  }

  @SuppressWarnings("deprecation") // as above
  private Object group(JsonNode told) throws Exception {
    String name = told.get("group").asText();
    ConsumerGroupDescription found =
        admin.describeConsumerGroups(List.of(name)).all().get().get(name);
    TreeSet<Integer> partitions = new TreeSet<>();
    found
        .members()
        .forEach(it -> it.assignment().topicPartitions().forEach(at -> partitions.add(at.partition())));
    return Map.of(
        "state", found.state().toString(),
        "members", found.members().size(),
        "partitions", partitions,
        "assignor", found.partitionAssignor());
  }

  private Object committed(JsonNode told) throws Exception {
    Map<Integer, Long> found = new TreeMap<>();
    admin
        .listConsumerGroupOffsets(told.get("group").asText())
        .partitionsToOffsetAndMetadata()
        .get()
        .forEach((place, at) -> found.put(place.partition(), at.offset()));
    return Map.of("committed", found);
  }

  private Object reset(JsonNode told) throws Exception {
    TopicPartition place = new TopicPartition(topic(told), told.path("partition").asInt(0));
    OffsetAndMetadata to = new OffsetAndMetadata(told.get("offset").asLong());
    admin.alterConsumerGroupOffsets(told.get("group").asText(), Map.of(place, to)).all().get();
    return done();
  }

  private Object deleteGroup(JsonNode told) throws Exception {
    admin.deleteConsumerGroups(List.of(told.get("group").asText())).all().get();
    return done();
  }
}
