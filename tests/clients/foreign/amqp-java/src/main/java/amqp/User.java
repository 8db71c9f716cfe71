package amqp;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultSaslConfig;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/**
 * Somebody with rights to one queue: HOST PORT USER PASSWORD AUTHORITY KEYS QUEUE. An AUTHORITY of
 * "-" is a connection without TLS; KEYS is "-", or a store of a certificate, which says who it is.
 */
public final class User {
  private static final char[] STORE_PASSWORD = "changeit".toCharArray();

  private User() {}

  public static void main(String[] words) throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    factory.setHost(words[0]);
    factory.setPort(Integer.parseInt(words[1]));
    factory.setUsername(words[2]);
    factory.setPassword(words[3]);
    factory.setAutomaticRecoveryEnabled(false);
    if (!words[4].equals("-")) {
      factory.useSslProtocol(context(words[4], words[5]));
      factory.enableHostnameVerification();
    }
    if (words[5].equals("-")) {
      wrongPassword(factory, words[3]);
    } else {
      factory.setSaslConfig(DefaultSaslConfig.EXTERNAL);
    }
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    Connection connection = factory.newConnection();
    connection.addShutdownListener(closed::add);
    whatIsAllowed(connection, words[6]);
    whatIsNot(connection, words[2]);
    System.out.println("ready");
    AMQP.Connection.Close last =
        (AMQP.Connection.Close) Exercises.next(closed, "the end").getReason();
    Exercises.same(last.getReplyCode(), 320);
    Exercises.same(last.getReplyText(), "CONNECTION_FORCED - user '" + words[2] + "' is deleted");
    System.out.println("done");
    System.exit(0);
  }

  private static void wrongPassword(ConnectionFactory factory, String right) throws Exception {
    factory.setPassword(right + "x");
    try {
      factory.newConnection();
      throw new AssertionError("a wrong password is taken");
    } catch (AuthenticationFailureException refused) {
      Exercises.same(refused.getMessage().contains("Login was refused"), true);
    }
    factory.setPassword(right);
  }

  private static void whatIsAllowed(Connection connection, String queue) throws Exception {
    Channel channel = connection.createChannel();
    channel.queueDeclare(queue, true, false, false, Map.of());
    channel.confirmSelect();
    channel.basicPublish("", queue, null, "hello".getBytes(StandardCharsets.UTF_8));
    channel.waitForConfirmsOrDie(Exercises.DEADLINE_S * 1000);
    byte[] got = channel.basicGet(queue, true).getBody();
    Exercises.same(new String(got, StandardCharsets.UTF_8), "hello");
    channel.close();
  }

  private static void whatIsNot(Connection connection, String user) throws Exception {
    try {
      connection.createChannel().queueDeclare("another", true, false, false, Map.of());
      throw new AssertionError("another queue may be declared");
    } catch (IOException refused) {
      ShutdownSignalException signal = (ShutdownSignalException) refused.getCause();
      AMQP.Channel.Close said = (AMQP.Channel.Close) signal.getReason();
      Exercises.same(said.getReplyCode(), 403);
      Exercises.same(
          said.getReplyText(),
          "ACCESS_REFUSED - configure access to queue 'another' in vhost '/' refused for user '"
              + user
              + "'");
    }
  }

  private static SSLContext context(String authority, String keys) throws Exception {
    KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    try (InputStream from = new FileInputStream(authority)) {
      trusted.setCertificateEntry(
          "authority", CertificateFactory.getInstance("X.509").generateCertificate(from));
    }
    TrustManagerFactory trust =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(trusted);
    KeyManagerFactory shown =
        KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    if (!keys.equals("-")) {
      KeyStore own = KeyStore.getInstance("PKCS12");
      try (InputStream from = new FileInputStream(keys)) {
        own.load(from, STORE_PASSWORD);
      }
      shown.init(own, STORE_PASSWORD);
    }
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.equals("-") ? null : shown.getKeyManagers(), trust.getTrustManagers(), null);
    return context;
  }
}
