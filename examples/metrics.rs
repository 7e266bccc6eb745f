//! Metrics for Prometheus, and a page that shows them.
//!
//! ```text
//! cargo run -p engineio-examples --example metrics
//! ```
//!
//! Open <http://127.0.0.1:5000/> and connect a few clients, for example with the load of
//! `cargo run -p engineio-examples --bin client -- --url http://127.0.0.1:5000/engine.io/ --count 100000`.
//! Prometheus fetches `/metrics`. The server's feature `metrics` uses the facade of the crate `metrics`; the program chooses
//! the exporter.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use engineio_axum::{EngineIoLayer, Message, Server, Socket};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Sessions last from seconds to days.
const SECONDS: [f64; 7] = [1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0];

/// Before the first client comes: what is counted without a recorder is lost.
fn recorder() -> Result<PrometheusHandle, BuildError> {
    let lifetime = Matcher::Full("engineio_session_seconds".to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(lifetime, &SECONDS)?
        .install_recorder()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let recorder = recorder()?;
    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            let _ = socket.send(message).await;
        })
        .build();
    let exported = move || {
        // Moves what was counted into the histograms, which would grow without it.
        recorder.run_upkeep();
        let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
        std::future::ready((kind, recorder.render()))
    };
    let app = Router::new()
        .route("/", get(async || Html(include_str!("pages/metrics.html"))))
        .route("/metrics", get(exported))
        .layer(EngineIoLayer::new(server));
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_axum::serve(listener, app).await?;
    Ok(())
}
