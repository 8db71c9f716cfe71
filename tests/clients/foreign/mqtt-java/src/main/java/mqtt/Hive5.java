package mqtt;

import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.mqtt5.Mqtt5BlockingClient;
import com.hivemq.client.mqtt.mqtt5.Mqtt5ClientBuilder;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5Publish;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** HiveMQ's client: MQTT 5. */
final class Hive5 extends Peer {
  private final Mqtt5BlockingClient client;

  Hive5(String host, int port, String id, About its) {
    Mqtt5ClientBuilder builder =
        MqttClient.builder()
            .useMqttVersion5()
            .identifier(id)
            .serverHost(host)
            .serverPort(port)
            .addConnectedListener(it -> again.add(true));
    if (its.back()) {
      builder =
          builder
              .automaticReconnect()
              .initialDelay(100, TimeUnit.MILLISECONDS)
              .maxDelay(200, TimeUnit.MILLISECONDS)
              .applyAutomaticReconnect();
    }
    if (its.will() != null) {
      builder =
          builder
              .willPublish()
              .topic(its.will())
              .payload("gone".getBytes(StandardCharsets.UTF_8))
              .qos(MqttQos.AT_LEAST_ONCE)
              .retain(true)
              .applyWillPublish();
    }
    client = builder.buildBlocking();
    client.toAsync().publishes(MqttGlobalPublishFilter.ALL, this::come);
    present =
        client
            .connectWith()
            .cleanStart(!its.lasting())
            .sessionExpiryInterval(its.lasting() ? 300 : 0)
            .send()
            .isSessionPresent();
    again.clear();
  }

  private void come(Mqtt5Publish it) {
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
        .getReasonCodes()
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
    // It has no other way to end without a good-bye: the reason says that its will is to be sent.
    client
        .disconnectWith()
        .reasonCode(
            com.hivemq.client.mqtt.mqtt5.message.disconnect.Mqtt5DisconnectReasonCode
                .DISCONNECT_WITH_WILL_MESSAGE)
        .send();
  }

  @Override
  void close() {
    client.disconnect();
  }
}
