//! WebTransport sessions: the interface to `engineio-webtransport`, which has the connections.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use engineio_core::codec::v4;
use engineio_core::driver::catch_panic;
use engineio_core::{DisconnectReason, Packet, Query, Refusal, Revision, Sid, Transport};
use engineio_websocket::{PacketStream, Received};
use http::StatusCode;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::http::connect::ConnectFuture;
use crate::http::driver::Driver;
use crate::http::engine::panicked;
use crate::http::response::Answer;
use crate::http::time_limit::{ORIGIN_PREDICATE, TimeLimit};
use crate::policy::admission::{Admission, Permit};
use crate::policy::options::Options;
use crate::policy::origin::Verdict;
use crate::server::{Server, meter};
use crate::session::Opening;
use crate::session::closing::Said;
use crate::session::driver::LinkDriver;

/// The largest first packet: one with a session id, in bytes.
const FIRST_PACKET: usize = 256;

/// The connections that may be waiting for their first packet, in all and of one address.
const NEWCOMERS: (usize, usize) = (1_000, 16);

/// Those among them whose address may be forged.
const UNVALIDATED: (usize, usize) = (250, 4);

/// Serves the WebTransport sessions of a server. For `engineio-webtransport`.
pub struct Listener {
    server: Server,
    newcomers: Arc<Admission>,
    unvalidated: Arc<Admission>,
}

/// Lets a server announce WebTransport to clients that poll, until it is dropped.
#[derive(Debug)]
pub struct Announcement(Server);

/// The place of a connection that has not sent its first packet, among a limited number of them. Dropping it frees the
/// place.
#[derive(Debug)]
pub struct Newcomer {
    _place: Permit,
    /// That among those whose address may be forged.
    _unvalidated: Option<Permit>,
}

/// The end of a WebTransport session, of which the peer has not been told yet.
///
/// A shutdown waits until this is dropped.
#[derive(Debug)]
pub struct Closed {
    /// The code with which the session is closed.
    pub code: u32,
    /// The reason with which it is closed: text, or the JSON of a refusal.
    pub reason: Cow<'static, str>,
    /// The time that the peer has to take what was written, the end of the stream included. `None` if there is nobody to
    /// wait for.
    pub patience: Option<Duration>,
    /// The time within which the peer has to take more of that data.
    pub stall: Duration,
    _driver: Option<LinkDriver>,
}

impl Listener {
    /// Creates a listener, or returns `None` if WebTransport is not among the
    /// [transports](crate::ServerBuilder::transports) of the server.
    #[must_use]
    pub fn new(server: &Server) -> Option<Self> {
        if !server
            .inner()
            .config
            .transports
            .contains(Transport::WebTransport)
        {
            return None;
        }
        let places = |(in_all, of_one)| {
            Admission::new(&Options {
                max_sockets: in_all,
                max_sockets_per_peer: of_one,
                max_pending_sockets: usize::MAX,
                ..Options::default()
            })
        };
        Some(Self {
            server: server.clone(),
            newcomers: places(NEWCOMERS),
            unvalidated: places(UNVALIDATED),
        })
    }

    /// Announces the transport until the returned value is dropped.
    #[must_use]
    pub fn announce(&self) -> Announcement {
        self.server.inner().listening.begin();
        Announcement(self.server.clone())
    }

    /// Returns a place for a new connection, or `None` if all are taken.
    ///
    /// `validated` means that the peer has proved that it receives packets sent to its address. Other peers may have only
    /// some of the places, so that nobody can use up those of a forged address; a peer that gets none can be asked for the
    /// proof.
    #[must_use]
    pub fn begin(&self, peer: SocketAddr, validated: bool) -> Option<Newcomer> {
        let place = |places: &Arc<Admission>| places.admit(Some(peer.ip())).ok();
        Some(Newcomer {
            _place: place(&self.newcomers)?,
            _unvalidated: match validated {
                true => None,
                false => Some(place(&self.unvalidated)?),
            },
        })
    }

    /// Returns the time limit for the first packet.
    #[must_use]
    pub fn first_packet_timeout(&self) -> Duration {
        self.server.inner().config.upgrade_timeout
    }

    /// Returns the time between two pings of the server.
    #[must_use]
    pub fn ping_interval(&self) -> Duration {
        self.server.inner().config.ping_interval
    }

    /// Returns the longest time between two packets of a client that is alive.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.server.heartbeat()
    }

    /// Waits until the server has shut down.
    pub async fn shut_down(&self) {
        // Closed then, and never given a permit.
        let _ = self.server.inner().over.acquire().await;
    }

    /// Checks the request for a session by its head: the path, the origin, and whether new clients are accepted.
    ///
    /// # Errors
    ///
    /// Returns the status with which the request is refused.
    pub async fn check(&self, head: &Parts) -> Result<(), StatusCode> {
        let inner = self.server.inner();
        if !self.server.claims(head.uri.path()) {
            return Err(StatusCode::NOT_FOUND);
        }
        if inner.is_leaving() {
            return Err(refused(Refusal::Unavailable));
        }
        let query = head.uri.query().unwrap_or_default();
        let is_other = Query::parse(query).revision != Some(Revision::V4);
        if is_other && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "EIO") {
            return Err(refused(Refusal::UnsupportedVersion));
        }
        let check = || inner.options.origins.check(head, false);
        let allowed = match catch_panic(check) {
            Ok(Verdict::Allowed) => true,
            Ok(Verdict::Refused) => false,
            Ok(Verdict::Ask(answer)) => {
                let _pending = inner.admission.begin_request().map_err(refused)?;
                let mut limit = TimeLimit::new(inner.options.connect_timeout);
                let answer = limit.run(&ORIGIN_PREDICATE, answer).await;
                answer.map_err(|rejection| rejection.status())?
            }
            Err(_) => return Err(ORIGIN_PREDICATE.panicked().status()),
        };
        if !allowed {
            inner.options.origins.log_refusal(head);
            return Err(refused(Refusal::Forbidden));
        }
        Ok(())
    }

    /// Serves the stream of a session whose request was checked, from its first byte to its end.
    ///
    /// The first packet must be complete by the deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping it means that the client went away.
    pub fn serve<IO: AsyncRead + AsyncWrite + Unpin>(
        &self,
        head: Parts,
        peer: SocketAddr,
        io: IO,
        deadline: Instant,
        newcomer: Newcomer,
    ) -> impl Future<Output = Closed> {
        let stream = PacketStream::new(io, FIRST_PACKET);
        // In memory of its own, which is free again while the session lives.
        let begin = Box::pin(self.begin_session(head, peer, stream, deadline, newcomer));
        async move {
            // They stay where they are, because the future would hold twice what it moves.
            let mut running = match begin.await {
                Ok(running) => running,
                Err(closed) => return closed,
            };
            let Running { stream, driver } = &mut *running;
            let said = driver.run_stream(stream).await;
            Closed::after(said, running.driver)
        }
    }

    /// Reads the first packet, and does what it asks for.
    async fn begin_session<IO: AsyncRead + AsyncWrite + Unpin>(
        &self,
        head: Parts,
        peer: SocketAddr,
        mut stream: PacketStream<IO>,
        deadline: Instant,
        newcomer: Newcomer,
    ) -> Result<Box<Running<IO>>, Closed> {
        let first = tokio::time::timeout_at(deadline, first_packet(&mut stream)).await;
        drop(newcomer);
        let driver = match first {
            Ok(Some(First::Open)) => self.open(head, peer).await,
            Ok(Some(First::Upgrade(sid))) => self.upgrade(&sid),
            Ok(None) => Err(Closed::at_once(DisconnectReason::TransportError)),
            Err(_) => Err(Closed::at_once(DisconnectReason::TransportClose)),
        };
        driver.map(|driver| Box::new(Running { stream, driver }))
    }

    /// Opens a session, if the connect handler accepts the client.
    async fn open(&self, head: Parts, peer: SocketAddr) -> Result<LinkDriver, Closed> {
        let inner = self.server.inner();
        let opening = Opening {
            transport: Transport::WebTransport,
            revision: Revision::V4,
            base64: false,
        };
        let limit = TimeLimit::new(inner.options.connect_timeout);
        let answer = match inner.is_leaving() {
            true => Refusal::Unavailable.into(),
            false => {
                // Around the hooks that are called on the way.
                let open = || ConnectFuture::open(inner, head, Some(peer), opening, limit);
                match catch_panic(open) {
                    Ok(Ok(mut connecting)) => {
                        poll_fn(|cx| {
                            let poll = || Pin::new(&mut connecting).poll(cx);
                            let progress = catch_panic(poll);
                            progress.unwrap_or_else(|_| Poll::Ready(panicked()))
                        })
                        .await
                    }
                    Ok(Err(refusal)) => refusal.into(),
                    Err(_) => panicked(),
                }
            }
        };
        let (status, body) = match answer {
            Answer::Response(mut response) => match Driver::take_link(&mut response) {
                Some(driver) => return Ok(driver),
                None => return Err(Closed::at_once(DisconnectReason::TransportError)),
            },
            Answer::Refused(rejection) => {
                meter::turned_away();
                let body = String::from_utf8_lossy(rejection.body()).into_owned();
                (rejection.status(), body)
            }
            Answer::Refusal(refusal) => (refused(refusal), refusal.body()),
            _ => return Err(Closed::at_once(DisconnectReason::TransportError)),
        };
        Err(Closed {
            code: status.as_u16().into(),
            reason: body.into(),
            patience: None,
            stall: Duration::ZERO,
            _driver: None,
        })
    }

    /// Opens a link of a session that was opened by polling. The answer does not tell why there is none.
    fn upgrade(&self, sid: &Sid) -> Result<LinkDriver, Closed> {
        let inner = self.server.inner();
        let session = inner.registry.get(sid);
        let session = session.filter(|session| session.revision == Revision::V4);
        let opened = session.ok_or(Refusal::UnknownSid).and_then(|session| {
            // The runtime of the listener may not have served this server yet.
            let _ = inner.deadlines.watch(inner);
            let id = session.open_link(Transport::WebTransport, false)?;
            Ok(LinkDriver::new(session, id))
        });
        opened.map_err(|refusal| {
            refused(refusal);
            Closed::at_once(DisconnectReason::TransportError)
        })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.0.inner().listening.end();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Closed {
    /// No data is on its way to the peer.
    fn at_once(reason: DisconnectReason) -> Self {
        Self {
            code: reason.webtransport_code(),
            reason: reason.as_str().into(),
            patience: None,
            stall: Duration::ZERO,
            _driver: None,
        }
    }

    fn after(said: Said, driver: LinkDriver) -> Self {
        let Said {
            ending,
            said,
            heard,
        } = said;
        Self {
            patience: (said && !heard).then_some(ending.patience),
            stall: ending.stall(),
            _driver: Some(driver),
            ..Self::at_once(ending.reason)
        }
    }
}

/// A session that is served.
struct Running<IO> {
    stream: PacketStream<IO>,
    driver: LinkDriver,
}

/// The first packet of a client.
enum First {
    Open,
    Upgrade(Sid),
}

/// Reads the first packet. Returns `None` for anything that does not open or upgrade a session.
async fn first_packet<IO>(stream: &mut PacketStream<IO>) -> Option<First>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let received = loop {
        if let Some(received) = poll_fn(|cx| stream.poll_read(cx)).await {
            break received;
        }
    };
    let Received::Frame(frame) = received else {
        return None;
    };
    let Ok(Packet::Open(data)) = v4::decode_frame(frame) else {
        return None;
    };
    if data.is_empty() {
        return Some(First::Open);
    }
    let data: serde_json::Value = serde_json::from_slice(&data).ok()?;
    let sid = data.get("sid")?.as_str()?.parse().ok()?;
    Some(First::Upgrade(sid))
}

/// Counts a refusal. Returns its status.
fn refused(refusal: Refusal) -> StatusCode {
    meter::refused(refusal);
    StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn listener() -> Listener {
        let transports = [Transport::Polling, Transport::WebTransport];
        Listener::new(&Server::builder().transports(transports).build()).unwrap()
    }

    /// The address of a host in one of many IPv6 networks.
    fn host(network: u16, host: u16) -> SocketAddr {
        (Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host), 443).into()
    }

    #[tokio::test]
    async fn a_thousand_newcomers_have_a_place_and_the_next_one_after_one_of_them() {
        for (validated, in_all) in [(true, 1_000), (false, 250)] {
            let listener = listener();
            let places = (0..in_all).map(|network| listener.begin(host(network, 1), validated));
            let mut places: Vec<_> = places.map(Option::unwrap).collect();
            assert!(listener.begin(host(in_all, 1), validated).is_none());
            places.pop();
            assert!(listener.begin(host(in_all, 1), validated).is_some());
        }
    }

    #[tokio::test]
    async fn a_network_has_the_places_of_one_client_whether_its_addresses_are_proved_or_not() {
        for (validated, of_one) in [(true, 16), (false, 4)] {
            let listener = listener();
            let places = (0..of_one).map(|n| listener.begin(host(1, n), validated).unwrap());
            let places: Vec<_> = places.collect();
            assert!(listener.begin(host(1, of_one), validated).is_none());
            // Others are served meanwhile.
            assert!(listener.begin(host(2, 1), validated).is_some());
            drop(places);
            assert!(listener.begin(host(1, of_one), validated).is_some());
        }
    }

    #[tokio::test]
    async fn forged_addresses_leave_places_to_their_owner() {
        let listener = listener();
        let forged: Vec<_> = (0..5).map(|n| listener.begin(host(1, n), false)).collect();
        assert_eq!(forged.iter().flatten().count(), 4);
        let proved: Vec<_> = (0..13).map(|n| listener.begin(host(1, n), true)).collect();
        assert_eq!(proved.iter().flatten().count(), 12);
        assert!(listener.begin(host(1, 1), false).is_none());
        // A refusal has left nothing behind.
        drop(forged);
        let proved: Vec<_> = (0..5).map(|n| listener.begin(host(1, n), true)).collect();
        assert_eq!(proved.iter().flatten().count(), 4);
    }
}
