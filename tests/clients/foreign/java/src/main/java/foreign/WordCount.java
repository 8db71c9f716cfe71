package foreign;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/** Kafka Streams' word count: from one topic into another, until its input ends. */
final class WordCount {
  private WordCount() {}

  static void run(String address, JsonNode told) throws Exception {
    Properties config = Told.at(address);
    config.put("application.id", told.get("application").asText());
    config.put("state.dir", told.get("state").asText());
    config.put("default.key.serde", Serdes.StringSerde.class);
    config.put("default.value.serde", Serdes.StringSerde.class);
    config.put("processing.guarantee", told.path("guarantee").asText("at_least_once"));
    config.put("commit.interval.ms", told.path("commit_ms").asInt(500));
    config.put("session.timeout.ms", 6000);
    config.put("auto.offset.reset", "earliest");
    StreamsBuilder builder = new StreamsBuilder();
    KStream<String, String> lines = builder.stream(told.get("from").asText());
    lines
        .flatMapValues(it -> Arrays.asList(it.toLowerCase(Locale.ROOT).split("\\W+")))
        .groupBy((key, word) -> word)
        .count(Materialized.as("counts"))
        .toStream()
        .to(told.get("into").asText(), Produced.with(Serdes.String(), Serdes.Long()));
    KafkaStreams streams = new KafkaStreams(builder.build(), config);
    streams.setStateListener((now, before) -> say(now.toString()));
    streams.start();
    while (System.in.read() >= 0) {}
    streams.close(Duration.ofSeconds(30));
  }

  private static void say(String state) {
    try {
      Told.say(Map.of("state", state));
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }
}
