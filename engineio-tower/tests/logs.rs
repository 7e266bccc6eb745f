//! Warnings and errors that any client can cause as often as it likes. A program of its own, because their counts belong to
//! the process. Each test causes lines that no other one does.

use std::time::Duration;

use engineio_tower::{
    HostUpgrade, Message, Origins, Rejection, Server, ServerBuilder, Sid, Socket,
};
use http::StatusCode;
use support::{call, get_request, open, panics::panic_again_on_drop, post, with};
use tokio::time::advance;

#[path = "../../engineio-core/tests/support/lines.rs"]
mod lines;
mod support;

const FLOOD: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

/// Makes requests one after another, and again a second later: each time, there is one line, and the second one tells of
/// all since the first.
async fn is_one_line_a_second<F: Future<Output = StatusCode>>(
    expected: StatusCode,
    line: &str,
    request: impl Fn() -> F,
) {
    let (lines, _guard) = lines::Lines::collect();
    for count in [1, FLOOD] {
        for _ in 0..FLOOD {
            assert_eq!(request().await, expected, "{line}");
        }
        let [logged] = &lines.take()[..] else {
            panic!("not one line: {line}");
        };
        assert!(logged.contains(line), "{logged}");
        assert!(logged.contains(&format!("count={count} ")), "{logged}");
        advance(SECOND).await;
    }
}

async fn handshake(server: &Server) -> StatusCode {
    let request = get_request("EIO=4&transport=polling");
    let request = with("origin", "https://a.example", request);
    call(server, request).await.status()
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_clients_that_the_application_fails_to_decide_on() {
    let builder = || Server::builder().connect_timeout(Duration::ZERO);
    let ids = |id: fn() -> Sid| move |_: &_| std::future::ready(id());
    let servers: [(&str, StatusCode, ServerBuilder); 8] = [
        (
            "an origin predicate panicked",
            StatusCode::INTERNAL_SERVER_ERROR,
            builder().origins(Origins::predicate_async(|_, _| async {
                panic_again_on_drop()
            })),
        ),
        (
            "a hook of the application panicked",
            StatusCode::INTERNAL_SERVER_ERROR,
            builder().origins(Origins::predicate(|_, _| panic_again_on_drop())),
        ),
        (
            "an origin predicate took too long",
            StatusCode::SERVICE_UNAVAILABLE,
            builder().origins(Origins::predicate_async(|_, _| std::future::pending())),
        ),
        (
            "`generate_sid` panicked",
            StatusCode::INTERNAL_SERVER_ERROR,
            builder()
                .origins(Origins::any())
                .generate_sid(ids(|| panic_again_on_drop())),
        ),
        (
            "`generate_sid` took too long",
            StatusCode::SERVICE_UNAVAILABLE,
            builder()
                .origins(Origins::any())
                .generate_sid(|_| std::future::pending()),
        ),
        (
            "a connect handler panicked",
            StatusCode::INTERNAL_SERVER_ERROR,
            builder()
                .origins(Origins::any())
                .on_connect(async |_, _| -> Result<(), Rejection> { panic_again_on_drop() }),
        ),
        (
            "a connect handler took too long",
            StatusCode::SERVICE_UNAVAILABLE,
            builder()
                .origins(Origins::any())
                .on_connect(|_, _| std::future::pending::<Result<(), Rejection>>()),
        ),
        (
            "a connect handler could not send",
            StatusCode::INTERNAL_SERVER_ERROR,
            builder()
                .origins(Origins::any())
                .on_connect(|socket: Socket, _| {
                    socket.try_send("\x1e")?;
                    Ok::<_, Rejection>(())
                }),
        ),
    ];
    for (line, expected, builder) in servers {
        let server = builder.build();
        is_one_line_a_second(expected, line, || handshake(&server)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_clients_for_which_there_is_no_id() {
    let taken: Sid = "taken".parse().unwrap();
    let server = Server::builder()
        .origins(Origins::any())
        .generate_sid(move |_| std::future::ready(taken))
        .build();
    assert_eq!(handshake(&server).await, StatusCode::OK);
    let line = "`generate_sid` returned ids that are already in use";
    is_one_line_a_second(StatusCode::SERVICE_UNAVAILABLE, line, || handshake(&server)).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_messages_on_which_a_handler_panics() {
    let server = Server::builder()
        .on_message(|_: Socket, _: Message| -> () { panic_again_on_drop() })
        .build();
    let line = "a handler panicked; the client is disconnected";
    is_one_line_a_second(StatusCode::OK, line, async || {
        let (sid, _) = open(&server).await;
        post(&server, &sid, "4x").await.status()
    })
    .await;
}

/// A value that a handler attached to a client, and whose `Drop` panics.
struct Attached;

impl Drop for Attached {
    fn drop(&mut self) {
        panic_again_on_drop();
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_clients_whose_values_panic_when_they_are_dropped() {
    let server = Server::builder()
        .on_connect(|socket: Socket, _| {
            socket.set(Attached);
            Ok::<_, Rejection>(())
        })
        .build();
    let line = "a value attached to the client panicked when it was dropped";
    is_one_line_a_second(StatusCode::OK, line, async || {
        let (sid, _) = open(&server).await;
        post(&server, &sid, "1").await.status()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_websockets_on_a_host_without_upgrades() {
    let server = Server::builder().build();
    let line = "a WebSocket handshake came over a connection without upgrades";
    is_one_line_a_second(StatusCode::BAD_REQUEST, line, async || {
        let mut request = support::websocket_request("EIO=4&transport=websocket");
        request.extensions_mut().remove::<HostUpgrade>();
        call(&server, request).await.status()
    })
    .await;
}
