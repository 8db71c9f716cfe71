package amqp;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** One exercise with a broker, which checks itself: HOST PORT EXERCISE. */
public final class Exercises {
  static final long DEADLINE_S = 30;
  private static final ConnectionFactory FACTORY = new ConnectionFactory();

  /** What may fail. */
  interface Exercise {
    void run(Connection connection, Channel channel) throws Exception;
  }

  private Exercises() {}

  public static void main(String[] words) throws Exception {
    FACTORY.setHost(words[0]);
    FACTORY.setPort(Integer.parseInt(words[1]));
    FACTORY.setNetworkRecoveryInterval(100);
    Map<String, Exercise> all =
        Map.of(
            "confirms", Exercises::confirms,
            "returned", Exercises::returned,
            "prefetch", Exercises::prefetch,
            "dead letter", Exercises::deadLetter,
            "priorities", Exercises::priorities,
            "transactions", Exercises::transactions,
            "reply to", Exercises::replyTo,
            "passive", Exercises::passive,
            "recovery", Exercises::recovery);
    try (Connection connection = FACTORY.newConnection()) {
      all.get(words[2]).run(connection, connection.createChannel());
    }
    System.out.println("done");
    System.exit(0); // whatever threads are left
  }

  static void same(Object found, Object expected) {
    if (!String.valueOf(found).equals(String.valueOf(expected))) {
      throw new AssertionError(found + ", expected " + expected);
    }
  }

  static <T> T next(BlockingQueue<T> from, String what) throws InterruptedException {
    T it = from.poll(DEADLINE_S, TimeUnit.SECONDS);
    if (it == null) {
      throw new AssertionError("in vain: " + what);
    }
    return it;
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String text(Delivery it) {
    return new String(it.getBody(), StandardCharsets.UTF_8);
  }

  private static BlockingQueue<Delivery> consume(Channel channel, String queue, boolean auto)
      throws IOException {
    BlockingQueue<Delivery> found = new LinkedBlockingQueue<>();
    channel.basicConsume(queue, auto, (tag, it) -> found.add(it), tag -> {});
    return found;
  }

  private static List<String> bodies(Channel channel, BlockingQueue<Delivery> from, int count)
      throws Exception {
    List<String> found = new ArrayList<>();
    for (int n = 0; n < count; n++) {
      Delivery it = next(from, "a delivery");
      found.add(text(it));
      channel.basicAck(it.getEnvelope().getDeliveryTag(), false);
    }
    return found;
  }

  private static void queue(Channel channel, String name, Map<String, Object> arguments)
      throws IOException {
    channel.queueDeclare(name, true, false, false, arguments);
  }

  private static BasicProperties properties(int priority) {
    return new BasicProperties.Builder().deliveryMode(2).priority(priority).build();
  }

  private static void confirms(Connection connection, Channel channel) throws Exception {
    channel.exchangeDeclare("java.events", "topic", true);
    queue(channel, "java.mail", null);
    channel.queueBind("java.mail", "java.events", "mail.#");
    channel.confirmSelect();
    for (int n = 0; n < 100; n++) {
      channel.basicPublish("java.events", "mail.new", properties(0), bytes("" + n));
    }
    channel.waitForConfirmsOrDie(DEADLINE_S * 1000);
    List<String> found = bodies(channel, consume(channel, "java.mail", false), 100);
    same(found.get(0) + found.get(99), "099");
  }

  private static void returned(Connection connection, Channel channel) throws Exception {
    BlockingQueue<String> said = new LinkedBlockingQueue<>();
    channel.addReturnListener(it -> said.add(it.getReplyCode() + it.getReplyText()));
    channel.addConfirmListener((tag, several) -> said.add("ack"), (tag, several) -> {});
    channel.confirmSelect();
    channel.basicPublish("", "java.nowhere", true, properties(0), bytes("x"));
    same(next(said, "a return"), "312NO_ROUTE");
    same(next(said, "a confirm"), "ack");
  }

  private static void prefetch(Connection connection, Channel channel) throws Exception {
    queue(channel, "java.few", null);
    channel.basicQos(2);
    BlockingQueue<Delivery> from = consume(channel, "java.few", false);
    for (int n = 0; n < 5; n++) {
      channel.basicPublish("", "java.few", properties(0), bytes("" + n));
    }
    Delivery one = next(from, "0");
    Delivery two = next(from, "1");
    same(text(one) + text(two), "01");
    same(channel.queueDeclarePassive("java.few").getMessageCount(), 3);
    channel.basicNack(one.getEnvelope().getDeliveryTag(), false, true);
    Delivery again = next(from, "0 again");
    same(text(again) + again.getEnvelope().isRedeliver(), "0true");
    channel.basicAck(two.getEnvelope().getDeliveryTag(), false);
    channel.basicReject(again.getEnvelope().getDeliveryTag(), false);
    same(bodies(channel, from, 3), List.of("2", "3", "4"));
  }

  private static void deadLetter(Connection connection, Channel channel) throws Exception {
    queue(channel, "java.dead", null);
    queue(
        channel,
        "java.work",
        Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "java.dead"));
    channel.basicPublish("", "java.work", properties(0), bytes("poison"));
    Delivery poison = next(consume(channel, "java.work", false), "poison");
    channel.basicNack(poison.getEnvelope().getDeliveryTag(), false, false);
    Delivery it = next(consume(channel, "java.dead", true), "a dead letter");
    List<?> deaths = (List<?>) it.getProperties().getHeaders().get("x-death");
    Map<?, ?> death = (Map<?, ?>) deaths.get(0);
    same(
        "" + death.get("queue") + death.get("reason") + death.get("count"), "java.workrejected1");
  }

  private static void priorities(Connection connection, Channel channel) throws Exception {
    queue(channel, "java.ranks", Map.of("x-max-priority", 5));
    channel.confirmSelect();
    for (int it : new int[] {1, 5, 0, 9, 3}) {
      channel.basicPublish("", "java.ranks", properties(it), bytes("" + it));
    }
    channel.waitForConfirmsOrDie(DEADLINE_S * 1000);
    same(
        bodies(channel, consume(channel, "java.ranks", false), 5),
        List.of("5", "9", "3", "1", "0"));
  }

  private static void transactions(Connection connection, Channel channel) throws Exception {
    queue(channel, "java.tx", null);
    channel.txSelect();
    channel.basicPublish("", "java.tx", properties(0), bytes("1"));
    channel.txRollback();
    channel.basicPublish("", "java.tx", properties(0), bytes("2"));
    channel.txCommit();
    GetResponse got = channel.basicGet("java.tx", false);
    same(new String(got.getBody(), StandardCharsets.UTF_8), "2");
    channel.basicAck(got.getEnvelope().getDeliveryTag(), false);
    channel.txCommit();
    same(channel.queueDeclarePassive("java.tx").getMessageCount(), 0);
  }

  private static void replyTo(Connection connection, Channel channel) throws Exception {
    queue(channel, "java.rpc", null);
    BlockingQueue<Delivery> answers = consume(channel, "amq.rabbitmq.reply-to", true);
    Channel server = connection.createChannel();
    server.basicConsume(
        "java.rpc",
        true,
        (tag, it) ->
            server.basicPublish(
                "", it.getProperties().getReplyTo(), null, bytes(text(it).toUpperCase())),
        tag -> {});
    BasicProperties asked =
        new BasicProperties.Builder().replyTo("amq.rabbitmq.reply-to").build();
    channel.basicPublish("", "java.rpc", asked, bytes("hello"));
    same(text(next(answers, "a reply")), "HELLO");
  }

  private static void passive(Connection connection, Channel channel) throws Exception {
    try {
      channel.queueDeclarePassive("java.no");
      throw new AssertionError("it is there");
    } catch (IOException error) {
      String said = ((ShutdownSignalException) error.getCause()).getReason().toString();
      same(said.contains("NOT_FOUND - no queue 'java.no' in vhost '/'"), true);
      same(said.contains("class-id=50, method-id=10"), true);
    }
    ConnectionFactory wrong = FACTORY.clone();
    wrong.setPassword("wrong");
    try {
      wrong.newConnection();
      throw new AssertionError("a wrong password is taken");
    } catch (AuthenticationFailureException error) {
      same(error.getMessage().contains("ACCESS_REFUSED"), true);
    }
  }

  /** The server is killed between two lines of input; the client recovers by itself. */
  private static void recovery(Connection connection, Channel channel) throws Exception {
    channel.exchangeDeclare("java.kept.e", "fanout", false, true, null);
    queue(channel, "java.kept", null);
    String own = channel.queueDeclare().getQueue();
    channel.queueBind("java.kept", "java.kept.e", "");
    channel.queueBind(own, "java.kept.e", "");
    channel.confirmSelect();
    for (int n = 0; n < 20; n++) {
      channel.basicPublish("", "java.kept", properties(0), bytes("" + n));
    }
    channel.waitForConfirmsOrDie(DEADLINE_S * 1000);
    BlockingQueue<Delivery> from = consume(channel, own, true);
    CountDownLatch recovered = new CountDownLatch(1);
    ((Recoverable) connection)
        .addRecoveryListener(
            new RecoveryListener() {
              @Override
              public void handleRecovery(Recoverable it) {
                recovered.countDown();
              }

              @Override
              public void handleRecoveryStarted(Recoverable it) {}
            });
    System.out.println("ready");
    System.in.read();
    same(recovered.await(DEADLINE_S, TimeUnit.SECONDS), true);
    channel.basicPublish("java.kept.e", "", properties(0), bytes("20"));
    same(text(next(from, "what the new queue gets")), "20");
    List<String> found = bodies(channel, consume(channel, "java.kept", false), 21);
    same(found.get(0) + found.get(20), "020");
  }
}
