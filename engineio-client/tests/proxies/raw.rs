//! Requests from addresses and with headers that no client has.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::support::{in_time, url};

/// The whole answer to a GET, on a connection of its own from this loopback address.
pub(crate) async fn get(proxy: &str, from: [u8; 4], query: &str, headers: &str) -> String {
    let url = url(proxy);
    let host = url.strip_prefix("http://").unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(host.parse().unwrap()).await.unwrap();
    let head = format!(
        "GET /engine.io/?{query} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    in_time(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

pub(crate) const HANDSHAKE: &str = "EIO=4&transport=polling";

/// The session id in the answer to a handshake.
pub(crate) fn sid(answer: &str) -> &str {
    let sid = answer.split_once("\"sid\":\"").map(|(_, rest)| rest);
    let sid = sid.and_then(|rest| rest.split('"').next());
    sid.unwrap_or_else(|| panic!("no session id in {answer:?}"))
}
