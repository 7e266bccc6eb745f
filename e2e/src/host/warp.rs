//! warp, with the server around the routes and with the server as a filter.

use std::convert::Infallible;

use bytes::Bytes;
use engineio_tower::Server;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use warp::http::StatusCode;
use warp::{Filter, Reply};

use super::{Host, NEIGHBOUR, NOT_FOUND, PAGE, Running};

/// The app of these hosts.
pub fn routes()
-> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone + Send + Sync + 'static {
    let page = warp::path::end().map(|| PAGE);
    let neighbour = warp::path!("engine.iox").map(|| NEIGHBOUR);
    let echo = warp::path!("host" / "echo")
        .and(warp::post())
        .and(warp::body::bytes())
        .map(|body: Bytes| body.to_vec());
    let websocket = warp::path!("host" / "ws")
        .and(warp::ws())
        .map(|upgrade: warp::ws::Ws| {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.next().await
                    && !message.is_close()
                {
                    let _ = socket.send(message).await;
                }
            })
        });
    let rest = warp::any().map(|| warp::reply::with_status(NOT_FOUND, StatusCode::NOT_FOUND));
    page.or(neighbour).or(echo).or(websocket).or(rest)
}

/// The server around the routes, served by us.
#[derive(Debug)]
pub struct WarpLayer;

impl Host for WarpLayer {
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = engineio_warp::layer(server, routes());
        Running::task(address, |stopped| async {
            engineio_warp::serve(listener, service)
                .with_graceful_shutdown(stopped)
                .await
                .unwrap();
        })
    }
}

/// The server as a filter, served by warp.
#[derive(Debug)]
pub struct WarpFilter;

impl Host for WarpFilter {
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let filter = engineio_warp::filter(&server).or(routes());
        Running::task(address, |stopped| {
            warp::serve(filter)
                .incoming(listener)
                .graceful(stopped)
                .run()
        })
    }
}
