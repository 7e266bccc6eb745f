//! Servers that break the rules.

use engineio_client::{DisconnectReason, ErrorKind, Message};

use super::{RawServer, connected};
use crate::support::within;

#[tokio::test]
async fn what_is_no_packet_ends_the_session_behind_the_messages_before_it() {
    use DisconnectReason::{ParseError, PayloadTooLarge, TransportClose};

    for (bytes, reason, kind) in [
        (&b"\x00"[..], ParseError, ErrorKind::Protocol),
        (b"\x80", ParseError, ErrorKind::Protocol),
        (b"\x019", ParseError, ErrorKind::Protocol),
        (b"\x034\xff\xfe", ParseError, ErrorKind::Protocol),
        // 1,001 bytes, and more than there is memory.
        (b"\x7e\x03\xe9", PayloadTooLarge, ErrorKind::TooLarge),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            PayloadTooLarge,
            ErrorKind::TooLarge,
        ),
        (b"", TransportClose, ErrorKind::Transport),
    ] {
        let (server, builder) = RawServer::start();
        let serving = async {
            let (session, mut send, _recv) = server.open().await;
            send.write_all(b"\x034hi").await.unwrap();
            send.write_all(bytes).await.unwrap();
            if bytes.is_empty() {
                send.finish().unwrap();
            }
            within(session.closed()).await;
        };
        let using = async {
            let mut client = connected(builder.max_response(1_000)).await;
            assert_eq!(within(client.next()).await, Some(Message::from("hi")));
            assert_eq!(within(client.next()).await, None);
            assert_eq!(client.disconnect_reason(), Some(reason), "{bytes:?}");
            let error = client.disconnect_error();
            let expected = Some(kind).filter(|_| !bytes.is_empty());
            assert_eq!(error.map(|error| error.kind()), expected, "{bytes:?}");
        };
        tokio::join!(serving, using);
    }
}

#[tokio::test]
async fn a_server_that_takes_no_more_data_is_noticed_before_the_next_heartbeat() {
    let (server, builder) = RawServer::start();
    let serving = async {
        let (session, _send, mut recv) = server.open_with(1_000_000).await;
        recv.stop(7).unwrap();
        within(session.closed()).await;
    };
    let using = async {
        let mut client = connected(builder).await;
        assert_eq!(within(client.next()).await, None);
        let reason = Some(DisconnectReason::TransportError);
        assert_eq!(client.disconnect_reason(), reason);
        let error = client.disconnect_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::Transport);
    };
    tokio::join!(serving, using);
}

#[tokio::test]
async fn the_end_of_the_session_says_why() {
    let code = |code: u32| (code, "token of the server");
    for (code, reason) in [code(0), code(1011)] {
        let (server, builder) = RawServer::start();
        let serving = async {
            let (session, _send, _recv) = server.open().await;
            session.close(code, reason.as_bytes());
            within(session.closed()).await;
        };
        let using = async {
            let mut client = connected(builder.bearer_auth("token")).await;
            assert_eq!(within(client.next()).await, None);
            assert_eq!(
                client.disconnect_reason(),
                Some(DisconnectReason::TransportClose)
            );
            let error = client.disconnect_error().map(|error| error.to_string());
            match code {
                0 => assert_eq!(error, None),
                _ => {
                    let error = error.unwrap();
                    assert!(error.contains("1011"), "{error}");
                    assert!(error.contains("of the server"), "{error}");
                    assert!(!error.contains("token of"), "{error}");
                }
            }
        };
        tokio::join!(serving, using);
    }
}

#[tokio::test]
async fn a_connection_that_is_gone_is_an_error() {
    let (server, builder) = RawServer::start();
    let serving = async {
        let (session, _send, mut recv) = server.open().await;
        within(recv.read_exact(&mut [0; 4])).await.unwrap();
        quinn::Connection::close(&session, 77u32.into(), b"token of the server");
    };
    let using = async {
        let mut client = connected(builder.bearer_auth("token")).await;
        client.send("hi").await.unwrap();
        assert_eq!(within(client.next()).await, None);
        let error = client.disconnect_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::Transport);
        let error = error.to_string();
        assert!(error.contains("code 77, \"… of the server\""), "{error}");
    };
    tokio::join!(serving, using);
}
