package foreign;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.InputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A group's member: tells of each batch of records, then commits it. Ends when its input ends. */
final class Member {
  private final KafkaConsumer<String, String> consumer;

  private Member(Properties config) {
    consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
  }

  static void run(String address, JsonNode told) throws Exception {
    Member member = new Member(config(address, told));
    Thread ending = new Thread(member::endWithInput);
    ending.setDaemon(true);
    ending.start();
    member.consume(told);
  }

  private static Properties config(String address, JsonNode told) {
    Properties config = Told.at(address);
    config.put("group.id", told.get("group").asText());
    config.put("auto.offset.reset", "earliest");
    config.put("metadata.max.age.ms", "1000"); // how soon more partitions are seen
    config.put("enable.auto.commit", "false");
    String protocol = told.path("protocol").asText("classic");
    config.put("group.protocol", protocol);
    if (protocol.equals("classic")) { // by KIP-848 these are the server's
      config.put("session.timeout.ms", "6000");
      config.put("heartbeat.interval.ms", "500");
      if (told.has("assignor")) {
        config.put("partition.assignment.strategy", told.get("assignor").asText());
      }
    } else if (told.has("assignor")) {
      config.put("group.remote.assignor", told.get("assignor").asText());
    }
    if (told.has("instance")) {
      config.put("group.instance.id", told.get("instance").asText());
    }
    return config;
  }

  private void endWithInput() {
    try (InputStream input = System.in) {
      while (input.read() >= 0) {}
    } catch (java.io.IOException error) {
      throw new java.io.UncheckedIOException(error);
    } finally {
      consumer.wakeup();
    }
  }

  private void subscribe(JsonNode told) {
    if (told.has("pattern")) {
      consumer.subscribe(Pattern.compile(told.get("pattern").asText()), new Telling());
    } else {
      consumer.subscribe(List.of(told.get("topic").asText()), new Telling());
    }
  }

  private void consume(JsonNode told) throws Exception {
    try (consumer) {
      subscribe(told);
      while (true) {
        ConsumerRecords<String, String> records = poll();
        if (!records.isEmpty()) {
          tell(records);
          commit();
        }
      }
    } catch (WakeupException ending) {
      Told.say(Map.of("ended", true));
    }
  }

  private ConsumerRecords<String, String> poll() {
    try {
      return consumer.poll(Duration.ofSeconds(1));
    } catch (UnknownMemberIdException error) { // after it hung; it has joined anew
      System.err.println("poll: " + error);
      return ConsumerRecords.empty();
    }
  }

  private void tell(ConsumerRecords<String, String> records) throws Exception {
    List<List<Object>> found = new ArrayList<>();
    for (ConsumerRecord<String, String> it : records) {
      found.add(List.of(it.partition(), it.offset(), it.value()));
    }
    Told.say(Map.of("records", found));
  }

  private void commit() throws Exception {
    Map<Integer, Long> positions = new TreeMap<>();
    for (TopicPartition it : consumer.assignment()) {
      positions.put(it.partition(), consumer.position(it));
    }
    try {
      consumer.commitSync();
    } catch (RebalanceInProgressException | CommitFailedException error) {
      System.err.println("not committed: " + error); // poll finds out what to go on with
      return;
    }
    Told.say(Map.of("committed", positions));
  }

  private static final class Telling implements ConsumerRebalanceListener {
    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> given) {
      say("assigned", given);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> taken) {
      say("revoked", taken);
    }

    private static void say(String what, Collection<TopicPartition> partitions) {
      try {
        Told.say(Map.of(what, partitions.stream().map(TopicPartition::partition).toList()));
      } catch (Exception error) {
        throw new IllegalStateException(error);
      }
    }
  }
}
