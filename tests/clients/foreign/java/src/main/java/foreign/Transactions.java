package foreign;

import com.fasterxml.jackson.databind.JsonNode;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Transactional producers, each known by its id, step by step. */
final class Transactions {
  private final String address;
  private final Map<String, KafkaProducer<String, String>> producers = new HashMap<>();

  Transactions(String address) {
    this.address = address;
  }

  void offer(Map<String, Told.Deed> deeds) {
    deeds.put("tx_init", this::init);
    deeds.put("tx_begin", this::begin);
    deeds.put("tx_send", this::send);
    deeds.put("tx_offsets", this::offsets);
    deeds.put("tx_end", this::end);
    deeds.put("tx_close", this::close);
    deeds.put("tx_copy", this::copy);
    deeds.put("tx_state", this::state);
    deeds.put("tx_resume", this::resume);
  }

  private KafkaProducer<String, String> producer(JsonNode told) {
    Properties config = Told.at(address);
    config.put("transactional.id", told.get("id").asText());
    config.put("transaction.timeout.ms", told.path("timeout_ms").asInt(60_000));
    config.put("linger.ms", 0);
    return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
  }

  /** Two producers may have the same id, and be told apart by another word. */
  private static String word(JsonNode told) {
    return told.path("as").asText(told.get("id").asText());
  }

  private KafkaProducer<String, String> of(JsonNode told) {
    return producers.get(word(told));
  }

  private Object init(JsonNode told) {
    KafkaProducer<String, String> producer = producer(told);
    KafkaProducer<String, String> before = producers.put(word(told), producer);
    if (before != null) {
      before.close(Duration.ZERO);
    }
    producer.initTransactions();
    return Map.of();
  }

  private Object begin(JsonNode told) {
    of(told).beginTransaction();
    return Map.of();
  }

  private Object send(JsonNode told) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    for (JsonNode it : told.get("records")) {
      sent.add(
          of(told)
              .send(
                  new ProducerRecord<>(
                      told.get("topic").asText(),
                      it.path("partition").asInt(0),
                      Told.text(it.get("key")),
                      Told.text(it.get("value")))));
    }
    List<Long> offsets = new ArrayList<>();
    for (Future<RecordMetadata> it : sent) {
      offsets.add(it.get().offset());
    }
    return Map.of("offsets", offsets);
  }

  private Object offsets(JsonNode told) {
    of(told)
        .sendOffsetsToTransaction(
            Map.of(
                new TopicPartition(told.get("topic").asText(), told.path("partition").asInt(0)),
                new OffsetAndMetadata(told.get("offset").asLong())),
            new ConsumerGroupMetadata(told.get("group").asText()));
    return Map.of();
  }

  private Object end(JsonNode told) {
    if (told.get("commit").asBoolean()) {
      of(told).commitTransaction();
    } else {
      of(told).abortTransaction();
    }
    return Map.of();
  }

  private Object close(JsonNode told) {
    producers.remove(word(told)).close(Duration.ZERO);
    return Map.of();
  }

  /** Consume, transform, produce: until so many records of a topic are copied. */
  private Object copy(JsonNode told) throws Exception {
    Properties config = Told.at(address);
    config.put("group.id", told.get("group").asText());
    config.put("isolation.level", "read_committed");
    config.put("enable.auto.commit", "false");
    config.put("auto.offset.reset", "earliest");
    config.put("max.poll.records", 7);
    int left = told.get("count").asInt();
    int transactions = 0;
    long end = System.nanoTime() + Duration.ofSeconds(40).toNanos();
    try (KafkaConsumer<String, String> consumer =
            new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        KafkaProducer<String, String> producer = producer(told)) {
      producer.initTransactions();
      consumer.subscribe(List.of(told.get("from").asText()));
      while (left > 0 && System.nanoTime() < end) {
        ConsumerRecords<String, String> found = consumer.poll(Duration.ofMillis(200));
        if (found.isEmpty()) {
          continue;
        }
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
        for (ConsumerRecord<String, String> it : found) {
          producer.send(
              new ProducerRecord<>(
                  told.get("into").asText(), it.partition(), it.key(), "copied " + it.value()));
          done.put(
              new TopicPartition(it.topic(), it.partition()),
              new OffsetAndMetadata(it.offset() + 1));
        }
        producer.sendOffsetsToTransaction(done, consumer.groupMetadata());
        producer.commitTransaction();
        left -= found.count();
        transactions++;
      }
    }
    return Map.of("left", left, "transactions", transactions);
  }

  // What Flink's sink does, by reflection: it goes on with a transaction of another process

  private Object state(JsonNode told) throws Exception {
    Object its = field(field(of(told), "transactionManager"), "producerIdAndEpoch");
    return Map.of("producer_id", field(its, "producerId"), "epoch", field(its, "epoch"));
  }

  private Object resume(JsonNode told) throws Exception {
    KafkaProducer<String, String> producer = producer(told);
    producers.put(word(told), producer);
    Object manager = field(producer, "transactionManager");
    synchronized (manager) {
      Class<?> states = Class.forName(manager.getClass().getName() + "$State");
      Method move = manager.getClass().getDeclaredMethod("transitionTo", states);
      move.setAccessible(true);
      move.invoke(manager, constant(states, "INITIALIZING"));
      Object partitions = field(manager, "txnPartitionMap");
      Method reset = partitions.getClass().getDeclaredMethod("reset");
      reset.setAccessible(true);
      reset.invoke(partitions);
      Field its = manager.getClass().getDeclaredField("producerIdAndEpoch");
      its.setAccessible(true);
      Constructor<?> made = its.getType().getDeclaredConstructor(long.class, short.class);
      made.setAccessible(true);
      its.set(
          manager,
          made.newInstance(told.get("producer_id").asLong(), (short) told.get("epoch").asInt()));
      move.invoke(manager, constant(states, "READY"));
      move.invoke(manager, constant(states, "IN_TRANSACTION"));
      Field started = manager.getClass().getDeclaredField("transactionStarted");
      started.setAccessible(true);
      started.set(manager, true);
    }
    return Map.of();
  }

  private static Object field(Object its, String name) throws Exception {
    Field found = its.getClass().getDeclaredField(name);
    found.setAccessible(true);
    return found.get(its);
  }

  private static Object constant(Class<?> states, String name) {
    for (Object it : states.getEnumConstants()) {
      if (it.toString().equals(name)) {
        return it;
      }
    }
    throw new IllegalArgumentException(name);
  }
}
