//! A client that behaves: it connects, talks, leaves and comes back, and keeps the book of what it sends.

use std::sync::Arc;
use std::time::Duration;

use engineio_client::{Client, DisconnectReason, Handle, Revision, Transport};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::book::Book;
use crate::message::Messages;
use crate::{PATIENCE, Run};

/// The maximum number of messages in flight.
const WINDOW: usize = 32;

/// The most messages of a session.
const MOST_MESSAGES: u64 = 400;

/// The ways in which a session reaches the server.
const WAYS: [(&str, &[Transport]); 3] = [
    ("polling", &[Transport::Polling]),
    ("websocket", &[Transport::WebSocket]),
    ("upgrading", &[Transport::Polling, Transport::WebSocket]),
];

/// The way a session ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// When everything is back, the client says goodbye.
    Leaves,
    /// The last message asks the server to end it. What came before must come back all the same.
    Dismissed,
    /// The client drops everything after this many echoes. Messages in flight do not count as lost.
    BreaksOff(u64),
}

/// The plan of one session.
#[derive(Clone, Copy, Debug)]
struct Plan {
    messages: Messages,
    count: u64,
    ending: Ending,
    /// A pause before this message, so that heartbeats alone keep the session.
    pause: Option<(u64, Duration)>,
}

/// Lives as a client until the time is over.
pub(crate) async fn behave(run: Arc<Run>, number: u64) {
    let mut random = run.options.random(number);
    while !run.is_over() {
        if let Err(trouble) = session(&run, &mut random).await {
            run.report.trouble(trouble);
        }
        sleep(Duration::from_millis(random.u64(0..200))).await;
    }
}

async fn session(run: &Run, random: &mut fastrand::Rng) -> Result<(), String> {
    let (way, transports) = WAYS[random.usize(..WAYS.len())];
    let is_old = run.options.eio3 && random.u8(0..4) == 0;
    let revision = if is_old { Revision::V3 } else { Revision::V4 };
    let name = format!("{way}{}", if is_old { ", revision 3" } else { "" });
    let plan = Plan::draw(random, run.options.life);
    let connecting = Client::builder(&run.options.url)
        .transports(transports.iter().copied())
        .revision(revision)
        .connect();
    let mut client = match timeout(PATIENCE, connecting).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(format!("{name}: cannot connect: {error}")),
        Err(_) => return Err(format!("{name}: connecting hangs")),
    };
    run.report.session_begins(&name);
    let mut book = Book::new(plan.messages, plan.count);
    let outcome = talk(run, &mut client, plan, &mut book).await;
    let sent = match plan.ending {
        Ending::BreaksOff(_) => None,
        Ending::Leaves | Ending::Dismissed => Some(plan.count),
    };
    let reason = client.disconnect_reason();
    run.report.session_ends(book.close(sent), reason);
    outcome.map_err(|what| {
        let error = client.disconnect_error();
        let error = error.map_or_else(String::new, |error| format!(", {error}"));
        format!("{name}, {plan:?}: {what} ({reason:?}{error})")
    })
}

async fn talk(run: &Run, client: &mut Client, plan: Plan, book: &mut Book) -> Result<(), String> {
    let window = Arc::new(Semaphore::new(WINDOW));
    let sender = send(client.handle(), plan, Arc::clone(&window));
    let is_enough = |book: &Book| match plan.ending {
        Ending::Leaves => book.next() >= plan.count,
        Ending::BreaksOff(after) => book.next() >= after,
        Ending::Dismissed => false,
    };
    let limit = PATIENCE + plan.pause.map_or(Duration::ZERO, |(_, pause)| pause);
    while !is_enough(book) {
        let next = timeout(limit, client.next()).await;
        let Ok(next) = next else {
            sender.abort();
            return Err(format!("hangs after {} echoes", book.next()));
        };
        let Some(message) = next else { break };
        book.enter(&message);
        run.report.message(message.len());
        window.add_permits(1);
    }
    match plan.ending {
        Ending::BreaksOff(_) => client.abort(),
        Ending::Leaves => {
            let closed = timeout(PATIENCE, client.close()).await;
            closed.map_err(|_| "closing hangs".to_owned())?;
        }
        Ending::Dismissed => {}
    }
    // Nothing that was not asked for may come behind the last echo.
    let rest = async {
        while let Some(message) = client.next().await {
            book.enter(&message);
        }
    };
    let ended = timeout(PATIENCE, rest).await;
    sender.abort();
    ended.map_err(|_| "the stream has no end".to_owned())?;
    let expected = match plan.ending {
        Ending::Dismissed => DisconnectReason::Server,
        Ending::Leaves | Ending::BreaksOff(_) => DisconnectReason::Client,
    };
    if client.disconnect_reason() == Some(expected) {
        Ok(())
    } else {
        Err(format!("ends otherwise after {} echoes", book.next()))
    }
}

/// Sends what is planned, in a task of its own: who sends without reading waits for itself.
fn send(handle: Handle, plan: Plan, window: Arc<Semaphore>) -> JoinHandle<()> {
    tokio::spawn(async move {
        for number in 0..plan.count {
            if let Some((at, pause)) = plan.pause
                && at == number
            {
                sleep(pause).await;
            }
            let Ok(permit) = window.acquire().await else {
                return;
            };
            permit.forget();
            // The reader tells what it means when the session is over.
            if handle.send(plan.messages.get(number)).await.is_err() {
                return;
            }
        }
        if plan.ending == Ending::Dismissed {
            let _ = handle.send("close-me").await;
        }
    })
}

impl Plan {
    fn draw(random: &mut fastrand::Rng, life: Duration) -> Self {
        let count = random.u64(1..=MOST_MESSAGES);
        let ending = match random.u8(0..4) {
            0 => Ending::BreaksOff(random.u64(0..count)),
            1 => Ending::Dismissed,
            _ => Ending::Leaves,
        };
        let pause = match random.u8(0..8) {
            // Longer than the server waits for a client that says nothing.
            0 => Some(life + Duration::from_millis(random.u64(0..1_000))),
            1..5 => Some(Duration::from_millis(random.u64(0..500))),
            _ => None,
        };
        Self {
            messages: Messages::new(random.u64(..)),
            count,
            ending,
            pause: pause.map(|pause| (random.u64(0..count), pause)),
        }
    }
}
