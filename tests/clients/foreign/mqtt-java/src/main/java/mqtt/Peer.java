package mqtt;

import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A client that is connected. */
abstract class Peer {
  /** A message as it has come. */
  record Message(String topic, String body, int qos, boolean retained) {}

  /**
   * What it is to be.
   *
   * @param will the topic of its will, or null
   * @param lasting its session outlives its connections
   * @param back it reconnects by itself
   */
  record About(String will, boolean lasting, boolean back) {
    static final About PLAIN = new About(null, false, false);
    static final About LASTING = new About(null, true, false);
    static final About LASTING_AND_BACK = new About(null, true, true);

    static About withWill(String topic) {
      return new About(topic, false, false);
    }
  }

  /** Connects. */
  interface Maker {
    Peer connect(String host, int port, String id, About its) throws Exception;
  }

  final BlockingQueue<Message> messages = new LinkedBlockingQueue<>();

  /** What the server said of its session when it connected. */
  boolean present;

  /** That it is connected again. */
  final BlockingQueue<Boolean> again = new LinkedBlockingQueue<>();

  abstract int subscribe(String filter, int qos) throws Exception;

  abstract void unsubscribe(String filter) throws Exception;

  /** Returns when it is acknowledged. */
  abstract void publish(String topic, byte[] body, int qos, boolean retained) throws Exception;

  /** The connection ends without a word. */
  abstract void drop() throws Exception;

  abstract void close() throws Exception;
}
