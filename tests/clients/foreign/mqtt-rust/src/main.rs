//! One exercise with a broker, which checks itself: client VERSION HOST PORT EXERCISE.
//!
//! Sessions that last get QoS 1 here: this client forgets with its connection what has come with
//! QoS 2, and takes the PUBREL that a server then has to send again for an error.

mod peer;

use peer::{About, Any, DEADLINE, Message, Peer};
use std::collections::HashSet;
use std::fmt::Debug;
use tokio::io::AsyncBufReadExt;
use tokio::time::timeout;

const PLAIN: About = About {
    will: None,
    lasting: false,
    back: false,
};
const LASTING: About = About {
    will: None,
    lasting: true,
    back: false,
};

struct Broker {
    version: String,
    host: String,
    port: u16,
}

impl Broker {
    async fn connect(&self, id: &str, its: About) -> Any<Peer> {
        Peer::connect(&self.version, &self.host, self.port, id, its).await
    }
}

fn same<T: PartialEq + Debug>(found: T, expected: T) -> Any<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{found:?}, expected {expected:?}").into())
}

fn numbers(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|n| n.to_string()).collect()
}

fn message(topic: &str, body: &str, qos: u8, retained: bool) -> Message {
    Message {
        topic: topic.into(),
        body: body.into(),
        qos,
        retained,
    }
}

async fn qos(at: &Broker) -> Any<()> {
    let mut hearer = at.connect("q-hearer", PLAIN).await?;
    let mut sender = at.connect("q-sender", PLAIN).await?;
    for level in 0..3 {
        let topic = format!("rust/qos/{level}");
        hearer.subscribe(&topic, level).await?;
        for body in numbers(0, 50) {
            sender.publish(&topic, &body, level, false).await?;
        }
        for body in numbers(0, 50) {
            same(hearer.next().await?, message(&topic, &body, level, false))?;
        }
    }
    sender.publish("rust/qos/0", "x", 2, false).await?;
    same(hearer.next().await?.qos, 0)?; // not more than was granted
    hearer.unsubscribe("rust/qos/0").await?;
    sender.publish("rust/qos/0", "not heard", 1, false).await?;
    let large = "x".repeat(1 << 20);
    for level in 0..3 {
        sender.publish("rust/qos/2", &large, level, false).await?;
        same(hearer.next().await?.body == large, true)?;
    }
    Ok(())
}

async fn retained(at: &Broker) -> Any<()> {
    let mut sender = at.connect("r-sender", PLAIN).await?;
    for level in 0..3 {
        for body in ["old", "new"] {
            sender
                .publish(&format!("rust/kept/{level}"), body, level, true)
                .await?;
        }
    }
    let mut late = at.connect("r-late", PLAIN).await?;
    late.subscribe("rust/kept/+", 1).await?;
    let mut found = Vec::new();
    for _ in 0..3 {
        found.push(late.next().await?);
    }
    found.sort();
    let expected: Vec<_> = [0, 1, 1]
        .iter()
        .enumerate()
        .map(|(n, qos)| message(&format!("rust/kept/{n}"), "new", *qos, true))
        .collect();
    same(found, expected)?;
    for level in 0..3 {
        sender
            .publish(&format!("rust/kept/{level}"), "", 1, true)
            .await?;
        same(late.next().await?.retained, false)?;
    }
    let mut again = at.connect("r-again", PLAIN).await?;
    again.subscribe("rust/kept/#", 1).await?;
    sender.publish("rust/kept/end", "end", 1, false).await?;
    same(again.next().await?.body, "end".into())
}

async fn will(at: &Broker) -> Any<()> {
    let mut hearer = at.connect("w-hearer", PLAIN).await?;
    hearer.subscribe("rust/will/#", 1).await?;
    let its = |topic| About {
        will: Some(topic),
        ..PLAIN
    };
    at.connect("w-orderly", its("rust/will/never"))
        .await?
        .close()
        .await?;
    at.connect("w-lost", its("rust/will/lost"))
        .await?
        .drop()
        .await;
    same(
        hearer.next().await?,
        message("rust/will/lost", "gone", 1, false),
    )?;
    let mut late = at.connect("w-late", PLAIN).await?;
    late.subscribe("rust/will/#", 1).await?;
    same(
        late.next().await?,
        message("rust/will/lost", "gone", 1, true),
    )?;
    late.publish("rust/will/lost", "", 1, true).await
}

async fn session(at: &Broker) -> Any<()> {
    let mut away = at.connect("s-away", LASTING).await?;
    same(away.present, false)?;
    away.subscribe("rust/session/#", 1).await?;
    away.close().await?;
    let mut sender = at.connect("s-sender", PLAIN).await?;
    for (n, body) in numbers(0, 50).iter().enumerate() {
        sender
            .publish("rust/session/a", body, 1 + (n % 2) as u8, false)
            .await?;
    }
    let mut again = at.connect("s-away", LASTING).await?;
    same(again.present, true)?;
    same(again.bodies(50).await?, numbers(0, 50))?;
    again.drop().await;
    sender.publish("rust/session/a", "more", 2, false).await?;
    again = at.connect("s-away", LASTING).await?;
    same(again.present, true)?;
    after_last(&mut again, "more").await?;
    again.close().await?;
    let clean = at.connect("s-away", PLAIN).await?;
    same(clean.present, false)?;
    clean.close().await?;
    let fresh = at.connect("s-away", LASTING).await?;
    same(fresh.present, false)?;
    fresh.close().await?;
    at.connect("s-away", PLAIN).await?.close().await
}

/// The next is this one, behind those of 0 to 49 that were not acknowledged in time.
async fn after_last(from: &mut Peer, body: &str) -> Any<()> {
    let it = from.next().await?.body;
    if it != body {
        let at: usize = it.parse()?;
        let mut expected = numbers(at + 1, 49 - at);
        expected.push(body.into());
        same(from.bodies(50 - at).await?, expected)?;
    }
    Ok(())
}

async fn shared(at: &Broker) -> Any<()> {
    let mut one = at.connect("sh-one", PLAIN).await?;
    let mut two = at.connect("sh-two", PLAIN).await?;
    let mut sender = at.connect("sh-sender", PLAIN).await?;
    one.subscribe("$share/group/rust/shared", 1).await?;
    two.subscribe("$share/group/rust/shared", 1).await?;
    for body in numbers(0, 100) {
        sender.publish("rust/shared", &body, 1, false).await?;
    }
    let (mut seen, mut ones) = (HashSet::new(), 0);
    for _ in 0..100 {
        let it = timeout(DEADLINE, async {
            tokio::select! {
                it = one.messages.recv() => { ones += 1; it }
                it = two.messages.recv() => it,
            }
        });
        seen.insert(it.await?.ok_or("no more")?.body);
    }
    same(seen.len(), 100)?;
    same(ones > 0 && ones < 100, true)?;
    two.close().await?;
    for body in numbers(100, 20) {
        sender.publish("rust/shared", &body, 1, false).await?;
    }
    same(one.bodies(20).await?, numbers(100, 20))
}

async fn recovery(at: &Broker) -> Any<()> {
    let mut lasting = at
        .connect(
            "k-lasting",
            About {
                back: true,
                ..LASTING
            },
        )
        .await?;
    lasting.subscribe("rust/recovery/#", 1).await?;
    for (n, body) in numbers(0, 20).iter().enumerate() {
        lasting
            .publish("rust/recovery/a", body, 1 + (n % 2) as u8, false)
            .await?;
    }
    same(lasting.bodies(20).await?, numbers(0, 20))?;
    lasting
        .publish("rust/kept-recovery", "kept", 1, true)
        .await?;
    let mut away = at.connect("k-away", LASTING).await?;
    away.subscribe("rust/recovery/#", 1).await?;
    away.close().await?;
    lasting
        .publish("rust/recovery/b", "before", 2, false)
        .await?;
    same(lasting.next().await?.body, "before".into())?;
    println!("ready");
    let mut line = String::new();
    tokio::io::BufReader::new(tokio::io::stdin())
        .read_line(&mut line)
        .await?;
    same(lasting.again().await?, true)?;
    lasting
        .publish("rust/recovery/c", "after", 2, false)
        .await?;
    // The server may not have known of the last acknowledgements: what they are of comes again.
    loop {
        let body = lasting.next().await?.body;
        if body == "after" {
            break;
        }
        same(body == "before" || numbers(0, 20).contains(&body), true)?;
    }
    let mut away = at.connect("k-away", LASTING).await?;
    same(away.present, true)?;
    same(away.bodies(2).await?, vec!["before".into(), "after".into()])?;
    let mut late = at.connect("k-late", PLAIN).await?;
    late.subscribe("rust/kept-recovery", 1).await?;
    same(
        late.next().await?,
        message("rust/kept-recovery", "kept", 1, true),
    )
}

#[tokio::main]
async fn main() -> Any<()> {
    let words: Vec<String> = std::env::args().collect();
    let at = Broker {
        version: words[1].clone(),
        host: words[2].clone(),
        port: words[3].parse()?,
    };
    match words[4].as_str() {
        "qos" => qos(&at).await?,
        "retained" => retained(&at).await?,
        "will" => will(&at).await?,
        "session" => session(&at).await?,
        "shared" => shared(&at).await?,
        "recovery" => recovery(&at).await?,
        other => return Err(format!("no exercise {other}").into()),
    }
    println!("done");
    Ok(())
}
