package foreign;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Producing, and consuming without a group. */
final class Records {
  private final String address;

  Records(String address) {
    this.address = address;
  }

  void offer(Map<String, Told.Deed> deeds) {
    deeds.put("produce", this::produce);
    deeds.put("consume", this::consume);
    deeds.put("offset_at", this::offsetAt);
  }

  private Object produce(JsonNode told) throws Exception {
    Properties config = Told.at(address);
    config.put("compression.type", told.path("compression").asText("none"));
    config.put("acks", told.path("acks").asText("all"));
    config.put("enable.idempotence", told.path("idempotent").asBoolean(false));
    config.put("batch.size", told.path("batch_size").asInt(16384));
    config.put("linger.ms", 20);
    if (told.has("transactional")) {
      config.put("transactional.id", told.get("transactional").asText());
    }
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (KafkaProducer<String, String> producer =
        new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
      if (told.has("transactional")) {
        producer.initTransactions();
        producer.beginTransaction();
      }
      for (JsonNode it : told.get("records")) {
        sent.add(producer.send(record(told.get("topic").asText(), it)));
      }
      if (told.has("transactional")) {
        producer.commitTransaction();
      }
    }
    List<Long> offsets = new ArrayList<>();
    for (Future<RecordMetadata> it : sent) {
      offsets.add(it.get().offset());
    }
    return Map.of("offsets", offsets);
  }

  private static ProducerRecord<String, String> record(String topic, JsonNode it) {
    Integer partition = it.has("partition") ? it.get("partition").asInt() : null;
    Long timestamp = it.has("timestamp") ? it.get("timestamp").asLong() : null;
    ProducerRecord<String, String> record =
        new ProducerRecord<>(
            topic, partition, timestamp, Told.text(it.get("key")), Told.text(it.get("value")));
    for (JsonNode header : it.path("headers")) {
      String value = Told.text(header.get(1));
      record
          .headers()
          .add(
              header.get(0).asText(),
              value == null ? null : value.getBytes(StandardCharsets.UTF_8));
    }
    return record;
  }

  private KafkaConsumer<String, String> consumer(Properties config) {
    return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
  }

  private Object consume(JsonNode told) {
    Properties config = Told.at(address);
    config.put("enable.auto.commit", "false");
    config.put("isolation.level", told.path("isolation").asText("read_uncommitted"));
    TopicPartition place = place(told);
    List<Object> found = new ArrayList<>();
    try (KafkaConsumer<String, String> consumer = consumer(config)) {
      consumer.assign(List.of(place));
      consumer.seek(place, told.path("offset").asLong(0));
      int count = told.get("count").asInt();
      long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
      while (found.size() < count && System.nanoTime() < end) {
        for (ConsumerRecord<String, String> it : consumer.poll(Duration.ofMillis(200))) {
          if (found.size() < count) {
            found.add(shown(it));
          }
        }
      }
    }
    return Map.of("records", found);
  }

  private static Map<String, Object> shown(ConsumerRecord<String, String> it) {
    List<List<String>> headers = new ArrayList<>();
    for (Header header : it.headers()) {
      byte[] value = header.value();
      headers.add(
          Arrays.asList(
              header.key(), value == null ? null : new String(value, StandardCharsets.UTF_8)));
    }
    Map<String, Object> record = new LinkedHashMap<>();
    record.put("offset", it.offset());
    record.put("timestamp", it.timestamp());
    record.put("key", it.key());
    record.put("value", it.value());
    record.put("headers", headers);
    return record;
  }

  private Object offsetAt(JsonNode told) {
    TopicPartition place = place(told);
    try (KafkaConsumer<String, String> consumer = consumer(Told.at(address))) {
      OffsetAndTimestamp found =
          consumer.offsetsForTimes(Map.of(place, told.get("timestamp").asLong())).get(place);
      return Map.of("offset", found == null ? -1 : found.offset());
    }
  }

  private static TopicPartition place(JsonNode told) {
    return new TopicPartition(told.get("topic").asText(), told.path("partition").asInt(0));
  }
}
