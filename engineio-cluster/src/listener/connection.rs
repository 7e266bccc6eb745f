//! One connection of another node, from its first request to the last answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Node, service};
use crate::link::{Arrivals, Paced, keep_alive};
use crate::operations::Turns;

/// The time limit for the first request of a connection, by which a node identifies itself.
pub(super) const GREETING: Duration = Duration::from_secs(5);

/// The time limit for the answers that are still to be written on a connection that is rejected, or when the listener ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection until it ends or the sender of `stop` is dropped, and then writes the answers that are due.
pub(super) async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    http: &Builder,
    node: &Arc<Node>,
    mut stop: watch::Receiver<()>,
) {
    let greeted = tokio::select! {
        greeted = timeout(GREETING, greet(io, http, node)) => greeted,
        _ = stop.changed() => return,
    };
    let Ok(greeted) = greeted else {
        tracing::debug!(target: "engineio::cluster", "a connection to the internal listener did not identify itself in time");
        return;
    };
    let (mut connection, arrivals) = match greeted {
        Ok(Some(greeted)) if greeted.known => (greeted.connection, greeted.arrivals),
        Ok(Some(Greeted { mut connection, .. })) => {
            connection.graceful_shutdown();
            // Further requests are dropped, which resets them.
            let closed = async { while let Some(Ok(_)) = connection.accept().await {} };
            let _ = timeout(FAREWELL, closed).await;
            return;
        }
        Ok(None) => return,
        Err(error) => return log(&error),
    };
    let turns = Turns::default();
    let mut alive = pin!(keep_alive(connection.ping_pong(), arrivals));
    tokio::select! {
        () = answer_all(&mut connection, node, &turns) => return,
        () = &mut alive => {
            tracing::debug!(target: "engineio::cluster", "another node does not answer any more");
            return;
        }
        _ = stop.changed() => {}
    }
    connection.graceful_shutdown();
    // Nothing but what is due is written any more.
    let _ = timeout(FAREWELL, answer_all(&mut connection, node, &turns)).await;
}

/// A connection whose first request has its answer.
struct Greeted<IO> {
    connection: Connection<Paced<IO>, Bytes>,
    arrivals: Arrivals,
    /// The other end is a node of this cluster.
    known: bool,
}

/// Answers the first request, unless the connection ends before.
async fn greet<IO: AsyncRead + AsyncWrite + Unpin>(
    io: IO,
    http: &Builder,
    node: &Node,
) -> Result<Option<Greeted<IO>>, h2::Error> {
    let io = Paced::new(io);
    let arrivals = io.arrivals();
    let mut connection = http.handshake(io).await?;
    let Some(first) = connection.accept().await else {
        return Ok(None);
    };
    let (request, mut respond) = first?;
    let answer = node.greet(request.headers(), request.uri().path());
    let known = answer.status() == StatusCode::OK;
    respond.send_response(answer, true)?;
    Ok(Some(Greeted {
        connection,
        arrivals,
        known,
    }))
}

/// Answers requests until the connection ends.
async fn answer_all<IO: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<Paced<IO>, Bytes>,
    node: &Arc<Node>,
    turns: &Turns,
) {
    while let Some(next) = connection.accept().await {
        match next {
            Ok((request, respond)) => {
                let turn = turns.enter(&request);
                tokio::spawn(service::answer(Arc::clone(node), request, respond, turn));
            }
            Err(error) => return log(&error),
        }
    }
}

fn log(error: &h2::Error) {
    tracing::debug!(target: "engineio::cluster", %error, "a connection of another node ended");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use engineio_tower::Server;
    use http::Request;
    use tokio::time::Instant;

    use super::*;
    use crate::link::{Credentials, HELLO, TARGET};
    use crate::listener::{Rejections, http};

    fn node() -> Arc<Node> {
        Arc::new(Node {
            id: "a".parse().unwrap(),
            incarnation: 1,
            credentials: Credentials {
                secret: None,
                #[cfg(feature = "tls")]
                tls: None,
            },
            server: Server::builder().build(),
            relays: Arc::default(),
            draining: AtomicBool::new(false),
            rejections: Rejections::default(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_from_which_nothing_arrives_any_more_is_given_up_within_six_seconds() {
        let (near, far) = tokio::io::duplex(1024 * 1024);
        let (_stop, stopped) = watch::channel(());
        let serving = tokio::spawn(async move { serve(far, &http(), &node(), stopped).await });
        let (mut requests, mut connection) = h2::client::handshake(near).await.unwrap();
        let hello = Request::post(format!("http://cluster{HELLO}")).header(TARGET, "a");
        let (answer, _) = requests
            .send_request(hello.body(()).unwrap(), true)
            .unwrap();
        tokio::select! {
            answer = answer => assert_eq!(answer.unwrap().status(), StatusCode::OK),
            _ = &mut connection => panic!("it ended"),
        }
        // From here on nobody answers its pings.
        let silent_since = Instant::now();
        serving.await.unwrap();
        let took = silent_since.elapsed();
        let limits = Duration::from_secs(4)..Duration::from_secs(6);
        assert!(limits.contains(&took), "{took:?}");
    }
}
