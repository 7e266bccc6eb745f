//! Bare hyper: the server's own accept loop, and one of a user who wants nothing but HTTP/1.

use std::pin::pin;
use std::time::Duration;

use engineio_tower::{EngineIoService, PeerAddr, Server};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Host, Running, axum};

/// [`engineio_tower::serve`].
#[derive(Debug)]
pub struct Hyper;

impl Host for Hyper {
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = EngineIoService::with_inner(server, axum::app());
        Running::task(address, |stopped| async {
            engineio_tower::serve(listener, service)
                .with_graceful_shutdown(stopped)
                .await
                .unwrap();
        })
    }
}

/// A user's own loop over hyper's HTTP/1 alone.
#[derive(Debug)]
pub struct HyperHttp1;

impl Host for HyperHttp1 {
    async fn start(server: Server) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = EngineIoService::with_inner(server, axum::app());
        Running::task(address, |stopped| own_loop(listener, service, stopped))
    }
}

async fn own_loop(
    listener: TcpListener,
    service: EngineIoService<::axum::Router>,
    mut stopped: impl Future<Output = ()> + Unpin,
) {
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Out of descriptors, mostly. Until one is free there is nothing to do.
                Err(_) => {
                    let later = Instant::now() + Duration::from_millis(50);
                    tokio::time::sleep_until(later).await;
                    continue;
                }
            },
            () = &mut stopped => break,
        };
        let service = TowerToHyperService::new(service.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddr(peer));
            service.call(request)
        });
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut stopping = stopping.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            // The client notices how the connection ends.
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = stopping.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
    drop(listener);
    stop.send_replace(());
    while connections.join_next().await.is_some() {}
}
