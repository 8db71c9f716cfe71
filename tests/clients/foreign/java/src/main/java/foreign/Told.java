package foreign;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;

/** Does what each line of JSON on standard input says, and answers each with one line. */
public final class Told {
  static final ObjectMapper JSON = new ObjectMapper();

  /** What is done for one word. */
  interface Deed {
    Object done(JsonNode told) throws Exception;
  }

  private Told() {}

  /** ADDRESS; or ADDRESS, what to be, and its settings. */
  public static void main(String[] words) throws Exception {
    if (words.length == 1) {
      listen(words[0]);
    } else if (words[1].equals("member")) {
      Member.run(words[0], JSON.readTree(words[2]));
    } else {
      WordCount.run(words[0], JSON.readTree(words[2]));
    }
  }

  private static void listen(String address) throws Exception {
    Map<String, Deed> deeds = new HashMap<>();
    new Records(address).offer(deeds);
    new Transactions(address).offer(deeds);
    try (Cluster cluster = new Cluster(address)) {
      cluster.offer(deeds);
      BufferedReader lines =
          new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode told = JSON.readTree(line);
        say(answer(deeds.get(told.get("do").asText()), told));
      }
    }
  }

  private static Object answer(Deed deed, JsonNode told) {
    try {
      return deed.done(told);
    } catch (ExecutionException error) {
      return Map.of("error", error.getCause().toString());
    } catch (Exception error) {
      return Map.of("error", error.toString());
    }
  }

  static synchronized void say(Object told) throws Exception {
    System.out.write((JSON.writeValueAsString(told) + "\n").getBytes(StandardCharsets.UTF_8));
    System.out.flush();
  }

  /** A text, or null. */
  static String text(JsonNode value) {
    return value == null || value.isNull() ? null : value.asText();
  }

  static Properties at(String address) {
    Properties config = new Properties();
    config.put("bootstrap.servers", address);
    config.putAll(security());
    return config;
  }

  /** How to log in, if that has to be, in properties of the client. */
  private static Map<String, String> security() {
    String text = System.getenv().getOrDefault("KAFKA_SECURITY", "{}");
    Map<String, String> found = new HashMap<>();
    try {
      JSON.readTree(text)
          .path("properties")
          .fields()
          .forEachRemaining(it -> found.put(it.getKey(), it.getValue().asText()));
    } catch (IOException error) {
      throw new IllegalArgumentException(text, error);
    }
    return found;
  }
}
