//! The peer that ratios are made with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use engineioxide::config::EngineIoConfig;
use engineioxide::handler::EngineIoHandler;
use engineioxide::service::EngineIoService;
use engineioxide::{DisconnectReason, Socket, Str};
use hyper::service::Service;
use tokio::net::TcpListener;

use super::Settings;

/// It has no broadcast of its own, so the application keeps the sockets.
#[derive(Debug, Default)]
struct Echo {
    sockets: Mutex<HashMap<engineioxide::sid::Sid, Arc<Socket<()>>>>,
}

impl EngineIoHandler for Echo {
    type Data = ();

    fn on_connect(self: Arc<Self>, socket: Arc<Socket<()>>) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.insert(socket.id, socket);
    }

    fn on_disconnect(&self, socket: Arc<Socket<()>>, _: DisconnectReason) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.remove(&socket.id);
    }

    fn on_message(self: &Arc<Self>, message: Str, socket: Arc<Socket<()>>) {
        if message.starts_with("bcast:") {
            let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            for socket in sockets.values() {
                // A full channel loses the message; the generator notices.
                let _ = socket.emit(message.clone());
            }
        } else {
            let _ = socket.emit(message);
        }
    }

    fn on_binary(self: &Arc<Self>, data: Bytes, socket: Arc<Socket<()>>) {
        let _ = socket.emit_binary(data);
    }
}

pub(super) async fn run(listener: TcpListener, settings: Settings) -> Result<()> {
    let config = EngineIoConfig::builder()
        .ping_interval(settings.ping_interval)
        .ping_timeout(settings.ping_timeout)
        .max_buffer_size(settings.queue)
        .max_payload(1_000_000)
        .build();
    let service = EngineIoService::with_config(Arc::new(Echo::default()), config);
    super::accept_http(listener, move |request| Service::call(&service, request)).await
}
