//! hyper without a framework: the server's own accept loop. The app beside it is a tower service, here axum's.

use std::io;

use engineio_tower::{EngineIoService, serve};
use tokio::net::TcpListener;

use super::{GRACE, axum, stopped};
use crate::Echo;
use crate::options::Options;

pub(super) async fn run(options: &Options) -> io::Result<()> {
    let echo = Echo::start(options).await?;
    let server = echo.server.clone();
    let service = EngineIoService::with_inner(server.clone(), axum::app());
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, service)
        .shutdown_timeout(GRACE)
        .with_graceful_shutdown(async move {
            let _ = stopped().await;
            echo.leave(GRACE).await;
        })
        .await
}
