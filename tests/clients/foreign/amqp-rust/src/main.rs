//! One exercise with a broker, which checks itself: client HOST PORT EXERCISE.

use futures_lite::stream::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, options::*,
    types::FieldTable,
};
use std::time::Duration;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);
type Any<T> = Result<T, Box<dyn std::error::Error>>;

async fn next(from: &mut Consumer) -> Any<lapin::message::Delivery> {
    Ok(timeout(DEADLINE, from.next()).await?.ok_or("no more")??)
}

async fn queue(channel: &Channel, name: &str, arguments: FieldTable) -> Any<()> {
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
        .await?;
    Ok(())
}

async fn consume(channel: &Channel, name: &str, no_ack: bool) -> Any<Consumer> {
    let options = BasicConsumeOptions {
        no_ack,
        ..Default::default()
    };
    Ok(channel
        .basic_consume(name.into(), "".into(), options, FieldTable::default())
        .await?)
}

async fn publish(
    channel: &Channel,
    key: &str,
    body: &str,
    with: BasicProperties,
) -> Any<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let sent = channel
        .basic_publish(
            "".into(),
            key.into(),
            options,
            body.as_bytes(),
            with.with_delivery_mode(2),
        )
        .await?;
    Ok(timeout(DEADLINE, sent).await??)
}

async fn bodies(from: &mut Consumer, count: usize) -> Any<Vec<String>> {
    let mut found = Vec::new();
    for _ in 0..count {
        let it = next(from).await?;
        found.push(String::from_utf8(it.data.clone())?);
        it.ack(BasicAckOptions::default()).await?;
    }
    Ok(found)
}

async fn exercise(name: &str, url: &str) -> Any<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let plain = BasicProperties::default;
    match name {
        "confirms" | "recovery" => {
            queue(&channel, "rust.kept", FieldTable::default()).await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            for n in 0..20 {
                let said = publish(&channel, "rust.kept", &n.to_string(), plain()).await?;
                assert!(matches!(said, Confirmation::Ack(None)), "{said:?}");
            }
            let mut channel = channel;
            if name == "recovery" {
                println!("ready");
                std::io::stdin().read_line(&mut String::new())?;
                let again = Connection::connect(url, ConnectionProperties::default()).await?;
                channel = again.create_channel().await?;
            }
            let found = bodies(&mut consume(&channel, "rust.kept", false).await?, 20).await?;
            assert_eq!((found[0].as_str(), found[19].as_str()), ("0", "19"));
        }
        "returned" => {
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            match publish(&channel, "rust.nowhere", "x", plain()).await? {
                Confirmation::Ack(Some(back)) => assert_eq!(back.reply_code, 312),
                other => panic!("{other:?}"),
            }
        }
        "prefetch" => {
            queue(&channel, "rust.few", FieldTable::default()).await?;
            channel.basic_qos(2, BasicQosOptions::default()).await?;
            let mut from = consume(&channel, "rust.few", false).await?;
            for n in 0..5 {
                publish(&channel, "rust.few", &n.to_string(), plain()).await?;
            }
            let (one, two) = (next(&mut from).await?, next(&mut from).await?);
            assert_eq!(
                (one.data.as_slice(), two.data.as_slice()),
                (b"0".as_slice(), b"1".as_slice())
            );
            one.nack(BasicNackOptions {
                requeue: true,
                ..Default::default()
            })
            .await?;
            let again = next(&mut from).await?;
            assert!(again.redelivered && again.data == b"0");
            two.ack(BasicAckOptions::default()).await?;
            again.reject(BasicRejectOptions { requeue: false }).await?;
            assert_eq!(bodies(&mut from, 3).await?, ["2", "3", "4"]);
        }
        "dead letter" => {
            queue(&channel, "rust.dead", FieldTable::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert(
                "x-dead-letter-exchange".into(),
                lapin::types::AMQPValue::LongString("".into()),
            );
            arguments.insert(
                "x-dead-letter-routing-key".into(),
                lapin::types::AMQPValue::LongString("rust.dead".into()),
            );
            queue(&channel, "rust.work", arguments).await?;
            publish(&channel, "rust.work", "poison", plain()).await?;
            let poison = next(&mut consume(&channel, "rust.work", false).await?).await?;
            poison.nack(BasicNackOptions::default()).await?;
            let dead = next(&mut consume(&channel, "rust.dead", true).await?).await?;
            let headers = dead.properties.headers().clone().ok_or("no headers")?;
            assert!(headers.inner().contains_key("x-death"), "{headers:?}");
        }
        "priorities" => {
            let mut arguments = FieldTable::default();
            arguments.insert("x-max-priority".into(), lapin::types::AMQPValue::LongInt(5));
            queue(&channel, "rust.ranks", arguments).await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            for n in [1u8, 5, 0, 9, 3] {
                publish(
                    &channel,
                    "rust.ranks",
                    &n.to_string(),
                    plain().with_priority(n),
                )
                .await?;
            }
            let mut from = consume(&channel, "rust.ranks", false).await?;
            assert_eq!(bodies(&mut from, 5).await?, ["5", "9", "3", "1", "0"]);
        }
        "transactions" => {
            queue(&channel, "rust.tx", FieldTable::default()).await?;
            channel.tx_select().await?;
            publish(&channel, "rust.tx", "1", plain()).await?;
            channel.tx_rollback().await?;
            publish(&channel, "rust.tx", "2", plain()).await?;
            channel.tx_commit().await?;
            let got = channel
                .basic_get("rust.tx".into(), BasicGetOptions::default())
                .await?;
            let got = got.ok_or("nothing there")?;
            assert_eq!(got.data, b"2");
            got.ack(BasicAckOptions::default()).await?;
            channel.tx_commit().await?;
        }
        "reply to" => {
            queue(&channel, "rust.rpc", FieldTable::default()).await?;
            let mut answers = consume(&channel, "amq.rabbitmq.reply-to", true).await?;
            let asked = plain().with_reply_to("amq.rabbitmq.reply-to".into());
            publish(&channel, "rust.rpc", "hello", asked).await?;
            let request = next(&mut consume(&channel, "rust.rpc", true).await?).await?;
            let to = request.properties.reply_to().clone().ok_or("no reply_to")?;
            publish(&channel, to.as_str(), "HELLO", plain()).await?;
            assert_eq!(next(&mut answers).await?.data, b"HELLO");
        }
        "passive" => {
            let options = QueueDeclareOptions {
                passive: true,
                ..Default::default()
            };
            let said = channel
                .queue_declare("rust.no".into(), options, FieldTable::default())
                .await
                .expect_err("it is there")
                .to_string();
            assert!(said.contains("no queue 'rust.no' in vhost '/'"), "{said}");
        }
        other => panic!("no exercise {other}"),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Any<()> {
    let words: Vec<String> = std::env::args().collect();
    let url = format!("amqp://guest:guest@{}:{}/%2f", words[1], words[2]);
    exercise(&words[3], &url).await?;
    println!("done");
    std::process::exit(0)
}
