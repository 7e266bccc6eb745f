//! Disconnecting clients by their ids.

use engineio_axum::{Sid, Socket};
use engineio_cluster::Cluster;

/// Disconnects a client, of whatever node. Answers whether there was one.
pub(crate) async fn kick(socket: &Socket, cluster: Option<&Cluster>, sid: &str) -> String {
    let Ok(sid) = sid.parse::<Sid>() else {
        return format!("kicked {sid} false");
    };
    let kicked = match cluster {
        Some(cluster) => match cluster.disconnect(&sid).await {
            Ok(kicked) => kicked.to_string(),
            Err(error) => error.to_string(),
        },
        None => socket.server().disconnect(&sid).await.to_string(),
    };
    format!("kicked {sid} {kicked}")
}
