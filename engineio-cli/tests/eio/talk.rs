//! Conversations in a pipe.

use std::io::Write;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use engineio_tower::{DisconnectReason, Message, Server, Socket};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{command, echo, eio, kill, listen, output, serve, stderr, stdout};

#[tokio::test]
async fn lines_go_out_and_their_echoes_come_in() {
    let url = serve(echo()).await;
    for transports in ["polling", "websocket", "polling,websocket"] {
        let output = eio(
            "a\n\nβ 😀\nlast".as_bytes(),
            &["-q", "--transports", transports, &url],
        )
        .await;
        assert_eq!(stdout(&output), "a\n\nβ 😀\nlast\n", "{output:?}");
        assert_eq!((stderr(&output), output.status.code()), ("", Some(0)));
    }
}

#[tokio::test]
async fn binary_lines_are_written_unchanged() {
    let url = serve(echo()).await;
    let output = eio(b"\x1e\xff\n\x00\n", &["-q", "--binary", &url]).await;
    assert_eq!(output.stdout, b"\x1e\xff\x00", "{output:?}");
}

#[tokio::test]
async fn a_file_is_one_binary_message_before_the_input() {
    let url = serve(echo()).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"\x00\n\xff").unwrap();
    let path = file.path().to_str().unwrap();
    let output = eio(b"after\n", &["-q", "--send-file", path, &url]).await;
    assert_eq!(stdout(&output), "<3 bytes> 00 0a ff\nafter\n", "{output:?}");
    let output = eio(b"", &["--send-file", "/nowhere/at/all", &url]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("cannot read /nowhere/at/all"),
        "{output:?}"
    );
}

#[tokio::test]
async fn json_is_checked_and_indented() {
    let url = serve(echo()).await;
    let output = eio(
        b"{\"a\":[1]}\nnot json\n",
        &["--json", "--no-upgrade", &url],
    )
    .await;
    assert_eq!(
        stdout(&output),
        "{\n  \"a\": [\n    1\n  ]\n}\n",
        "{output:?}"
    );
    assert!(
        stderr(&output).contains("not sent: line 2: it is not JSON"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn lines_that_cannot_be_sent_are_counted() {
    let url = serve(echo().max_payload(1_000)).await;
    let (long, longer) = ("x".repeat(1_000), "x".repeat(100_000));
    for (wrong, options, why) in [
        ("\u{1e}", &["--transports", "polling"][..], "U+001E"),
        (&*long, &[], "1001 bytes, and the server accepts 1000"),
        (
            &*longer,
            &[],
            "more than the 1000 bytes that the server accepts",
        ),
        ("{", &["--json"], "not JSON"),
    ] {
        let input = format!("1\n{wrong}\n2\n{wrong}\n");
        let output = eio(input.as_bytes(), &[options, &[&url]].concat()).await;
        assert_eq!(stdout(&output), "1\n2\n", "{output:?}");
        for part in [
            "line 2: ",
            "line 4: ",
            why,
            "eio: 2 of 4 messages were not sent",
        ] {
            assert!(stderr(&output).contains(part), "{part}: {output:?}");
        }
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    let output = eio(b"\xff\n1\n", &["-q", &url]).await;
    assert_eq!((stdout(&output), output.status.code()), ("1\n", Some(1)));
    let told =
        "eio: not sent: line 1: it is not UTF-8; use --binary; 1 of 2 messages were not sent\n";
    assert_eq!(stderr(&output), told);
}

#[tokio::test]
async fn a_file_that_the_server_does_not_accept_is_not_sent() {
    let url = serve(echo().max_payload(1_000)).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0; 1_001]).unwrap();
    let path = file.path().to_str().unwrap();
    let output = eio(b"after\n", &["--send-file", path, &url]).await;
    assert_eq!(stdout(&output), "after\n", "{output:?}");
    let told = format!("not sent: {path}: 1001 bytes, and the server accepts 1000");
    assert!(stderr(&output).contains(&told), "{output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn bytes_count_as_polling_carries_them_unless_there_is_a_websocket() {
    let url = serve(echo().max_payload(1_000)).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[b'x'; 900]).unwrap();
    let path = file.path().to_str().unwrap();
    let options = ["-q", "--binary", "--send-file", path];
    for (more, arrives) in [(&["--no-upgrade"][..], false), (&[], true)] {
        let output = eio(b"after\n", &[&options, more, &[&url]].concat()).await;
        let sent = match arrives {
            true => "x".repeat(900) + "after",
            false => "after".to_owned(),
        };
        assert_eq!(stdout(&output), sent, "{output:?}");
        let told = format!("not sent: {path}: 1201 bytes, and the server accepts 1000");
        assert_eq!(stderr(&output).contains(&told), !arrives, "{output:?}");
        assert_eq!(output.status.code(), Some(i32::from(!arrives)));
    }
}

#[tokio::test]
async fn a_line_without_end_ends_the_input() {
    let url = serve(echo().max_payload(1_000)).await;
    let mut child = command(&[&url]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let endless = tokio::spawn(async move {
        stdin.write_all(b"first\n").await.unwrap();
        while stdin.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
    });
    let output = output(child).await;
    endless.await.unwrap();
    assert_eq!(stdout(&output), "first\n", "{output:?}");
    for part in [
        "line 2: cannot read the input: the line has no end",
        "the input was not read to its end",
    ] {
        assert!(stderr(&output).contains(part), "{part}: {output:?}");
    }
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn an_input_that_cannot_be_read_is_an_error() {
    let url = serve(echo()).await;
    let directory = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
    let child = command(&["-q", &url]).stdin(directory).spawn().unwrap();
    let output = output(child).await;
    assert!(
        stderr(&output).contains("cannot read the input"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn lines_after_the_end_of_the_session_are_counted() {
    let closing = Server::builder().on_message(|socket: Socket, _: Message| async move {
        socket.close();
    });
    let url = serve(closing).await;
    for transports in ["polling", "websocket"] {
        let options = ["-q", "--transports", transports, &url];
        let mut child = command(&options).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let endless =
            tokio::spawn(async move { while stdin.write_all(b"line\n").await.is_ok() {} });
        let output = output(child).await;
        endless.await.unwrap();
        for part in [
            "server",
            " were not sent",
            "the input was not read to its end",
        ] {
            assert!(stderr(&output).contains(part), "{part}: {output:?}");
        }
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}

#[tokio::test]
async fn a_session_that_the_server_closes_after_the_last_line_is_a_success() {
    let closing = Server::builder().on_message(|socket: Socket, message: Message| async move {
        let _ = socket.send(message).await;
        socket.close();
    });
    let url = serve(closing).await;
    let output = eio(b"all\n", &["-q", "--linger", "60", &url]).await;
    assert_eq!((stdout(&output), stderr(&output)), ("all\n", ""));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// The account of messages at the end of a conversation: how many were not sent, and how many may not have arrived.
pub(super) fn account(output: &std::process::Output, read: usize) -> (usize, usize) {
    let told = stderr(output).lines().last().unwrap_or_default();
    let number = |what: &str| {
        let (before, _) = told.split_once(&format!(" of {read} messages {what}"))?;
        before.rsplit(' ').next()?.parse().ok()
    };
    let counts = ["were not sent", "may not have arrived"].map(|what| number(what).unwrap_or(0));
    (counts[0], counts[1])
}

#[tokio::test]
async fn messages_that_a_server_may_not_have_read_before_it_closed_are_counted() {
    let heard = Arc::new(Mutex::new(0));
    let hears = Arc::clone(&heard);
    let closing = Server::builder().on_message(move |socket: Socket, _: Message| {
        let mut heard = hears.lock().unwrap();
        *heard += 1;
        if *heard == 100 {
            socket.close();
        }
        async {}
    });
    let url = serve(closing).await;
    let input = "line\n".repeat(1_000);
    for transports in ["polling", "websocket"] {
        *heard.lock().unwrap() = 0;
        let options = ["-q", "--transports", transports, &url];
        let output = eio(input.as_bytes(), &options).await;
        let (unsent, doubtful) = account(&output, 1_000);
        let heard = *heard.lock().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        // What is neither, has arrived.
        assert!(1_000 - unsent - doubtful <= heard, "{heard}: {output:?}");
        assert!(1_000 - unsent >= heard, "{heard}: {output:?}");
        assert!(doubtful > 0, "{output:?}");
    }
}

#[tokio::test]
async fn a_websocket_that_the_server_closes_after_a_line_that_was_alone_is_a_success() {
    let closing = Server::builder().on_message(|socket: Socket, _: Message| async move {
        socket.close();
    });
    let url = serve(closing).await;
    let options = ["-q", "--transports", "websocket", "--linger", "60", &url];
    let output = eio(b"quit\n", &options).await;
    assert_eq!((stderr(&output), output.status.code()), ("", Some(0)));
}

#[tokio::test]
async fn another_session_is_opened_and_said_so() {
    let server = echo().on_message(|socket: Socket, message: Message| async move {
        match message.as_text() {
            Some("close") => socket.close(),
            _ => drop(socket.send(message).await),
        }
    });
    let url = serve(server).await;
    let mut child = command(&["--reconnect", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"close\n").await.unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut remarks = Vec::new();
    while remarks
        .last()
        .is_none_or(|last| last != "eio: connected again")
    {
        remarks.push(told.next_line().await.unwrap().unwrap());
    }
    assert!(
        remarks.contains(&"eio: the session is over: server disconnect".to_owned()),
        "{remarks:?}"
    );
    stdin.write_all(b"after\n").await.unwrap();
    drop(stdin);
    let output = output(child).await;
    assert_eq!(
        (stdout(&output), output.status.code()),
        ("after\n", Some(0))
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_after_the_time_of_the_options() {
    let (listener, address) = listen().await;
    let url = format!("http://{address}");
    let output = eio(b"", &["--timeout", "0.2", &url]).await;
    for part in [
        "did not complete the handshake in time",
        "raise `--timeout`",
    ] {
        assert!(stderr(&output).contains(part), "{part}: {output:?}");
    }
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    drop(listener);
}

#[tokio::test]
async fn what_a_lost_session_has_not_sent_is_sent_in_the_next_one() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let server = Server::builder().on_message(move |socket: Socket, message: Message| {
        let line = message.as_text().unwrap_or_default().to_owned();
        if line == "1" {
            socket.close();
        }
        hears.lock().unwrap().push(line);
        async {}
    });
    let url = serve(server).await;
    let lines: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
    let input = lines.join("\n");
    let options = ["--reconnect", "--transports", "polling", &url];
    let output = eio(input.as_bytes(), &options).await;
    let told = stderr(&output);
    // As many as the POSTs of the first session held.
    let is_told =
        |n: &usize| told.contains(&format!("; {n} of 40 messages may not have arrived\n"));
    let doubtful = (1..40).find(is_told).expect(told);
    let heard = heard.lock().unwrap();
    let (first, second) = heard.split_at(heard.len() - (40 - doubtful));
    assert_eq!((first, second), (&lines[..first.len()], &lines[doubtful..]));
    for part in [
        "eio: the session is over: server disconnect\n",
        " left to send in another session\n",
        "eio: connected again\n",
        " may not have arrived\n",
    ] {
        assert!(told.contains(part), "{part}: {output:?}");
    }
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_closes_the_session() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = echo().on_disconnect(move |_: Socket, reason: DisconnectReason| {
        let sender = sender.clone();
        async move { sender.send(reason).unwrap() }
    });
    let url = serve(server).await;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = command(&[&url]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"here\n").await.unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "here");
        kill(&child, signal).await;
        let output = output(child).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(ends.recv().await, Some(DisconnectReason::Client));
    }
}

#[tokio::test]
async fn a_colon_in_a_pipe_is_part_of_the_message() {
    let url = serve(echo()).await;
    let output = eio(b":quit\n::a\n", &["-q", &url]).await;
    assert_eq!(stdout(&output), ":quit\n::a\n", "{output:?}");
}

#[tokio::test]
async fn failures_are_one_line_and_an_exit_code() {
    let url = serve(echo()).await;
    let output = eio(b"", &[&format!("{url}/nope/")]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).starts_with("eio: ") && stderr(&output).contains("404"),
        "{output:?}"
    );
    assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
}

#[tokio::test]
async fn wrong_usage_has_a_code_of_its_own() {
    let url = serve(echo()).await;
    for wrong in [
        &["--nonsense"][..],
        &[],
        &["doctor"],
        &["--eio", "5", &url],
        &["--linger", "soon", &url],
        &["bench", "--seconds", "0", &url],
    ] {
        let output = eio(b"", wrong).await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
    }
    for task in [&[][..], &["bench", "--clients", "1"], &["doctor"]] {
        for wrong in [
            &["ftp://localhost"][..],
            &["localhost:5000"],
            &["http://localhost:port"],
            &["--proxy", "gopher://localhost", &url],
            &["--ca-file", "/nowhere/at/all", &url],
            &["--ca-file", "/dev/null", &url.replace("http", "https")],
            &["--ca-file", "/dev/zero", &url],
            &["-H", "a b: c", &url],
            &["-H", "authorization Bearer secret", &url],
            &["-H", "authorization Bearer secret:", &url],
        ] {
            let arguments = [task, wrong].concat();
            let output = eio(b"", &arguments).await;
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
            assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
            assert!(!stderr(&output).contains("secret"), "{output:?}");
        }
    }
}

#[tokio::test]
async fn help_has_examples_and_exit_codes() {
    let output = eio(b"", &["--help"]).await;
    for part in ["Examples:", "Exit codes:", "eio doctor", "--send-file"] {
        assert!(stdout(&output).contains(part), "{part}: {output:?}");
    }
    let output = eio(b"", &["completions", "fish"]).await;
    assert!(stdout(&output).contains("complete -c eio"), "{output:?}");
    let output = eio(b"", &["completions", "zsh"]).await;
    let (before, _) = stdout(&output).split_once("_eio_commands").unwrap();
    assert!(!before.contains(":url --"), "nothing but tasks: {before}");
}
