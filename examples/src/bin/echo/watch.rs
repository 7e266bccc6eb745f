//! Clients that are told when another one goes, so that a test of a proxy or a load program sees the server's side of it.

use std::sync::{Arc, Mutex, PoisonError};

use engineio_axum::{DisconnectReason, Socket};

/// The clients that have sent `watch`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchers(Arc<Mutex<Vec<Socket>>>);

impl Watchers {
    /// Adds a client, unless it is there, and answers with the number of clients that are connected.
    pub(crate) async fn add(&self, socket: Socket) {
        let watchers = Arc::clone(&self.0);
        {
            let mut watchers = watchers.lock().unwrap_or_else(PoisonError::into_inner);
            if !watchers.iter().any(|known| known.sid() == socket.sid()) {
                watchers.push(socket.clone());
            }
        }
        let _ = socket
            .send(format!("watching {}", socket.server().len()))
            .await;
    }

    /// Tells that a client is gone, and why. A watcher that does not read misses some.
    pub(crate) fn tell(&self, gone: &Socket, reason: DisconnectReason) {
        let mut watchers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.sid() != gone.sid());
        for watcher in watchers.iter() {
            let _ = watcher.try_send(format!("gone {} {reason}", gone.sid().as_str()));
        }
    }
}
