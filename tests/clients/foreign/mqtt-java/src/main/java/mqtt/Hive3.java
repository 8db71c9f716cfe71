package mqtt;

import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.mqtt3.Mqtt3BlockingClient;
import com.hivemq.client.mqtt.mqtt3.Mqtt3ClientBuilder;
import com.hivemq.client.mqtt.mqtt3.message.publish.Mqtt3Publish;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** HiveMQ's client over WebSocket: MQTT 3.1.1. */
final class Hive3 extends Peer {
  private final Mqtt3BlockingClient client;

  Hive3(String host, int port, String id, About its) {
    Mqtt3ClientBuilder builder =
        MqttClient.builder()
            .useMqttVersion3()
            .identifier(id)
            .serverHost(host)
            .serverPort(port)
            .webSocketConfig()
            .serverPath("ws/mqtt")
            .applyWebSocketConfig()
            .addConnectedListener(it -> again.add(true));
    if (its.back()) {
      builder =
          builder
              .automaticReconnect()
              .initialDelay(100, TimeUnit.MILLISECONDS)
              .maxDelay(200, TimeUnit.MILLISECONDS)
              .applyAutomaticReconnect();
    }
    client = builder.buildBlocking();
    client.toAsync().publishes(MqttGlobalPublishFilter.ALL, this::come);
    present = client.connectWith().cleanSession(!its.lasting()).send().isSessionPresent();
    again.clear();
  }

  private void come(Mqtt3Publish it) {
    String body = new String(it.getPayloadAsBytes(), StandardCharsets.UTF_8);
    messages.add(
        new Message(it.getTopic().toString(), body, it.getQos().getCode(), it.isRetain()));
  }

  @Override
  int subscribe(String filter, int qos) {
    return client
        .subscribeWith()
        .topicFilter(filter)
        .qos(MqttQos.fromCode(qos))
        .send()
        .getReturnCodes()
        .get(0)
        .getCode();
  }

  @Override
  void unsubscribe(String filter) {
    client.unsubscribeWith().topicFilter(filter).send();
  }

  @Override
  void publish(String topic, byte[] body, int qos, boolean retained) {
    client
        .publishWith()
        .topic(topic)
        .payload(body)
        .qos(MqttQos.fromCode(qos))
        .retain(retained)
        .send();
  }

  @Override
  void drop() {
    client.disconnect(); // version 3.1.1 has no other way that this client lends
  }

  @Override
  void close() {
    client.disconnect();
  }
}
