//! A client of rumqttc that is connected, by MQTT 3.1.1 or 5.

use rumqttc::v5;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub const DEADLINE: Duration = Duration::from_secs(30);
pub type Any<T> = Result<T, Box<dyn std::error::Error>>;
const PACKET_BYTES_MAX: u32 = 4 << 20;

/// A message as it has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub topic: String,
    pub body: String,
    pub qos: u8,
    pub retained: bool,
}

/// What it is to be.
#[derive(Default, Clone, Copy)]
pub struct About {
    pub will: Option<&'static str>,
    pub lasting: bool,
    pub back: bool,
}

enum Client {
    Three(rumqttc::AsyncClient),
    Five(v5::AsyncClient),
}

/// What its event loop saw that is no message.
#[derive(Debug, PartialEq)]
enum Seen {
    Connected(bool),
    Done,
}

pub struct Peer {
    client: Client,
    events: JoinHandle<()>,
    pub messages: UnboundedReceiver<Message>,
    seen: UnboundedReceiver<Seen>,
    pub present: bool,
}

struct Ends {
    messages: UnboundedSender<Message>,
    seen: UnboundedSender<Seen>,
}

impl Ends {
    fn message(&self, topic: &[u8], payload: &[u8], qos: u8, retained: bool) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let (topic, body) = (text(topic), text(payload));
        _ = self.messages.send(Message {
            topic,
            body,
            qos,
            retained,
        });
    }

    fn see(&self, it: Seen) {
        _ = self.seen.send(it);
    }
}

async fn listen3(mut events: rumqttc::EventLoop, ends: Ends, back: bool) {
    use rumqttc::{Event, Outgoing, Packet};
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(it))) => {
                ends.see(Seen::Connected(it.session_present))
            }
            Ok(Event::Incoming(Packet::Publish(it))) => {
                ends.message(it.topic.as_bytes(), &it.payload, it.qos as u8, it.retain);
            }
            Ok(Event::Incoming(
                Packet::PubAck(_) | Packet::PubComp(_) | Packet::SubAck(_) | Packet::UnsubAck(_),
            ))
            | Ok(Event::Outgoing(Outgoing::Publish(0) | Outgoing::Disconnect)) => {
                ends.see(Seen::Done)
            }
            Ok(_) => (),
            Err(why) => {
                eprintln!("{why}");
                if !back {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn listen5(mut events: v5::EventLoop, ends: Ends, back: bool) {
    use rumqttc::Outgoing;
    use v5::{Event, mqttbytes::v5::Packet};
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(it))) => {
                ends.see(Seen::Connected(it.session_present))
            }
            Ok(Event::Incoming(Packet::Publish(it))) => {
                ends.message(&it.topic, &it.payload, it.qos as u8, it.retain);
            }
            Ok(Event::Incoming(
                Packet::PubAck(_) | Packet::PubComp(_) | Packet::SubAck(_) | Packet::UnsubAck(_),
            ))
            | Ok(Event::Outgoing(Outgoing::Publish(0) | Outgoing::Disconnect)) => {
                ends.see(Seen::Done)
            }
            Ok(_) => (),
            Err(why) => {
                eprintln!("{why}");
                if !back {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn three(host: &str, port: u16, id: &str, its: About) -> rumqttc::MqttOptions {
    let mut options = rumqttc::MqttOptions::new(id, host, port);
    options.set_clean_session(!its.lasting);
    options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
    if let Some(topic) = its.will {
        let qos = rumqttc::QoS::AtLeastOnce;
        options.set_last_will(rumqttc::LastWill::new(topic, "gone", qos, true));
    }
    options
}

fn five(host: &str, port: u16, id: &str, its: About) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(id, host, port);
    options.set_clean_start(!its.lasting);
    options.set_session_expiry_interval(its.lasting.then_some(300));
    options.set_max_packet_size(Some(PACKET_BYTES_MAX));
    if let Some(topic) = its.will {
        let qos = v5::mqttbytes::QoS::AtLeastOnce;
        options.set_last_will(v5::mqttbytes::v5::LastWill::new(
            topic, "gone", qos, true, None,
        ));
    }
    options
}

impl Peer {
    pub async fn connect(version: &str, host: &str, port: u16, id: &str, its: About) -> Any<Peer> {
        let (messages, coming) = unbounded_channel();
        let (seen, told) = unbounded_channel();
        let ends = Ends { messages, seen };
        let (client, events) = if version == "3" {
            let (client, events) = rumqttc::AsyncClient::new(three(host, port, id, its), 10);
            (
                Client::Three(client),
                tokio::spawn(listen3(events, ends, its.back)),
            )
        } else {
            let (client, events) = v5::AsyncClient::new(five(host, port, id, its), 10);
            (
                Client::Five(client),
                tokio::spawn(listen5(events, ends, its.back)),
            )
        };
        let mut it = Peer {
            client,
            events,
            messages: coming,
            seen: told,
            present: false,
        };
        it.present = it.again().await?;
        Ok(it)
    }

    /// Whether its session is there, once it is connected again.
    pub async fn again(&mut self) -> Any<bool> {
        match timeout(DEADLINE, self.seen.recv())
            .await?
            .ok_or("no connection")?
        {
            Seen::Connected(present) => Ok(present),
            other => Err(format!("{other:?}, expected a connection").into()),
        }
    }

    async fn done(&mut self) -> Any<()> {
        match timeout(DEADLINE, self.seen.recv())
            .await?
            .ok_or("no connection")?
        {
            Seen::Done => Ok(()),
            other => Err(format!("{other:?}, expected an acknowledgement").into()),
        }
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Any<()> {
        match &self.client {
            Client::Three(it) => it.subscribe(filter, rumqttc::qos(qos)?).await?,
            Client::Five(it) => {
                let qos = v5::mqttbytes::qos(qos).ok_or("no such QoS")?;
                it.subscribe(filter, qos).await?
            }
        }
        self.done().await
    }

    pub async fn unsubscribe(&mut self, filter: &str) -> Any<()> {
        match &self.client {
            Client::Three(it) => it.unsubscribe(filter).await?,
            Client::Five(it) => it.unsubscribe(filter).await?,
        }
        self.done().await
    }

    /// Returns when it is acknowledged.
    pub async fn publish(&mut self, topic: &str, body: &str, qos: u8, retain: bool) -> Any<()> {
        let body = body.to_string();
        match &self.client {
            Client::Three(it) => it.publish(topic, rumqttc::qos(qos)?, retain, body).await?,
            Client::Five(it) => {
                let qos = v5::mqttbytes::qos(qos).ok_or("no such QoS")?;
                it.publish(topic, qos, retain, body).await?
            }
        }
        self.done().await
    }

    pub async fn next(&mut self) -> Any<Message> {
        Ok(timeout(DEADLINE, self.messages.recv())
            .await?
            .ok_or("no more messages")?)
    }

    pub async fn bodies(&mut self, count: usize) -> Any<Vec<String>> {
        let mut found = Vec::new();
        while found.len() < count {
            found.push(self.next().await?.body);
        }
        Ok(found)
    }

    /// The connection ends without a word.
    pub async fn drop(self) {
        self.events.abort();
        _ = self.events.await;
    }

    pub async fn close(mut self) -> Any<()> {
        match &self.client {
            Client::Three(it) => it.disconnect().await?,
            Client::Five(it) => it.disconnect().await?,
        }
        self.done().await?;
        self.drop().await;
        Ok(())
    }
}
