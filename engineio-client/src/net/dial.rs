//! TCP connections to a name, of which all addresses are tried (RFC 8305).

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use tokio::net::{TcpSocket, TcpStream};

use super::custom::CustomConnector;
use super::stream::Stream;
use crate::error::BoxError;
use crate::panics::catch_panics;

/// The time after which the next address is tried in parallel, as RFC 8305 § 5 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the host and port of a URL: by TCP, or as the application's connector does.
#[derive(Debug)]
pub(crate) enum Dialer {
    Tcp(TcpOptions),
    Custom(CustomConnector),
}

/// The options for TCP connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct TcpOptions {
    /// Addresses for host names, in place of those that the system knows.
    pub(crate) addresses: Vec<(String, SocketAddr)>,
    /// The address of this machine from which connections are made.
    pub(crate) local: Option<IpAddr>,
}

/// The runtime can make no connection.
#[derive(Debug, thiserror::Error)]
#[error("the runtime has no IO")]
pub(super) struct NoIo;

impl Dialer {
    /// Connects to the host and port of a URL.
    pub(super) async fn dial(&self, uri: &Uri) -> Result<Stream, BoxError> {
        let options = match self {
            Self::Tcp(options) => options,
            Self::Custom(connector) => return connector.connect(uri).await.map(Stream::Custom),
        };
        let addresses = options.addresses(uri).await?;
        let tcp = first_connected(addresses, |address| options.connect(address)).await?;
        tcp.set_nodelay(true)?;
        Ok(Stream::Tcp(tcp))
    }

    /// Looks up the addresses of the host of a URL, in the order in which they are to be tried.
    pub(super) async fn resolve(&self, uri: &Uri) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp(options) => options.resolve(uri).await,
            Self::Custom(_) => TcpOptions::default().resolve(uri).await,
        }
    }
}

impl TcpOptions {
    /// Looks up the addresses to which connections can be made.
    pub(super) async fn addresses(&self, uri: &Uri) -> Result<Vec<SocketAddr>, BoxError> {
        let mut addresses = self.resolve(uri).await?;
        if let Some(local) = self.local {
            addresses.retain(|address| address.is_ipv4() == local.is_ipv4());
            if addresses.is_empty() {
                let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(
                    format!("the name has no {family} address to go with `local_address`").into(),
                );
            }
        }
        Ok(addresses)
    }

    async fn resolve(&self, uri: &Uri) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = (host(uri), port(uri));
        let known = self.addresses.iter();
        let known = known.filter(|(name, _)| whole(name).eq_ignore_ascii_case(whole(host)));
        let mut found: Vec<SocketAddr> = known.map(|(_, address)| *address).collect();
        for address in found.iter_mut().filter(|address| address.port() == 0) {
            address.set_port(port);
        }
        if found.is_empty() {
            found.extend(tokio::net::lookup_host((host, port)).await?);
        }
        Ok(interleave(found))
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        // Without IO, the runtime panics, and there is no other way to ask it.
        let outcome = catch_panics(self.connect_to(address)).await;
        outcome.unwrap_or_else(|_| Err(io::Error::other(NoIo)))
    }

    async fn connect_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(local) = self.local else {
            return TcpStream::connect(address).await;
        };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(local, 0))?;
        socket.connect(address).await
    }
}

/// Returns the host of a URL, an IPv6 address without its brackets.
pub(super) fn host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Returns a name without a final dot, which says that it is whole, as all are here.
pub(super) fn whole(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns the port of a URL, which may be that of its scheme.
pub(super) fn port(uri: &Uri) -> u16 {
    let is_secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 })
}

/// Alternates the families (RFC 8305 § 4), beginning with that of the first address. A family that does not work then
/// delays the connection by one attempt only.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let len = addresses.len();
    let (preferred, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == is_v6);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut ordered = Vec::with_capacity(len);
    while ordered.len() < len {
        ordered.extend(preferred.next());
        ordered.extend(other.next());
    }
    ordered
}

/// Connects to the address that answers first. The next one is tried as soon as one fails, or in parallel after
/// [`ATTEMPT_DELAY`]; attempts that are then still in progress are dropped.
///
/// # Errors
///
/// Returns the error of the first attempt that failed if all do.
pub(super) async fn first_connected<T, E, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, E>
where
    E: From<io::Error>,
    F: Future<Output = Result<T, E>>,
{
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        attempts.extend(addresses.next().map(&connect));
        if attempts.is_empty() {
            return Err(failure.unwrap_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, "the name has no address").into()
            }));
        }
        let ended = if addresses.len() == 0 {
            attempts.next().await
        } else {
            let delayed = tokio::time::timeout(ATTEMPT_DELAY, attempts.next()).await;
            delayed.ok().flatten()
        };
        match ended {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => {
                failure.get_or_insert(error);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }

    /// Port 1 never answers, port 2 refuses, the others connect. Returns the outcome, the time, and the ports tried.
    async fn tried(list: &[&str]) -> (io::Result<u16>, Duration, Vec<u16>) {
        let start = Instant::now();
        let ports = RefCell::new(Vec::new());
        let outcome = first_connected(addresses(list), |address| {
            ports.borrow_mut().push(address.port());
            async move {
                match address.port() {
                    1 => std::future::pending().await,
                    2 => Err(io::ErrorKind::ConnectionRefused.into()),
                    port => Ok(port),
                }
            }
        });
        let outcome = outcome.await;
        (outcome, start.elapsed(), ports.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn every_address_is_tried_and_the_first_to_connect_wins() {
        let dead = "127.0.0.1:1";
        let refuses = "127.0.0.1:2";
        let (outcome, time, ports) = tried(&["127.0.0.1:7", "127.0.0.1:8"]).await;
        assert_eq!(
            (outcome.unwrap(), time, ports),
            (7, Duration::ZERO, vec![7])
        );
        // The timer counts in milliseconds and rounds up.
        let (outcome, time, ports) = tried(&[dead, dead, "127.0.0.1:7"]).await;
        assert_eq!((outcome.unwrap(), ports), (7, vec![1, 1, 7]));
        assert!(time >= 2 * ATTEMPT_DELAY && time < 2 * ATTEMPT_DELAY + Duration::from_millis(5));
        let (outcome, time, ports) = tried(&[refuses, refuses, "[::1]:7"]).await;
        assert_eq!(
            (outcome.unwrap(), time, ports),
            (7, Duration::ZERO, vec![2, 2, 7])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn if_no_address_connects_the_first_failure_is_the_error() {
        let (outcome, _, ports) = tried(&["127.0.0.1:2", "[::1]:2"]).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(ports, [2, 2]);
        let error = tried(&[]).await.0.unwrap_err();
        assert_eq!(error.to_string(), "the name has no address");
    }

    #[test]
    fn families_alternate() {
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        let ordered = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleave(mixed), ordered);
        assert_eq!(interleave(Vec::new()), []);
    }

    #[tokio::test]
    async fn a_port_may_be_that_of_the_scheme() {
        for (uri, port) in [
            ("http://127.0.0.1", 80),
            ("https://127.0.0.1", 443),
            ("https://[::1]:7", 7),
        ] {
            let options = TcpOptions::default();
            let found = options.resolve(&uri.parse().unwrap()).await.unwrap();
            assert_eq!(found[0].port(), port);
        }
    }

    #[tokio::test]
    async fn given_addresses_take_the_place_of_those_of_the_system() {
        let names = [
            ("h.example", "[::1]:0"),
            ("h.example", "127.0.0.1:9"),
            ("::1", "127.0.0.2:0"),
            ("whole.example.", "127.0.0.4:0"),
        ];
        let names = names.map(|(name, address)| (name.to_owned(), address.parse().unwrap()));
        let options = TcpOptions {
            addresses: names.into(),
            local: None,
        };
        for (uri, expected) in [
            ("http://H.example:7", addresses(&["[::1]:7", "127.0.0.1:9"])),
            (
                "http://h.example.:7",
                addresses(&["[::1]:7", "127.0.0.1:9"]),
            ),
            ("http://whole.example", addresses(&["127.0.0.4:80"])),
            ("https://[::1]", addresses(&["127.0.0.2:443"])),
            ("https://127.0.0.3", addresses(&["127.0.0.3:443"])),
        ] {
            let found = options.resolve(&uri.parse().unwrap()).await.unwrap();
            assert_eq!(found, expected, "{uri}");
        }
    }
}
