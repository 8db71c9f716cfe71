package stomp;

import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.core.json.JsonObject;
import io.vertx.ext.stomp.Frame;
import io.vertx.ext.stomp.StompClient;
import io.vertx.ext.stomp.StompClientConnection;
import io.vertx.ext.stomp.StompClientOptions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** One exercise with a broker by Vert.x's client, which checks itself: HOST PORT EXERCISE. */
public final class Exercises {
  private static final long DEADLINE_S = 30;
  private static final Vertx VERTX = Vertx.vertx();
  private static String host;
  private static int port;

  /** What may fail. */
  interface Exercise {
    void run() throws Exception;
  }

  private Exercises() {}

  public static void main(String[] words) {
    host = words[0];
    port = Integer.parseInt(words[1]);
    Map<String, Exercise> all = Map.of("tasks", Exercises::tasks, "recovery", Exercises::recovery);
    try {
      all.get(words[2]).run();
      System.out.println("done");
      System.exit(0); // whatever threads are left
    } catch (Throwable why) {
      why.printStackTrace();
      System.exit(1);
    }
  }

  private static void same(Object found, Object expected) {
    if (!String.valueOf(found).equals(String.valueOf(expected))) {
      throw new AssertionError(found + ", expected " + expected);
    }
  }

  private static <T> T soon(Future<T> it) throws Exception {
    return it.toCompletionStage().toCompletableFuture().get(DEADLINE_S, TimeUnit.SECONDS);
  }

  private static Frame next(BlockingQueue<Frame> from) throws InterruptedException {
    Frame it = from.poll(DEADLINE_S, TimeUnit.SECONDS);
    if (it == null) {
      throw new AssertionError("in vain: a message");
    }
    return it;
  }

  private static StompClientConnection connect() throws Exception {
    StompClientOptions options =
        new StompClientOptions()
            .setHost(host)
            .setPort(port)
            .setLogin("guest")
            .setPasscode("guest")
            .setHeartbeat(new JsonObject().put("x", 1000).put("y", 1000));
    return soon(StompClient.create(VERTX, options).connect());
  }

  /** Done once the server has given its receipt: of one in a transaction, when that is. */
  private static Future<Frame> sent(
      StompClientConnection by, String to, String body, String... headers) {
    Frame frame = new Frame().setCommand(io.vertx.ext.stomp.Command.SEND).setDestination(to);
    frame.setBody(Buffer.buffer(body));
    for (int n = 0; n < headers.length; n += 2) {
      frame.addHeader(headers[n], headers[n + 1]);
    }
    return by.send(frame);
  }

  private static void send(StompClientConnection by, String to, String body, String... headers)
      throws Exception {
    soon(sent(by, to, body, headers));
  }

  private static BlockingQueue<Frame> hear(StompClientConnection by, String from, String ack)
      throws Exception {
    BlockingQueue<Frame> found = new LinkedBlockingQueue<>();
    Map<String, String> headers = new HashMap<>(Map.of("ack", ack, "id", "sub:" + from));
    soon(by.subscribe(from, headers, found::add));
    return found;
  }

  private static void tasks() throws Exception {
    StompClientConnection client = connect();
    same(client.version(), "1.2");
    BlockingQueue<Frame> heard = hear(client, "/queue/java", "client-individual");
    for (int n = 0; n < 50; n++) {
      send(client, "/queue/java", "gr\u00fc\u00dfe " + n, "kind", "a:b\nc\\d");
    }
    for (int n = 0; n < 50; n++) {
      Frame it = next(heard);
      same(it.getBodyAsString(), "gr\u00fc\u00dfe " + n);
      same(it.getHeader("kind"), "a:b\nc\\d");
      soon(client.ack(it.getAck()));
    }
    soon(client.beginTX("t"));
    List<Future<Frame>> receipts = new ArrayList<>();
    List<String> bodies = new ArrayList<>();
    for (int n = 0; n < 3; n++) {
      receipts.add(sent(client, "/queue/java", "in it " + n, "transaction", "t"));
      bodies.add("in it " + n);
    }
    same(heard.isEmpty(), true);
    soon(client.commit("t"));
    for (Future<Frame> it : receipts) {
      soon(it);
    }
    List<String> found = new ArrayList<>();
    for (int n = 0; n < 3; n++) {
      Frame it = next(heard);
      found.add(it.getBodyAsString());
      soon(client.ack(it.getAck()));
    }
    same(found, bodies);
    send(client, "/queue/java", "once more");
    Frame refused = next(heard);
    soon(client.nack(refused.getAck())); // it comes again
    Frame again = next(heard);
    same(again.getBodyAsString() + again.getHeader("redelivered"), "once moretrue");
    soon(client.ack(again.getAck()));
    BlockingQueue<Frame> news = hear(connect(), "/topic/java.#", "auto");
    send(client, "/topic/java.news", "hello");
    same(next(news).getBodyAsString(), "hello");
    soon(client.disconnect());
  }

  /** The server is killed and comes back; this client tells of it, and is connected anew. */
  private static void recovery() throws Exception {
    StompClientConnection client = connect();
    BlockingQueue<Boolean> lost = new LinkedBlockingQueue<>();
    client.closeHandler(it -> lost.add(true));
    client.connectionDroppedHandler(it -> lost.add(true));
    BlockingQueue<Frame> heard = hear(client, "/queue/lasting", "client-individual");
    send(client, "/queue/lasting", "before", "persistent", "true");
    same(next(heard).getBodyAsString(), "before"); // which it does not acknowledge
    System.out.println("ready");
    System.in.read();
    same(lost.poll(DEADLINE_S, TimeUnit.SECONDS), true);
    client = connect();
    heard = hear(client, "/queue/lasting", "client-individual");
    Frame again = next(heard);
    same(again.getBodyAsString() + again.getHeader("redelivered"), "beforetrue");
    soon(client.ack(again.getAck()));
    send(client, "/queue/lasting", "after");
    same(next(heard).getBodyAsString(), "after");
  }
}
