//! warp, with the server around the routes and with the server as a filter among them.

use std::convert::Infallible;
use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use warp::http::StatusCode;
use warp::ws::Ws;
use warp::{Filter, Reply};

use super::{GRACE, NOT_FOUND, PAGE, stopped};
use crate::Echo;
use crate::options::Options;

/// The app beside the server.
fn routes() -> impl Filter<Extract: Reply, Error = Infallible> + Clone + Send + Sync + 'static {
    let page = warp::path::end().map(|| PAGE);
    let websocket = warp::path!("host" / "ws").and(warp::ws()).map(websocket);
    let rest = warp::any().map(|| warp::reply::with_status(NOT_FOUND, StatusCode::NOT_FOUND));
    page.or(websocket).or(rest)
}

fn websocket(upgrade: Ws) -> impl Reply {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            let echo = message.is_text() || message.is_binary();
            if echo && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

pub(super) async fn run(options: &Options) -> io::Result<()> {
    let echo = Echo::start(options).await?;
    let server = echo.server.clone();
    let service = engineio_warp::layer(server.clone(), routes());
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_warp::serve(listener, service)
        .shutdown_timeout(GRACE)
        .with_graceful_shutdown(async move {
            let _ = stopped().await;
            echo.leave(GRACE).await;
        })
        .await
}

pub(super) async fn run_filter(options: &Options) -> io::Result<()> {
    let echo = Echo::start(options).await?;
    let server = echo.server.clone();
    let filter = engineio_warp::filter(&server).or(routes());
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async move {
        let _ = stopped().await;
        echo.leave(GRACE).await;
    };
    warp::serve(filter)
        .incoming(listener)
        .graceful(stop)
        .run()
        .await;
    Ok(())
}
