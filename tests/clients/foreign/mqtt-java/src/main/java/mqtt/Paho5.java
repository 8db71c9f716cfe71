package mqtt;

import java.nio.charset.StandardCharsets;
import org.eclipse.paho.mqttv5.client.IMqttToken;
import org.eclipse.paho.mqttv5.client.MqttCallback;
import org.eclipse.paho.mqttv5.client.MqttClient;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.eclipse.paho.mqttv5.client.MqttDisconnectResponse;
import org.eclipse.paho.mqttv5.client.persist.MemoryPersistence;
import org.eclipse.paho.mqttv5.common.MqttException;
import org.eclipse.paho.mqttv5.common.MqttMessage;
import org.eclipse.paho.mqttv5.common.packet.MqttProperties;

/** Eclipse Paho's second client: MQTT 5. */
final class Paho5 extends Peer implements MqttCallback {
  private final MqttClient client;
  private final Sockets sockets = new Sockets();

  Paho5(String host, int port, String id, About its) throws Exception {
    client = new MqttClient("tcp://" + host + ":" + port, id, new MemoryPersistence());
    client.setCallback(this);
    client.setTimeToWait(Exercises.DEADLINE_S * 1000);
    MqttConnectionOptions options = new MqttConnectionOptions();
    options.setCleanStart(!its.lasting());
    options.setSessionExpiryInterval(its.lasting() ? 300L : 0L);
    options.setAutomaticReconnect(its.back());
    options.setAutomaticReconnectDelay(1, 1);
    options.setSocketFactory(sockets);
    if (its.will() != null) {
      options.setWill(
          its.will(), new MqttMessage("gone".getBytes(StandardCharsets.UTF_8), 1, true, null));
    }
    present = client.connectWithResult(options).getSessionPresent();
  }

  @Override
  public void connectComplete(boolean reconnect, String where) {
    if (reconnect) {
      again.add(true);
    }
  }

  @Override
  public void disconnected(MqttDisconnectResponse why) {}

  @Override
  public void mqttErrorOccurred(MqttException error) {
    error.printStackTrace();
  }

  @Override
  public void deliveryComplete(IMqttToken token) {}

  @Override
  public void authPacketArrived(int reason, MqttProperties properties) {}

  @Override
  public void messageArrived(String topic, MqttMessage it) {
    String body = new String(it.getPayload(), StandardCharsets.UTF_8);
    messages.add(new Message(topic, body, it.getQos(), it.isRetained()));
  }

  @Override
  int subscribe(String filter, int qos) throws Exception {
    return client.subscribe(filter, qos).getGrantedQos()[0];
  }

  @Override
  void unsubscribe(String filter) throws Exception {
    client.unsubscribe(filter);
  }

  @Override
  void publish(String topic, byte[] body, int qos, boolean retained) throws Exception {
    client.publish(topic, body, qos, retained);
  }

  @Override
  void drop() throws Exception {
    sockets.drop();
  }

  @Override
  void close() throws Exception {
    client.disconnect();
  }
}
