//! A static site with Engine.IO, without a web framework.
//!
//! ```text
//! cargo run -p engineio-examples --example static_site
//! ```
//!
//! Open <http://127.0.0.1:5000/>: the page, its style and its script come from `examples/site`, and the time that it
//! shows arrives over Engine.IO. Other paths are answered with 404.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engineio_tower::{EngineIoService, Server, StaticFiles};

const SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/site");

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:5000");
    let server = Server::builder()
        .on_start(|server| async move {
            let mut second = tokio::time::interval(Duration::from_secs(1));
            loop {
                second.tick().await;
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                server.broadcast(now.unwrap_or_default().as_secs().to_string());
            }
        })
        .build();
    let files = StaticFiles::new()
        .file("/", format!("{SITE}/index.html"))
        .file_as("/feed", format!("{SITE}/feed.xml"), "application/atom+xml")
        .dir("/static", format!("{SITE}/static"));
    let service = EngineIoService::new(server).static_files(files);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    engineio_tower::serve(listener, service).await
}
