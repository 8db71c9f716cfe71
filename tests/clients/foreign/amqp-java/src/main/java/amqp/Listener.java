package amqp;

import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.springframework.amqp.AmqpException;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;

/** Spring AMQP's listener container: HOST PORT listener|recovery. */
public final class Listener {
  private Listener() {}

  public static void main(String[] words) throws Exception {
    try {
      run(words);
    } catch (Throwable error) {
      error.printStackTrace();
      System.exit(1); // or the container's threads would stay
    }
    System.out.println("done");
    System.exit(0);
  }

  private static void run(String[] words) throws Exception {
    CachingConnectionFactory factory =
        new CachingConnectionFactory(words[0], Integer.parseInt(words[1]));
    factory.setPublisherConfirmType(ConfirmType.CORRELATED);
    factory.setPublisherReturns(true);
    RabbitAdmin admin = new RabbitAdmin(factory);
    RabbitTemplate template = new RabbitTemplate(factory);
    admin.declareQueue(new Queue("spring.dead"));
    admin.declareQueue(
        new Queue(
            "spring.work",
            true,
            false,
            false,
            Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "spring.dead")));
    BlockingQueue<String> found = new LinkedBlockingQueue<>();
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(factory);
    container.setQueueNames("spring.work");
    container.setPrefetchCount(5);
    container.setConcurrentConsumers(2);
    container.setDefaultRequeueRejected(false);
    container.setRecoveryInterval(100);
    container.setMessageListener(
        message -> {
          String body = new String(message.getBody());
          if (body.equals("poison")) {
            throw new IllegalArgumentException(body);
          }
          found.add(body);
        });
    container.afterPropertiesSet();
    container.start();
    send(template, "1");
    Exercises.same(Exercises.next(found, "1"), "1");
    if (words[2].equals("recovery")) {
      System.out.println("ready");
      System.in.read();
      sendAgain(template, "2"); // by a new connection: the container's comes back by itself
      String next = Exercises.next(found, "2");
      while (next.equals("1")) { // the server was killed before its acknowledgement was safe
        next = Exercises.next(found, "2");
      }
      Exercises.same(next, "2");
    } else {
      send(template, "poison");
      Message dead = template.receive("spring.dead", Exercises.DEADLINE_S * 1000);
      Exercises.same(new String(dead.getBody()), "poison");
      Exercises.same(dead.getMessageProperties().getXDeathHeader().size(), 1);
      Exercises.same(admin.getQueueInfo("spring.work").getConsumerCount(), 2);
    }
    container.stop();
    factory.destroy();
  }

  /** The first try may find out that the connection is gone. */
  private static void sendAgain(RabbitTemplate template, String body) throws Exception {
    try {
      send(template, body);
    } catch (AmqpException error) {
      send(template, body);
    }
  }

  private static void send(RabbitTemplate template, String body) throws Exception {
    CorrelationData sent = new CorrelationData();
    template.convertAndSend("", "spring.work", body, sent);
    Exercises.same(
        sent.getFuture().get(Exercises.DEADLINE_S, java.util.concurrent.TimeUnit.SECONDS).ack(),
        true);
  }
}
