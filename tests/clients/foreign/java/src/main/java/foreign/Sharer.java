package foreign;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A share group's member (KIP-932): tells of each batch of records, and of each that it could
 * commit. Ends when its input ends. Not in Kafka before 4.0, so nothing else knows it.
 *
 * <p>Where it acknowledges each record by itself, it releases those whose value ends with 3 as they
 * come for the first time, and rejects those whose value ends with 7.
 */
public final class Sharer {
  private final KafkaShareConsumer<String, String> consumer;
  private final boolean explicit;

  private Sharer(Properties config) {
    consumer =
        new KafkaShareConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    explicit = config.get("share.acknowledgement.mode").equals("explicit");
  }

  /** ADDRESS, and what to read: topic, group, mode, acquire. */
  public static void main(String[] words) throws Exception {
    JsonNode told = Told.JSON.readTree(words[1]);
    Properties config = Told.at(words[0]);
    config.put("group.id", told.get("group").asText());
    config.put("share.acknowledgement.mode", told.path("mode").asText("implicit"));
    config.put("share.acquire.mode", told.path("acquire").asText("batch_optimized"));
    config.put("max.poll.records", "50");
    Sharer sharer = new Sharer(config);
    Thread ending = new Thread(sharer::endWithInput);
    ending.setDaemon(true);
    ending.start();
    sharer.consume(told.get("topic").asText());
  }

  private void endWithInput() {
    try (InputStream input = System.in) {
      while (input.read() >= 0) {}
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    } finally {
      consumer.wakeup();
    }
  }

  private void consume(String topic) throws Exception {
    try (consumer) {
      consumer.subscribe(List.of(topic));
      while (true) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(1));
        if (!records.isEmpty()) {
          List<String> done = acknowledge(records);
          boolean failed = consumer.commitSync().values().stream().anyMatch(it -> it.isPresent());
          Told.say(Map.of(failed ? "failed" : "done", done));
        }
      }
    } catch (WakeupException ending) {
      Told.say(Map.of("ended", true));
    }
  }

  /** The values of those that are done with. */
  private List<String> acknowledge(ConsumerRecords<String, String> records) throws Exception {
    List<String> done = new ArrayList<>();
    List<List<Object>> found = new ArrayList<>();
    for (ConsumerRecord<String, String> it : records) {
      int deliveries = it.deliveryCount().orElseThrow();
      found.add(List.of(it.value(), deliveries));
      boolean released = explicit && it.value().endsWith("3") && deliveries == 1;
      if (explicit) {
        boolean rejected = it.value().endsWith("7");
        consumer.acknowledge(
            it,
            released
                ? AcknowledgeType.RELEASE
                : rejected ? AcknowledgeType.REJECT : AcknowledgeType.ACCEPT);
      }
      if (!released) {
        done.add(it.value());
      }
    }
    Told.say(Map.of("records", found));
    return done;
  }
}
