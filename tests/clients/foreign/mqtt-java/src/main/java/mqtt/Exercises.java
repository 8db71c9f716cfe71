package mqtt;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import mqtt.Peer.About;
import mqtt.Peer.Message;

/** One exercise with a broker, which checks itself: CLIENT HOST PORT EXERCISE. */
public final class Exercises {
  static final long DEADLINE_S = 30;
  private static final Map<String, Peer.Maker> CLIENTS =
      Map.of("paho3", Paho3::new, "paho5", Paho5::new, "hive3", Hive3::new, "hive5", Hive5::new);
  private static Peer.Maker maker;
  private static String host;
  private static int port;

  /** What may fail. */
  interface Exercise {
    void run() throws Exception;
  }

  private Exercises() {}

  public static void main(String[] words) throws Exception {
    maker = CLIENTS.get(words[0]);
    host = words[1];
    port = Integer.parseInt(words[2]);
    Map<String, Exercise> all =
        Map.of(
            "qos", Exercises::qos,
            "retained", Exercises::retained,
            "will", Exercises::will,
            "session", Exercises::session,
            "shared", Exercises::shared,
            "recovery", Exercises::recovery);
    try {
      all.get(words[3]).run();
      System.out.println("done");
      System.exit(0); // whatever threads are left
    } catch (Throwable why) {
      why.printStackTrace();
      System.exit(1);
    }
  }

  private static Peer connect(String id, About its) throws Exception {
    return maker.connect(host, port, id, its);
  }

  private static void same(Object found, Object expected) {
    if (!String.valueOf(found).equals(String.valueOf(expected))) {
      throw new AssertionError(found + ", expected " + expected);
    }
  }

  private static <T> T next(BlockingQueue<T> from, String what) throws InterruptedException {
    T it = from.poll(DEADLINE_S, TimeUnit.SECONDS);
    if (it == null) {
      throw new AssertionError("in vain: " + what);
    }
    return it;
  }

  private static List<String> bodies(Peer from, int count) throws InterruptedException {
    List<String> found = new ArrayList<>();
    for (int n = 0; n < count; n++) {
      found.add(next(from.messages, "message " + n).body());
    }
    return found;
  }

  private static List<String> numbers(int from, int count) {
    return IntStream.range(from, from + count).mapToObj(String::valueOf).toList();
  }

  private static void publish(Peer by, String topic, String body, int qos, boolean retained)
      throws Exception {
    by.publish(topic, body.getBytes(StandardCharsets.UTF_8), qos, retained);
  }

  private static void qos() throws Exception {
    Peer hearer = connect("q-hearer", About.PLAIN);
    Peer sender = connect("q-sender", About.PLAIN);
    for (int level = 0; level < 3; level++) {
      String topic = "java/qos/" + level;
      same(hearer.subscribe(topic, level), level);
      for (String body : numbers(0, 50)) {
        publish(sender, topic, body, level, false);
      }
      for (String body : numbers(0, 50)) {
        same(next(hearer.messages, body), new Message(topic, body, level, false));
      }
    }
    publish(sender, "java/qos/0", "x", 2, false);
    same(next(hearer.messages, "x").qos(), 0); // not more than was granted
    hearer.unsubscribe("java/qos/0");
    publish(sender, "java/qos/0", "not heard", 1, false);
    publish(sender, "java/qos/1", "heard", 1, false);
    same(bodies(hearer, 1), "[heard]");
    String large = "x".repeat(1 << 20);
    for (int level = 0; level < 3; level++) {
      publish(sender, "java/qos/2", large, level, false);
      same(next(hearer.messages, "a large one").body().equals(large), true);
    }
  }

  private static void retained() throws Exception {
    Peer sender = connect("r-sender", About.PLAIN);
    for (int level = 0; level < 3; level++) {
      publish(sender, "java/kept/" + level, "old", level, true);
      publish(sender, "java/kept/" + level, "new", level, true);
    }
    Peer late = connect("r-late", About.PLAIN);
    late.subscribe("java/kept/+", 1);
    Set<String> found = new TreeSet<>();
    for (int n = 0; n < 3; n++) {
      Message it = next(late.messages, "what is retained");
      found.add(it.topic() + " " + it.body() + " " + it.qos() + " " + it.retained());
    }
    same(found, "[java/kept/0 new 0 true, java/kept/1 new 1 true, java/kept/2 new 1 true]");
    for (int level = 0; level < 3; level++) {
      publish(sender, "java/kept/" + level, "", 1, true);
      same(next(late.messages, "that it is gone").retained(), false);
    }
    Peer again = connect("r-again", About.PLAIN);
    again.subscribe("java/kept/#", 1);
    publish(sender, "java/kept/end", "end", 1, false);
    same(bodies(again, 1), "[end]");
  }

  private static void will() throws Exception {
    Peer hearer = connect("w-hearer", About.PLAIN);
    hearer.subscribe("java/will/#", 1);
    connect("w-orderly", About.withWill("java/will/never")).close();
    connect("w-lost", About.withWill("java/will/lost")).drop();
    same(next(hearer.messages, "the will"), new Message("java/will/lost", "gone", 1, false));
    Peer late = connect("w-late", About.PLAIN);
    late.subscribe("java/will/#", 1);
    same(next(late.messages, "the will"), new Message("java/will/lost", "gone", 1, true));
    publish(late, "java/will/lost", "", 1, true);
  }

  private static void session() throws Exception {
    Peer away = connect("s-away", About.LASTING);
    same(away.present, false);
    away.subscribe("java/session/#", 2);
    away.close();
    Peer sender = connect("s-sender", About.PLAIN);
    for (int n = 0; n < 50; n++) {
      publish(sender, "java/session/a", String.valueOf(n), n < 25 ? 1 : 2, false);
    }
    Peer again = connect("s-away", About.LASTING);
    same(again.present, true);
    same(bodies(again, 50), numbers(0, 50));
    again.drop();
    publish(sender, "java/session/a", "more", 2, false);
    again = connect("s-away", About.LASTING);
    same(again.present, true);
    afterLast(again, "more");
    again.close();
    Peer clean = connect("s-away", About.PLAIN);
    same(clean.present, false);
    clean.close();
    Peer fresh = connect("s-away", About.LASTING);
    same(fresh.present, false);
    fresh.close();
    connect("s-away", About.PLAIN).close();
  }

  /** The next is this one, behind those of 0 to 49 that were not acknowledged in time. */
  private static void afterLast(Peer from, String body) throws Exception {
    String it = bodies(from, 1).get(0);
    if (!it.equals(body)) {
      int at = Integer.parseInt(it);
      List<String> expected = new ArrayList<>(numbers(at + 1, 49 - at));
      expected.add(body);
      same(bodies(from, 50 - at), expected);
    }
  }

  private static void shared() throws Exception {
    Peer one = connect("sh-one", About.PLAIN);
    Peer two = connect("sh-two", About.PLAIN);
    Peer sender = connect("sh-sender", About.PLAIN);
    one.subscribe("$share/group/java/shared", 1);
    two.subscribe("$share/group/java/shared", 1);
    for (String body : numbers(0, 100)) {
      publish(sender, "java/shared", body, 1, false);
    }
    Set<String> seen = new HashSet<>();
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(DEADLINE_S);
    int ones = 0;
    int all = 0;
    while (all < 100) {
      for (Peer it : List.of(one, two)) {
        Message message = it.messages.poll(10, TimeUnit.MILLISECONDS);
        if (message != null) {
          seen.add(message.body());
          all++;
          ones += it == one ? 1 : 0;
        }
      }
      same(System.nanoTime() < end, true);
    }
    same(seen.size(), 100);
    same(ones > 0 && ones < 100, true);
    two.close();
    for (String body : numbers(100, 20)) {
      publish(sender, "java/shared", body, 1, false);
    }
    same(bodies(one, 20), numbers(100, 20));
  }

  private static void recovery() throws Exception {
    Peer lasting = connect("k-lasting", About.LASTING_AND_BACK);
    lasting.subscribe("java/recovery/#", 2);
    for (int n = 0; n < 20; n++) {
      publish(lasting, "java/recovery/a", String.valueOf(n), n < 10 ? 1 : 2, false);
    }
    same(bodies(lasting, 20), numbers(0, 20));
    publish(lasting, "java/kept-recovery", "kept", 1, true);
    Peer away = connect("k-away", About.LASTING);
    away.subscribe("java/recovery/#", 1);
    away.close();
    publish(lasting, "java/recovery/b", "before", 2, false);
    same(bodies(lasting, 1), "[before]");
    System.out.println("ready");
    System.in.read();
    next(lasting.again, "that it is connected again");
    publish(lasting, "java/recovery/c", "after", 2, false);
    // The server may not have known of the last acknowledgements: what they are of comes again.
    String body = bodies(lasting, 1).get(0);
    while (!body.equals("after")) {
      same(body.equals("before") || numbers(0, 20).contains(body), true);
      body = bodies(lasting, 1).get(0);
    }
    away = connect("k-away", About.LASTING);
    same(away.present, true);
    same(bodies(away, 2), "[before, after]");
    Peer late = connect("k-late", About.PLAIN);
    late.subscribe("java/kept-recovery", 1);
    same(next(late.messages, "it"), new Message("java/kept-recovery", "kept", 1, true));
  }
}
