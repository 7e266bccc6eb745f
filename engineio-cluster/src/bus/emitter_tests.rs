//! An emitter and the clients of two nodes, over a bus in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engineio_tower::{EngineIoService, Message, Server, Sid};
use http_body_util::{BodyExt, Empty};
use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use super::{Bus, EmitError, Emitter, MemoryBroker, MemoryBus, PublishError};
use crate::members::Members;
use crate::membership::{Local, Membership};

struct Node {
    _membership: Membership,
    server: Server,
    bus: Arc<MemoryBus>,
}

async fn join(broker: &MemoryBroker, name: &'static str) -> Node {
    let next = AtomicU8::new(0);
    let server = Server::builder()
        .generate_sid(move |_| {
            let random = Sid::from_random([next.fetch_add(1, Ordering::Relaxed); 15]);
            async move { format!("{random}.{name}").parse().unwrap() }
        })
        .build();
    let local = Local {
        id: name.parse().unwrap(),
        incarnation: u64::from(name.as_bytes()[0]),
        address: format!("{name}:7000").into(),
    };
    let bus = Arc::new(broker.connect());
    let shared: Arc<dyn Bus> = bus.clone();
    let membership = Membership::join(shared, local, Members::new(), server.clone());
    Node {
        _membership: membership.await.unwrap(),
        server,
        bus,
    }
}

impl Node {
    /// Connects a client that polls.
    async fn client(&self) -> Sid {
        let opened = self.get("").await;
        let (_, rest) = opened.split_once(r#""sid":""#).unwrap();
        rest.split_once('"').unwrap().0.parse().unwrap()
    }

    /// Returns what a poll of the client fetches.
    async fn poll(&self, sid: &Sid) -> String {
        self.get(&format!("&sid={sid}")).await
    }

    async fn get(&self, query: &str) -> String {
        let request = http::Request::get(format!("/engine.io/?EIO=4&transport=polling{query}"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let mut service = EngineIoService::new(self.server.clone());
        let response = service.call(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }
}

/// Lets time pass on the clock of the test, which stands still otherwise.
async fn pass(time: Duration) {
    sleep_until(Instant::now() + time).await;
}

async fn settle() {
    pass(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_every_client_of_every_node_once() {
    let broker = MemoryBroker::new();
    let (a, b) = (join(&broker, "a").await, join(&broker, "b").await);
    let (of_a, of_b) = (a.client().await, b.client().await);
    let emitter = Emitter::connect(broker.connect()).await;
    assert_eq!(emitter.broadcast("hello").await, Ok(2));
    assert_eq!(emitter.broadcast(b"\x01\x02").await, Ok(2));
    settle().await;
    assert_eq!(a.poll(&of_a).await, "4hello\u{1e}bAQI=");
    assert_eq!(b.poll(&of_b).await, "4hello\u{1e}bAQI=");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_bus_delivers_twice_reaches_a_client_once() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let of_a = a.client().await;
    let echo = broker.connect();
    let emitter = Emitter::connect(broker.connect()).await;
    emitter.broadcast("once").await.unwrap();
    // The bus repeats everything that it carried.
    let mut repeated = 0;
    while let Ok(event) = tokio::time::timeout(Duration::ZERO, echo.next_event()).await {
        if let super::BusEvent::Message(message) = event {
            broker.inject(message);
            repeated += 1;
        }
        if repeated == 20 {
            break;
        }
    }
    settle().await;
    emitter.broadcast("end").await.unwrap();
    settle().await;
    assert_eq!(a.poll(&of_a).await, "4once\u{1e}4end");
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_one_client_and_the_outcome_comes_back() {
    let broker = MemoryBroker::new();
    let (a, b) = (join(&broker, "a").await, join(&broker, "b").await);
    let (of_a, of_b) = (a.client().await, b.client().await);
    let emitter = Emitter::connect(broker.connect()).await;
    for number in 0..10 {
        let message = Message::from(number.to_string());
        assert_eq!(emitter.send(&of_b, message).await, Ok(()));
    }
    let expected: Vec<_> = (0..10).map(|number| format!("4{number}")).collect();
    assert_eq!(b.poll(&of_b).await, expected.join("\u{1e}"));
    assert_eq!(a.server.socket(&of_a).unwrap().queued_messages(), 0);
    assert_eq!(
        emitter.send(&of_a, "a\u{1e}b").await,
        Err(EmitError::Separator)
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_is_disconnected_wherever_it_is() {
    let broker = MemoryBroker::new();
    let b = join(&broker, "b").await;
    let sid = b.client().await;
    let emitter = Emitter::connect(broker.connect()).await;
    assert_eq!(emitter.disconnect(&sid).await, Ok(true));
    assert_eq!(b.poll(&sid).await, "1");
    assert_eq!(emitter.disconnect(&sid).await, Ok(false));
    assert_eq!(emitter.send(&sid, "late").await, Err(EmitError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_session_of_no_node_is_closed_at_once() {
    let broker = MemoryBroker::new();
    let _a = join(&broker, "a").await;
    let emitter = Emitter::connect(broker.connect()).await;
    let began = Instant::now();
    for sid in ["AAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA.gone"] {
        let sid: Sid = sid.parse().unwrap();
        assert_eq!(emitter.send(&sid, "hello").await, Err(EmitError::Closed));
        assert_eq!(emitter.disconnect(&sid).await, Ok(false));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_answer_leaves_the_outcome_open_after_five_seconds() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let sid = a.client().await;
    let emitter = Emitter::connect(broker.connect()).await;
    a.bus.set_deaf(true);
    let began = Instant::now();
    let error = emitter.send(&sid, "perhaps").await.unwrap_err();
    assert_eq!(error, EmitError::Unanswered);
    assert!(error.may_have_arrived());
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_lost_bus_is_told_to_the_caller_at_once() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let sid = a.client().await;
    let emitter = Emitter::connect(broker.connect()).await;
    a.bus.set_deaf(true);
    let waiting = tokio::spawn({
        let emitter = emitter.clone();
        async move { emitter.send(&sid, "perhaps").await }
    });
    settle().await;
    let stopped = Instant::now();
    broker.stop();
    assert_eq!(waiting.await.unwrap(), Err(EmitError::Unanswered));
    assert_eq!(stopped.elapsed(), Duration::ZERO);
    let gone = Err(EmitError::Publish(PublishError::Disconnected));
    assert_eq!(emitter.broadcast("hello").await, gone);
    pass(Duration::from_secs(60)).await;
    assert_eq!(
        emitter.broadcast("hello").await,
        gone,
        "the nodes are not forgotten"
    );
    a.bus.set_deaf(false);
    broker.start();
    pass(Duration::from_secs(2)).await;
    assert_eq!(emitter.broadcast("hello").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn broadcasts_that_the_broker_swallows_are_unconfirmed_after_three_seconds_all_at_the_same_time()
 {
    let broker = MemoryBroker::new();
    let _a = join(&broker, "a").await;
    let bus = Arc::new(broker.connect());
    let emitter = Emitter::listen_on(bus.clone()).await;
    bus.set_loses_published(true);
    let began = Instant::now();
    let outcomes = tokio::join!(emitter.broadcast("one"), emitter.broadcast("two"));
    let unconfirmed = Err(EmitError::Publish(PublishError::Unconfirmed));
    assert_eq!(outcomes, (unconfirmed.clone(), unconfirmed));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    bus.set_loses_published(false);
    assert_eq!(emitter.broadcast("three").await, Ok(1));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_not_been_heard_since_the_bus_came_back_is_named_until_it_is() {
    let broker = MemoryBroker::new();
    let (_a, b) = (join(&broker, "a").await, join(&broker, "b").await);
    let emitter = Emitter::connect(broker.connect()).await;
    // It is not connected again when the others are.
    b.bus.set_loses_published(true);
    broker.stop();
    broker.start();
    settle().await;
    let error = emitter.broadcast("hello").await.unwrap_err();
    assert_eq!(error, EmitError::Unheard(vec!["b".parse().unwrap()]));
    assert!(error.may_have_arrived());
    b.bus.set_loses_published(false);
    pass(Duration::from_secs(1)).await;
    assert_eq!(emitter.broadcast("hello").await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_died_before_the_bus_was_lost_is_not_alive_when_it_is_back() {
    let broker = MemoryBroker::new();
    let (_a, b) = (join(&broker, "a").await, join(&broker, "b").await);
    let emitter = Emitter::connect(broker.connect()).await;
    drop(b);
    pass(Duration::from_secs(5)).await;
    assert_eq!(emitter.nodes().len(), 1);
    broker.stop();
    settle().await;
    assert_eq!(emitter.nodes().len(), 1);
    broker.start();
    settle().await;
    assert_eq!(emitter.nodes().len(), 1);
    assert_eq!(emitter.broadcast("hello").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn an_emitter_that_hears_nothing_any_more_asks_for_one_new_connection() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let bus = Arc::new(broker.connect());
    let emitter = Emitter::listen_on(bus.clone()).await;
    bus.set_deaf(true);
    pass(Duration::from_secs(6)).await;
    assert_eq!(bus.reconnects(), 1);
    assert_eq!(emitter.broadcast("hello").await, Err(EmitError::NoNodes));
    bus.set_deaf(false);
    pass(Duration::from_secs(1)).await;
    assert_eq!(emitter.broadcast("hello").await, Ok(1));
    // It does not reconnect for ever while no node runs.
    drop(a);
    pass(Duration::from_secs(60)).await;
    assert_eq!(bus.reconnects(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_to_nobody_is_an_error() {
    let broker = MemoryBroker::new();
    let emitter = Emitter::connect(broker.connect()).await;
    assert_eq!(emitter.broadcast("hello").await, Err(EmitError::NoNodes));
    let a = join(&broker, "a").await;
    assert_eq!(emitter.nodes().len(), 1);
    drop(a);
    pass(Duration::from_secs(5)).await;
    assert_eq!(emitter.broadcast("hello").await, Err(EmitError::NoNodes));
}

#[tokio::test(start_paused = true)]
async fn a_message_above_the_limit_of_the_bus_is_refused() {
    let broker = MemoryBroker::new();
    let a = join(&broker, "a").await;
    let sid = a.client().await;
    let emitter = Emitter::connect(broker.connect()).await;
    let large = vec![0; crate::MAX_MESSAGE];
    for outcome in [
        emitter.broadcast(large.clone()).await.map(drop),
        emitter.send(&sid, large).await,
    ] {
        let refused = matches!(
            outcome,
            Err(EmitError::Publish(PublishError::TooLarge { .. }))
        );
        assert!(refused, "{outcome:?}");
    }
}
