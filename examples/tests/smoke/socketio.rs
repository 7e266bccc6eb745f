//! The example `socketio`, by the text of its packets.

use engineio_client::{Client, Message, Transport};

use crate::support::{Program, echo, soon, text};

async fn connect(program: &Program, transport: Transport) -> Client {
    let url = format!("{}/socket.io/", program.url);
    let client = Client::builder(&url).transports([transport]).connect();
    soon("the client", client).await.unwrap()
}

#[tokio::test]
async fn socketio_carries_events_acknowledgements_rooms_and_attachments() {
    let program = Program::example("socketio").await;
    let mut clients = Vec::new();
    for transport in [Transport::Polling, Transport::WebSocket] {
        let mut client = connect(&program, transport).await;
        for (connect, answer) in [
            ("0", "0{\"sid\":"),
            ("0/chat,", "0/chat,{\"sid\":"),
            ("0/admin,", "4/admin,{\"message\":"),
            ("0/admin,{\"token\":\"secret\"}", "0/admin,{\"sid\":"),
        ] {
            client.send(connect).await.unwrap();
            assert!(text(&mut client).await.starts_with(answer));
        }
        echo(&mut client, r#"2["hello",1]"#).await;
        client.send(r#"2/chat,12["sum",1,2]"#).await.unwrap();
        assert_eq!(text(&mut client).await, "3/chat,12[1,2]");
        client.send(r#"2["ask me"]"#).await.unwrap();
        assert_eq!(text(&mut client).await, r#"27["question"]"#);
        client.send("37[42]").await.unwrap();
        assert_eq!(text(&mut client).await, r#"2["answered",42]"#);
        let packet = r#"51-["file",{"_placeholder":true,"num":0}]"#;
        client.send(packet).await.unwrap();
        client.send(vec![1, 2, 3]).await.unwrap();
        assert_eq!(text(&mut client).await, packet);
        let attachment = soon("the attachment", client.next()).await;
        assert_eq!(attachment.unwrap().as_bytes(), [1, 2, 3]);
        client.send(r#"2/chat,1["join","red"]"#).await.unwrap();
        assert_eq!(text(&mut client).await, r#"3/chat,1["red"]"#);
        clients.push(client);
    }
    let said = r#"2/chat,["say","red","hi"]"#;
    clients[0].send(said).await.unwrap();
    for client in &mut clients {
        assert_eq!(text(client).await, r#"2/chat,["said","hi"]"#);
    }
    // An attachment that belongs to no packet ends the client.
    clients[1].send(vec![0]).await.unwrap();
    assert!(soon("the end", clients[1].next()).await.is_none());
}

#[tokio::test]
async fn socketio_disconnects_a_client_that_cannot_get_a_packet_and_keeps_the_id_of_its_session() {
    let program = Program::example("socketio").await;
    let mut client = connect(&program, Transport::WebSocket).await;
    client.send("0").await.unwrap();
    assert!(!text(&mut client).await.contains(&client.sid().unwrap()));
    // The echo is larger than the outbox.
    let two = r#"52-["files",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    client.send(two).await.unwrap();
    for _ in 0..2 {
        client.send(vec![1; 600_000]).await.unwrap();
    }
    assert!(soon("the end", client.next()).await.is_none());
}

#[tokio::test]
async fn socketio_ends_a_connection_with_a_malformed_packet_and_never_answers_it() {
    let program = Program::example("socketio").await;
    let long = "9".repeat(25);
    for packet in [
        "",
        "x",
        "é",
        "7",
        "9[\"a\"]",
        // An event needs a name that is not one of the client's own.
        "2",
        "2{\"a\":1}",
        "2[]",
        "2[1]",
        "2[null]",
        "2\"a\"",
        "2[\"connect\"]",
        "2[\"disconnecting\",1]",
        "2[\"a\"",
        "2[\"a\"]]",
        "2/chat,[\"not connected there\"]",
        // An acknowledgement has an id and an array.
        "3",
        "3[42]",
        "37",
        "37{\"a\":1}",
        &format!("3{long}[42]"),
        &format!("2{long}[\"a\"]"),
        "2-1[\"a\"]",
        // A client connects once, with an object, and its disconnect carries nothing.
        "0",
        "0/chat,[1]",
        "0/chat,\"token\"",
        "1[\"a\"]",
        "4{\"message\":\"x\"}",
        // Attachments that are not announced, or too many, or that the placeholders do not mean.
        "5",
        "5[\"a\"]",
        "5-[\"a\"]",
        "5x-[\"a\"]",
        "511-[\"a\"]",
        "50-[\"a\",{\"_placeholder\":true,\"num\":0}]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "51-[\"a\",{\"_placeholder\":true}]",
        "51-[\"a\",[{\"b\":{\"_placeholder\":true,\"num\":-1}}]]",
        "51-{\"a\":1}",
        "61-[42]",
    ] {
        let mut client = connect(&program, Transport::WebSocket).await;
        client.send("0").await.unwrap();
        assert!(text(&mut client).await.starts_with("0{"));
        client.send(packet).await.unwrap();
        let answer = soon("the end", client.next()).await;
        assert!(answer.is_none(), "{packet}: {answer:?}");
    }
    let whole = r#"51-["a",{"_placeholder":true,"num":0}]"#;
    let text_between: [Message; 3] = ["52-[\"a\"]".into(), vec![1].into(), "2[\"a\"]".into()];
    let one_too_many = [whole.into(), vec![1].into(), vec![2].into()];
    for (messages, echoed) in [(text_between, 0), (one_too_many, 2)] {
        let mut client = connect(&program, Transport::WebSocket).await;
        client.send("0").await.unwrap();
        assert!(text(&mut client).await.starts_with("0{"));
        for message in messages {
            client.send(message).await.unwrap();
        }
        let mut answers = 0;
        while soon("the end", client.next()).await.is_some() {
            answers += 1;
        }
        assert_eq!(answers, echoed);
    }
}

#[tokio::test]
async fn socketio_refuses_unknown_namespaces_and_acknowledgements_that_it_did_not_ask_for() {
    let program = Program::example("socketio").await;
    let mut client = connect(&program, Transport::WebSocket).await;
    for number in 0..100 {
        client.send(format!("0/{number},")).await.unwrap();
        let refused = format!(r#"4/{number},{{"message":"Invalid namespace"}}"#);
        assert_eq!(text(&mut client).await, refused);
    }
    client.send("0").await.unwrap();
    assert!(text(&mut client).await.starts_with("0{"));
    for asked in [false, true] {
        if asked {
            client.send(r#"2["ask me"]"#).await.unwrap();
            assert_eq!(text(&mut client).await, r#"27["question"]"#);
        }
        for ack in ["37[1]", "37[2]", "38[3]"] {
            client.send(ack).await.unwrap();
        }
        if asked {
            assert_eq!(text(&mut client).await, r#"2["answered",1]"#);
        }
        echo(&mut client, r#"2["still here"]"#).await;
    }
}

#[tokio::test]
async fn socketio_limits_the_rooms_of_a_client_and_their_names() {
    let program = Program::example("socketio").await;
    for (name, accepted) in [("r".repeat(100), true), ("r".repeat(101), false)] {
        let mut client = connect(&program, Transport::WebSocket).await;
        client.send("0").await.unwrap();
        assert!(text(&mut client).await.starts_with("0{"));
        // Those of a namespace that it leaves do not count any more, nor does a second time in one.
        for _ in 0..2 {
            client.send("0/chat,").await.unwrap();
            assert!(text(&mut client).await.starts_with("0/chat,{"));
            for room in (0..99).chain([0]) {
                let join = format!(r#"2/chat,1["join","{room}"]"#);
                client.send(join).await.unwrap();
                assert_eq!(text(&mut client).await, format!(r#"3/chat,1["{room}"]"#));
            }
            client.send("1/chat,").await.unwrap();
        }
        for room in 0..99 {
            client
                .send(format!(r#"21["join","{room}"]"#))
                .await
                .unwrap();
            assert_eq!(text(&mut client).await, format!(r#"31["{room}"]"#));
        }
        let join = format!(r#"21["join","{name}"]"#);
        client.send(join).await.unwrap();
        if accepted {
            assert_eq!(text(&mut client).await, format!(r#"31["{name}"]"#));
            client.send(r#"21["join","one too many"]"#).await.unwrap();
        }
        assert!(soon("the end", client.next()).await.is_none());
    }
}
