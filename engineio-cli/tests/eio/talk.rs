//! Conversations in a pipe.

use std::io::Write;

use super::{echo, eio, serve, stderr, stdout};

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
    assert_eq!(output.status.code(), Some(1), "{output:?}");
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
        stderr(&output).contains("not sent, because it is not JSON"),
        "{output:?}"
    );
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
    for wrong in [&["--nonsense"][..], &[], &["doctor"], &["--eio", "5", &url]] {
        let output = eio(b"", wrong).await;
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
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
}
