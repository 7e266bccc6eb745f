//! TCP connections to a name, of which all addresses are tried (RFC 8305).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// The time after which the next address is tried beside an attempt, as RFC 8305 § 5 recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Connects to the host and port of a URL by TCP. The tunnels of hyper-util take it for the way to the proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialer;

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move { dial(&uri).await.map(TokioIo::new) })
    }
}

/// Connects to the host and port of a URL by TCP.
pub(super) async fn dial(uri: &Uri) -> io::Result<TcpStream> {
    let tcp = first_connected(resolve(uri).await?, TcpStream::connect).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Returns the port of a URL, which may be that of its scheme.
pub(super) fn port(uri: &Uri) -> u16 {
    let is_secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
    uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 })
}

/// Looks up the addresses of the host of a URL, in the order in which they are to be tried.
pub(super) async fn resolve(uri: &Uri) -> io::Result<Vec<SocketAddr>> {
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port(uri))).await?;
    Ok(interleave(found.collect()))
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

/// Connects to the address that answers first. The next one is tried as soon as one fails, or beside the others after
/// [`ATTEMPT_DELAY`]; attempts that are still under way at the end are dropped.
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
            let found = resolve(&uri.parse().unwrap()).await.unwrap();
            assert_eq!(found[0].port(), port);
        }
    }
}
