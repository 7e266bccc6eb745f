//! An upgrade with a link by each transport, rows 61 to 67.

use engineio_core::{Config, DisconnectReason, LinkId, Message, Refusal, Transport, Transports};

use crate::support::{Rig, Seen, message, payload, secs, text};

fn rig() -> Rig {
    let all = [
        Transport::Polling,
        Transport::WebSocket,
        Transport::WebTransport,
    ];
    Rig::polling_with(Config {
        transports: all.into_iter().collect(),
        ..Config::default()
    })
}

/// A session whose client tries both transports, and has sent neither probe.
fn both_tried() -> (Rig, LinkId, LinkId) {
    let mut rig = rig();
    let websocket = rig.open_websocket();
    let webtransport = rig.open_link(Transport::WebTransport);
    assert_eq!(rig.seen(), []);
    (rig, websocket, webtransport)
}

fn closed(link: LinkId, reason: DisconnectReason) -> Seen {
    Seen::WebSocketClosed(link, reason)
}

#[test]
fn no_default_has_a_third_transport() {
    assert!(!Transports::ALL.contains(Transport::WebTransport));
    let mut rig = Rig::polling();
    let refused = rig.session.may_upgrade(Transport::WebTransport);
    assert_eq!(refused, Err(Refusal::BadRequest));
    assert_eq!(
        rig.session.may_upgrade(Transport::Polling),
        Err(Refusal::BadRequest)
    );
    let websocket = rig.open_websocket();
    rig.frame(websocket, "2probe");
    rig.frame(websocket, "5");
    assert_eq!(rig.session.transport(), Transport::WebSocket);
}

// row 61
#[test]
fn a_link_by_another_transport_is_tried_beside_the_first() {
    let mut rig = rig();
    rig.open_websocket();
    assert_eq!(rig.session.may_upgrade(Transport::WebTransport), Ok(()));
    let webtransport = rig.open_link(Transport::WebTransport);
    assert_eq!(rig.seen(), []);

    let third = rig.open_link(Transport::WebTransport);
    assert_eq!(
        rig.seen(),
        [closed(third, DisconnectReason::TransportError)],
        "one by each transport"
    );
    rig.frame(webtransport, "2probe");
    assert_eq!(rig.seen(), [text(webtransport, "3probe")]);
}

// row 62
#[test]
fn each_link_that_probes_gets_one_answer() {
    let (mut rig, websocket, webtransport) = both_tried();
    let poll = rig.poll();
    rig.frame(websocket, "2probe");
    assert_eq!(rig.seen(), [text(websocket, "3probe"), payload(poll, "6")]);
    rig.frame(webtransport, "2probe");
    assert_eq!(rig.seen(), [text(webtransport, "3probe")]);
}

// row 63
#[test]
fn the_first_link_to_complete_the_upgrade_wins_and_the_other_is_closed() {
    for transport in [Transport::WebSocket, Transport::WebTransport] {
        let (mut rig, websocket, webtransport) = both_tried();
        rig.frame(websocket, "2probe");
        rig.frame(webtransport, "2probe");
        rig.seen();
        let (winner, loser) = match transport {
            Transport::WebSocket => (websocket, webtransport),
            _ => (webtransport, websocket),
        };
        rig.frame(winner, "5");
        assert_eq!(
            rig.seen(),
            [
                closed(loser, DisconnectReason::TransportClose),
                Seen::Upgraded
            ]
        );
        assert_eq!(rig.session.transport(), transport);

        // The loser's packets are late arrivals.
        rig.frame(loser, "5");
        rig.frame(loser, "4lost");
        rig.send("a");
        assert_eq!(rig.seen(), [text(winner, "4a")]);
        assert!(rig.session.is_open());
    }
}

// row 64
#[test]
fn a_link_that_fails_leaves_the_other_and_the_session_alone() {
    let (mut rig, websocket, webtransport) = both_tried();
    rig.frame(websocket, "4not a probe");
    assert_eq!(
        rig.seen(),
        [closed(websocket, DisconnectReason::TransportError)]
    );
    rig.frame(webtransport, "2probe");
    rig.frame(webtransport, "5");
    assert_eq!(rig.seen(), [text(webtransport, "3probe"), Seen::Upgraded]);

    let (mut rig, websocket, webtransport) = both_tried();
    rig.frame(websocket, "2probe");
    rig.close_link(webtransport, DisconnectReason::TransportClose);
    rig.frame(websocket, "5");
    assert_eq!(rig.seen(), [text(websocket, "3probe"), Seen::Upgraded]);

    // After both have failed it goes on by polling, and may try again.
    let (mut rig, websocket, webtransport) = both_tried();
    rig.close_link(webtransport, DisconnectReason::TransportError);
    rig.close_link(websocket, DisconnectReason::TransportError);
    assert_eq!(rig.seen(), []);
    rig.send("a");
    let poll = rig.poll();
    assert_eq!(rig.seen(), [payload(poll, "4a")]);
    assert_eq!(rig.session.may_upgrade(Transport::WebSocket), Ok(()));
}

// row 65
#[test]
fn the_upgrade_timer_closes_both_links() {
    let (mut rig, websocket, webtransport) = both_tried();
    rig.wait(secs(5));
    rig.close_link(websocket, DisconnectReason::TransportClose);
    let again = rig.open_websocket();
    rig.wait(secs(5));
    assert_eq!(
        rig.seen(),
        [
            closed(again, DisconnectReason::TransportClose),
            closed(webtransport, DisconnectReason::TransportClose)
        ],
        "another attempt does not put it off"
    );
    assert!(rig.session.is_open());
}

// row 66
#[test]
fn a_close_while_both_are_tried_goes_by_the_poll_and_closes_both() {
    let (mut rig, websocket, webtransport) = both_tried();
    rig.send("a");
    rig.close();
    let poll = rig.poll();
    assert_eq!(
        rig.seen(),
        [
            payload(poll, "4a\u{1e}1"),
            closed(websocket, DisconnectReason::Server),
            closed(webtransport, DisconnectReason::Server),
            Seen::Closed(DisconnectReason::Server),
            Seen::Finished,
        ]
    );
}

// row 67
#[test]
fn messages_around_the_completion_come_once_and_in_order() {
    let (mut rig, websocket, webtransport) = both_tried();
    rig.frame(websocket, "2probe");
    rig.frame(webtransport, "2probe");
    rig.seen();
    rig.send("before");
    let post = rig.begin_post();
    rig.frame(webtransport, "5");
    rig.frame(websocket, "5");
    rig.frame(websocket, "4by the loser");
    rig.finish_post(post, "4posted");
    rig.frame(webtransport, "4by the winner");
    rig.send("after");
    let seen = rig.seen();
    let messages: Vec<_> = (seen.iter())
        .filter(|seen| matches!(seen, Seen::Message(_)))
        .cloned()
        .collect();
    assert_eq!(messages, [message("posted"), message("by the winner")]);
    let frames: Vec<_> = (seen.iter())
        .filter(|seen| matches!(seen, Seen::Text(..)))
        .cloned()
        .collect();
    assert_eq!(
        frames,
        [text(webtransport, "4before"), text(webtransport, "4after")]
    );
}

#[test]
fn a_session_can_begin_with_a_link_of_the_third_transport() {
    let (mut rig, link) = Rig::link_with(Config::default(), Transport::WebTransport);
    assert_eq!(rig.session.transport(), Transport::WebTransport);
    assert!(rig.try_send(Message::from("a")).is_ok());
    assert_eq!(rig.seen(), [text(link, "4a")]);
    let second = rig.open_websocket();
    assert_eq!(
        rig.seen(),
        [closed(second, DisconnectReason::TransportError)]
    );
}
