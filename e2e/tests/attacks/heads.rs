//! Heads of requests that are too large, contradict themselves, or try to say something in the answer.

use engineio_e2e::puppet::{Puppet, Response};
use engineio_tower::{ServerBuilder, SidCookie};

use crate::siege::{POLLING, Siege, WEBSOCKET};

pub(crate) fn rules(builder: ServerBuilder) -> ServerBuilder {
    // With scripts, so that there is one to inject something into.
    builder.cookie(SidCookie::new("io")).allow_jsonp(true)
}

/// Whether the answer opens a session.
fn opens(answer: &Response) -> bool {
    answer.text().contains("\"sid\":")
}

/// They are refused by the host, and cost no session.
pub(crate) async fn huge(siege: &mut Siege) {
    let filler = "x".repeat(1 << 20);
    let many: String = (0..2_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let heads = [
        format!("GET {POLLING}&x={filler} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET {POLLING} HTTP/1.1\r\nhost: a\r\nx: {filler}\r\n\r\n"),
        format!("GET {POLLING} HTTP/1.1\r\nhost: a\r\ncookie: {filler}\r\n\r\n"),
        format!("GET {POLLING} HTTP/1.1\r\nhost: a\r\norigin: http://{filler}\r\n\r\n"),
        format!("GET {POLLING} HTTP/1.1\r\nhost: a\r\n{filler}: x\r\n\r\n"),
        format!("GET {POLLING} HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
        format!("{filler} {POLLING} HTTP/1.1\r\nhost: a\r\n\r\n"),
    ];
    for head in heads {
        let mut client = siege.connect().await;
        client.try_write(&head).await;
        // An answer may be lost with the connection that is reset.
        if let Some(answer) = client.answer().await {
            assert!((400..500).contains(&answer.status), "{answer:?}");
        }
        assert_eq!(siege.strangers(), 0, "{}", &head[..60]);
    }
}

/// Lengths that contradict each other make no request.
pub(crate) async fn two_lengths(siege: &mut Siege) {
    let (_, target, mut poll) = siege.poller().await;
    let lengths = [
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2, 3\r\n",
        "content-length: -2\r\n",
        "content-length: +2\r\n",
        "content-length: 0x2\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked, identity\r\n",
    ];
    for headers in lengths {
        let mut post = siege.connect().await;
        post.send_post(&target, headers).await;
        post.try_write("4x").await;
        post.finish().await;
        if let Some(answer) = post.answer().await {
            assert!(answer.status >= 400, "{headers}: {answer:?}");
        }
    }
    // None of these has reached the session.
    assert_eq!(poll.post(&target, "4still here").await.text(), "ok");
    assert_eq!(poll.get(&target).await.text(), "4still here");
}

/// Of two origins, or two hosts, the one that is welcome does not vouch for the other.
pub(crate) async fn two_origins(siege: &mut Siege) {
    // `HOST` stands for the host that the client has connected to.
    let own = "origin: http://HOST\r\n";
    let foreign = "origin: https://elsewhere.example\r\n";
    let both = [
        format!("{own}{foreign}"),
        format!("{foreign}{own}"),
        "origin: http://HOST, https://elsewhere.example\r\n".to_owned(),
        format!("host: elsewhere.example\r\n{foreign}"),
        format!("x-forwarded-host: elsewhere.example\r\n{foreign}"),
        format!("forwarded: host=elsewhere.example;proto=https\r\n{foreign}"),
    ];
    for headers in both {
        let mut client = siege.connect().await;
        let for_host = headers.replace("HOST", &client.host().to_string());
        let answer = client.request("GET", POLLING, &for_host).await;
        assert!((400..500).contains(&answer.status), "{headers}: {answer:?}");
        assert!(!opens(&answer));
        let mut client = siege.connect().await;
        let for_host = headers.replace("HOST", &client.host().to_string());
        write_handshake(&mut client, WEBSOCKET, &for_host).await;
        let answer = client.response().await;
        assert!((400..500).contains(&answer.status), "{headers}: {answer:?}");
    }
    assert_eq!(siege.strangers(), 0);
}

async fn write_handshake(client: &mut Puppet, target: &str, headers: &str) {
    let handshake = String::from_utf8(client.handshake(target)).unwrap();
    let handshake = handshake.replacen("\r\n", &format!("\r\n{headers}"), 1);
    client.write(handshake).await;
}

/// Handshakes that are half of one.
pub(crate) async fn broken_handshakes(siege: &mut Siege) {
    let whole = String::from_utf8(siege.connect().await.handshake(WEBSOCKET)).unwrap();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let broken = [
        whole.replace("connection: Upgrade", "connection: close"),
        whole.replace("upgrade: websocket", "upgrade: h2c"),
        whole.replace("version: 13", "version: 12"),
        whole.replace("version: 13", "version: 013"),
        whole.replace("sec-websocket-version: 13\r\n", ""),
        whole.replace(key, "c2hvcnQ="),
        whole.replace(key, "dGhlIHNhbXBsZSBub25jZQ=\u{e9}"),
        whole.replace(&format!("sec-websocket-key: {key}\r\n"), ""),
        whole.replace("GET", "POST"),
        whole.replace("GET", "PUT"),
        whole.replace("HTTP/1.1", "HTTP/1.0"),
    ];
    for handshake in broken {
        let mut client = siege.connect().await;
        client.write(&handshake).await;
        if let Some(answer) = client.answer().await {
            assert!(
                (400..500).contains(&answer.status),
                "{handshake}\n{answer:?}"
            );
        }
    }
    assert_eq!(siege.strangers(), 0);
}

/// Text from a client does not end up as a header or script in a response.
pub(crate) async fn injection(siege: &mut Siege) {
    const EVIL: &str = "%0d%0aset-cookie:%20evil=1%0d%0a%0d%0a%3Cscript%3Eevil";
    let targets = [
        format!("{POLLING}&sid={EVIL}"),
        format!("{POLLING}&j={EVIL}"),
        format!("{POLLING}&j=1);evil(1//"),
        format!("{POLLING}&t={EVIL}"),
        format!("/engine.io/?EIO=4{EVIL}&transport=polling"),
        format!("/engine.io/?EIO=4&transport={EVIL}"),
        format!("/engine.io/{EVIL}/?EIO=4&transport=polling"),
    ];
    let headers = [
        "",
        "origin: http://evil/%0d%0aset-cookie: evil=1\r\n",
        "origin: null\r\n",
        "origin: javascript:evil(1)\r\n",
        "cookie: io=evil; evil=1\r\n",
        "access-control-request-headers: evil\r\naccess-control-request-method: EVIL\r\n",
        "accept-encoding: evil;q=evil, gzip;q=\u{e9}\r\n",
        "content-type: evil/<script>\r\n",
    ];
    for target in targets {
        for headers in headers {
            let mut client = siege.connect().await;
            let answer = client.request("GET", &target, headers).await;
            assert!(answer.status < 500, "{answer:?}");
            says_nothing_evil(&answer);
        }
    }
    // A bare carriage return, or a zero, is not allowed in a value.
    for value in ["http://a\rset-cookie: evil=1", "http://a\0evil"] {
        let mut client = siege.connect().await;
        let head = format!("GET {POLLING} HTTP/1.1\r\nhost: a\r\norigin: {value}\r\n\r\n");
        client.write(head).await;
        if let Some(answer) = client.answer().await {
            assert!((400..500).contains(&answer.status), "{answer:?}");
            says_nothing_evil(&answer);
        }
    }
}

fn says_nothing_evil(answer: &Response) {
    for (name, value) in &answer.headers {
        // Whom the answer is not for, it may say.
        assert!(!name.contains("evil"), "{answer:?}");
        assert!(!value.contains("evil"), "{answer:?}");
    }
    assert!(!answer.text().contains("evil"), "{answer:?}");
}

/// A path is the server's as it is written, or it is the host's.
pub(crate) async fn paths(siege: &mut Siege) {
    let ours = [
        "/engine.io",
        "/engine.io/",
        "/engine.io//",
        "/engine.io/below/",
        "/engine.io/../",
        "/engine.io/%2e%2e/",
    ];
    let of_the_host = [
        "/",
        "/engine.iox",
        "/engine.io%2f",
        "/engine.io%00",
        "/engine.io;a=b",
        "/ENGINE.IO/",
        "/engine%2eiox",
        "/engine%2eio/",
        "/engine.i%6f/",
        "/./engine.iox/",
        "/x/../engine.io/",
        "/x/engine.io/",
        "/%2fengine.io/",
    ];
    for path in ours {
        let mut client = siege.connect().await;
        let answer = client.get(&format!("{path}?EIO=4&transport=polling")).await;
        assert!(opens(&answer), "{path}: {answer:?}");
    }
    for path in of_the_host {
        let mut client = siege.connect().await;
        let answer = client.get(&format!("{path}?EIO=4&transport=polling")).await;
        assert!(!opens(&answer), "{path}: {answer:?}");
    }
    // A middleware in front sees no query in these, so the server must not see one either.
    for path in [
        "/engine.io/%3FEIO=4&transport=polling&x=",
        "/engine.io/%3fEIO=4&transport=polling&x=?y",
        "/engine.io/%253FEIO=4&transport=polling&x=",
        "/engine.io/x%23?EIO=9",
    ] {
        let mut client = siege.connect().await;
        let answer = client.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
        assert!(
            answer.text().starts_with("{\"code\":0,"),
            "{path}: {answer:?}"
        );
    }
    // These mean the same to some and not to others; either way it is an answer.
    for path in ["//engine.io/", "///engine.io", "/engine.io/%00/"] {
        let mut client = siege.connect().await;
        let answer = client.get(&format!("{path}?EIO=4&transport=polling")).await;
        assert!(answer.status < 500, "{path}: {answer:?}");
        println!("{path}: {} {}", answer.status, opens(&answer));
    }
}
