//! The program `eio` in a pipe.

use std::process::{Output, Stdio};

use engineio_client::Transport;
use tokio::io::AsyncWriteExt;

use crate::peers::{in_time, peers, program};

/// `printf input | eio options`.
async fn pipe(input: &[u8], options: &[&str]) -> Output {
    let mut child = program("eio")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    // The end of the input is the end of the session.
    drop(stdin);
    in_time(child.wait_with_output()).await.unwrap()
}

fn assert_output(output: &Output, code: i32, stdout: &[u8], stderr: &str) {
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        stderr,
        "{output:?}"
    );
    assert_eq!(output.stdout, stdout, "{output:?}");
    assert_eq!(output.status.code(), Some(code), "{output:?}");
}

#[tokio::test]
async fn lines_go_in_and_their_echoes_come_out() {
    for peer in peers() {
        for transports in ["polling", "websocket"] {
            let options = ["--quiet", "--transports", transports, &peer.url];
            let output = pipe("a\n\nβ 😀\nlast".as_bytes(), &options).await;
            assert_output(&output, 0, "a\n\nβ 😀\nlast\n".as_bytes(), "");
            let options = [&["--binary"], &options[..]].concat();
            let output = pipe(b"\x1e\xff\n\x00\n", &options).await;
            assert_output(&output, 0, b"\x1e\xff\x00", "");
        }
    }
}

#[tokio::test]
async fn remarks_go_to_the_error_stream() {
    let polling = [Transport::Polling];
    for peer in peers().iter().filter(|peer| peer.closes_in_order(&polling)) {
        // The answer to the second line is the end, so nothing is waited for.
        let options = ["--linger", "25", "--no-upgrade", &peer.url];
        let output = pipe(b"a\nclose-me\n", &options).await;
        let remarks = "eio: connected; each line is a message, Ctrl-D ends the session\n\
                       eio: server disconnect\n";
        assert_output(&output, 0, b"a\n", remarks);
    }
}

#[tokio::test]
async fn a_failure_is_one_line_and_an_exit_status() {
    for peer in peers() {
        let output = pipe(b"", &[&format!("{}/nope/", peer.url)]).await;
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(stderr.contains("was answered with 404"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert_output(&output, 1, b"", &stderr);
    }
}
