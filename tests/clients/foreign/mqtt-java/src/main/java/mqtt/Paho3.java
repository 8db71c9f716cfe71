package mqtt;

import java.nio.charset.StandardCharsets;
import org.eclipse.paho.client.mqttv3.IMqttDeliveryToken;
import org.eclipse.paho.client.mqttv3.MqttCallbackExtended;
import org.eclipse.paho.client.mqttv3.MqttClient;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttMessage;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/** Eclipse Paho's first client: MQTT 3.1.1. */
final class Paho3 extends Peer implements MqttCallbackExtended {
  private final MqttClient client;
  private final Sockets sockets = new Sockets();

  Paho3(String host, int port, String id, About its) throws Exception {
    client = new MqttClient("tcp://" + host + ":" + port, id, new MemoryPersistence());
    client.setCallback(this);
    client.setTimeToWait(Exercises.DEADLINE_S * 1000);
    MqttConnectOptions options = new MqttConnectOptions();
    options.setMqttVersion(MqttConnectOptions.MQTT_VERSION_3_1_1);
    options.setCleanSession(!its.lasting());
    options.setAutomaticReconnect(its.back());
    options.setMaxReconnectDelay(200);
    options.setSocketFactory(sockets);
    if (its.will() != null) {
      options.setWill(its.will(), "gone".getBytes(StandardCharsets.UTF_8), 1, true);
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
  public void connectionLost(Throwable why) {}

  @Override
  public void deliveryComplete(IMqttDeliveryToken token) {}

  @Override
  public void messageArrived(String topic, MqttMessage it) {
    String body = new String(it.getPayload(), StandardCharsets.UTF_8);
    messages.add(new Message(topic, body, it.getQos(), it.isRetained()));
  }

  @Override
  int subscribe(String filter, int qos) throws Exception {
    return client.subscribeWithResponse(filter, qos).getGrantedQos()[0];
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
