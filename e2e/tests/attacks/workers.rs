//! Workers of actix-web that are lost, with all their connections. No bystander can stand by there.

use std::time::Duration;

use engineio_e2e::app::{self, Event};
use engineio_e2e::frame::{self, Frame};
use engineio_e2e::host::{ActixConfigure, Host};
use engineio_e2e::puppet::{Puppet, Response};
use engineio_tower::DisconnectReason::{PingTimeout, TransportClose};

use crate::siege::{POLLING, WEBSOCKET, sid};

const BEAT: Duration = Duration::from_millis(300);

/// An answer to a request, which is made again where a worker was lost that had taken the connection.
async fn ask(host: std::net::SocketAddr, method: &str, target: &str, body: &str) -> Response {
    loop {
        let mut client = Puppet::connect(host).await;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if client.try_write(head).await
            && let Some(answer) = client.answer().await
        {
            return answer;
        }
    }
}

pub(crate) async fn sessions_outlive_the_workers_of_actix() {
    let (server, mut events) =
        app::echo(|builder| builder.ping_interval(BEAT).ping_timeout(BEAT * 8));
    let host = ActixConfigure::start(server.clone()).await.address;
    let open = ask(host, "GET", POLLING, "").await;
    let target = format!("{POLLING}&sid={}", sid(open.text()));
    assert!(matches!(events.next().await, Event::Connected(..)));

    let mut socket = Puppet::connect(host).await;
    socket.upgrade(WEBSOCKET).await;
    assert!(socket.hear().await.starts_with("0{"));
    let Event::Connected(over_websocket, _) = events.next().await else {
        panic!("not connected");
    };
    let socket = tokio::spawn(async move {
        while let Some(frame) = socket.frame().await {
            assert_eq!(frame, Frame::Text("2".into()));
            socket.try_write(frame::text("3")).await;
        }
    });
    let mut rounds = 0;
    // Until the WebSocket was lost with its worker, and every worker has been lost, on average.
    while !socket.is_finished() || rounds < 4 {
        rounds += 1;
        assert!(rounds < 40, "no worker is ever lost");
        let mut client = Puppet::connect(host).await;
        client
            .send_post("/host/lose-worker", "content-length: 0\r\n")
            .await;
        client.ended().await;
        // The heartbeat of the session goes on, whichever worker watched its deadlines.
        let ping = ask(host, "GET", &target, "").await;
        assert_eq!(ping.text(), "2", "{ping:?}");
        assert_eq!(ask(host, "POST", &target, "3").await.text(), "ok");
    }
    socket.await.unwrap();
    let lost = events.next().await;
    assert_eq!(lost, Event::Disconnected(over_websocket, TransportClose));
    assert!(server.socket(&over_websocket).is_none());
    // And the one that falls silent is given up.
    assert_eq!(events.disconnected().await, PingTimeout);
    assert!(server.is_empty());
}
