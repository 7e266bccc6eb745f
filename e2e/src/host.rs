//! The hosts. Each runs an app of its own beside the server: a page, a POST route that echoes, and a WebSocket.

mod actix;
mod axum;
mod hyper;
mod warp;

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;

use engineio_tower::Server;

pub use actix::{ActixConfigure, ActixHttp2, ActixPlain, ActixWrap};
pub use axum::{Axum, AxumRoutes, AxumWrap, app as axum_app};
pub use hyper::{Hyper, HyperHttp1};
pub use warp::{WarpFilter, WarpLayer, routes as warp_routes};

/// The app's answer at `/`.
pub const PAGE: &str = "hello from the host app";

/// The app's answer at `/engine.iox`, which does not belong to the server.
pub const NEIGHBOUR: &str = "the host's own";

/// The app's answer everywhere else, with 404.
pub const NOT_FOUND: &str = "host: not found";

/// A way to run a server.
pub trait Host {
    /// Whether a FIN while a poll waits ends the session at once. Otherwise the heartbeat ends it.
    const FIN_ENDS_POLL: bool = true;

    /// The number of hosts that make up a cluster; 1 for a host without a cluster.
    const NODES: usize = 1;

    /// Whether it answers `Expect: 100-continue` with 100 before the server sees the request.
    const ASKS_FOR_EVERY_BODY: bool = false;

    /// Starts it on a free port.
    fn start(server: Server) -> impl Future<Output = Running>;
}

/// A cluster of three hosts of one kind. Each request of a client reaches an arbitrary one of them, as behind a load
/// balancer without sticky sessions.
#[derive(Debug)]
pub struct ThreeOf<H>(PhantomData<H>);

impl<H: Host> Host for ThreeOf<H> {
    const FIN_ENDS_POLL: bool = H::FIN_ENDS_POLL;
    const NODES: usize = 3;

    fn start(server: Server) -> impl Future<Output = Running> {
        H::start(server)
    }
}

/// Clusters of one kind of host each.
pub type ThreeAxum = ThreeOf<Axum>;
/// See [`ThreeAxum`].
pub type ThreeActix = ThreeOf<ActixConfigure>;
/// See [`ThreeAxum`].
pub type ThreeWarp = ThreeOf<WarpLayer>;
/// See [`ThreeAxum`].
pub type ThreeHyper = ThreeOf<Hyper>;

type Stop = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>>>;

/// A running host.
pub struct Running {
    /// The address at which it listens.
    pub address: SocketAddr,
    stop: Option<Stop>,
}

impl Running {
    fn new<F>(address: SocketAddr, stop: impl FnOnce() -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self {
            address,
            stop: Some(Box::new(move || Box::pin(stop()))),
        }
    }

    /// A host that is a task of this runtime and stops on request.
    fn task<F>(
        address: SocketAddr,
        serve: impl FnOnce(Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(serve(Box::pin(async {
            // An error is a stop too: the scenario is over.
            let _ = stopped.await;
        })));
        Self::new(address, move || async move {
            let _ = stop.send(());
            task.await.unwrap();
        })
    }

    /// Shuts it down in the host's own way, and waits until it is down.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            stop().await;
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Gives a macro the name of a module, the name of a [`Host`](crate::host::Host) and a list, once for every mounting that
/// serves WebSockets over HTTP/1.1.
#[macro_export]
macro_rules! on_every_host {
    ($run:ident! $list:tt) => {
        $run! { axum Axum $list }
        $run! { axum_routes AxumRoutes $list }
        $run! { axum_wrap AxumWrap $list }
        $run! { actix_configure ActixConfigure $list }
        $run! { actix_wrap ActixWrap $list }
        $run! { warp_layer WarpLayer $list }
        $run! { warp_filter WarpFilter $list }
        $run! { hyper Hyper $list }
        $run! { hyper_http1 HyperHttp1 $list }
    };
}

/// The same for one mounting of each kind of host, for scenarios that are too costly to run on all.
#[macro_export]
macro_rules! on_one_host_of_each_kind {
    ($run:ident! $list:tt) => {
        $run! { axum Axum $list }
        $run! { actix_configure ActixConfigure $list }
        $run! { warp_layer WarpLayer $list }
        $run! { hyper Hyper $list }
    };
}

/// The same for a cluster of each kind of host.
#[macro_export]
macro_rules! on_a_cluster_of_each_kind {
    ($run:ident! $list:tt) => {
        $run! { three_axum ThreeAxum $list }
        $run! { three_actix ThreeActix $list }
        $run! { three_warp ThreeWarp $list }
        $run! { three_hyper ThreeHyper $list }
    };
}

/// The same for every mounting, and then for a cluster of each kind of host.
#[macro_export]
macro_rules! on_every_host_and_cluster {
    ($run:ident! $list:tt) => {
        $crate::on_every_host! { $run! $list }
        $crate::on_a_cluster_of_each_kind! { $run! $list }
    };
}
