//! Brokers that speak nothing but TLS.

use bytes::Bytes;
use engineio_cluster::{Bus, BusEvent, ConnectBusError, Nats, Redis};

use crate::broker::{Broker, Kind};
use crate::node::{Audience, Node};

/// Connects with the certificate of the broker's authority.
async fn connect(broker: &Broker) -> Result<Box<dyn Bus>, ConnectBusError> {
    let url = broker.url();
    let authority = broker.authority().unwrap();
    Ok(match broker.kind {
        Kind::Nats => {
            let options =
                move || async_nats::ConnectOptions::new().add_root_certificates(authority.clone());
            Box::new(Nats::builder().from_options(options).connect(&url).await?)
        }
        Kind::Redis => {
            let certificates = redis::TlsCertificates {
                client_tls: None,
                root_cert: Some(std::fs::read(authority).unwrap()),
            };
            let client = redis::Client::build_with_tls(url, certificates).unwrap();
            Box::new(Redis::from_client(client).await?)
        }
    })
}

pub(crate) async fn a_bus_over_tls_delivers(kind: Kind) {
    let broker = Broker::with_tls(kind);
    let bus = connect(&broker).await.unwrap();
    bus.publish(Bytes::from_static(b"over TLS")).await.unwrap();
    let expected = BusEvent::Message(Bytes::from_static(b"over TLS"));
    assert_eq!(bus.next_event().await, expected);
}

/// The authorities of the system have not signed the certificate of the broker.
pub(crate) async fn a_broker_whose_certificate_nobody_vouches_for_is_refused(kind: Kind) {
    let broker = Broker::with_tls(kind);
    let url = broker.url();
    let error = match kind {
        Kind::Nats => Nats::connect(&url).await.map(drop),
        Kind::Redis => Redis::connect(&url).await.map(drop),
    };
    let error = error.unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let said = format!("{error} {}", cause.unwrap_or_default());
    assert!(said.contains("certificate"), "{said}");
}

/// The URL alone is enough where the system trusts the authority.
pub(crate) async fn nodes_meet_over_tls(kind: Kind) {
    let broker = Broker::with_tls(kind);
    let nodes = std::thread::scope(|scope| {
        let starting = ["a", "b"].map(|name| {
            let broker = &broker;
            scope.spawn(move || Node::start(name, broker))
        });
        starting.map(|node| node.join().unwrap())
    });
    let mut audience = Audience::connect(nodes.iter().map(Node::url)).await;
    audience.send(0, "bcast:over TLS").await;
    let got = audience.collect_until("bcast:over TLS").await;
    assert!(got.iter().all(Vec::is_empty), "{got:?}");
}
