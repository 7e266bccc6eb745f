//! Output that is closed or full.

use std::io::PipeWriter;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{command, echo, output, serve, stderr};

/// Tasks that print more than nothing.
fn tasks(url: &str) -> [Vec<&str>; 4] {
    [
        vec!["--help"],
        vec!["completions", "bash"],
        vec!["doctor", "--quick", "--transports", "polling", url],
        vec!["bench", "--clients", "1", "--seconds", "0.1", url],
    ]
}

/// A pipe that nobody reads.
fn closed() -> PipeWriter {
    let (_, writer) = std::io::pipe().unwrap();
    writer
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_an_error() {
    let url = serve(echo()).await;
    for task in tasks(&url) {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let child = command(&task).stdout(full).spawn().unwrap();
        let output = output(child).await;
        assert_eq!(output.status.code(), Some(1), "{task:?}: {output:?}");
        assert!(
            stderr(&output).starts_with("eio: cannot write the output: "),
            "{output:?}"
        );
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
}

#[tokio::test]
async fn nobody_who_reads_is_a_quiet_end() {
    let url = serve(echo()).await;
    for task in tasks(&url) {
        let child = command(&task).stdout(closed()).spawn().unwrap();
        let output = output(child).await;
        assert_eq!(output.status.code(), Some(141), "{task:?}: {output:?}");
        assert_eq!(stderr(&output), "", "{task:?}");
    }
    let mut child = command(&["-q", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let endless = tokio::spawn(async move { while stdin.write_all(b"line\n").await.is_ok() {} });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "line");
    drop(lines);
    let output = output(child).await;
    endless.await.unwrap();
    assert_eq!((stderr(&output), output.status.code()), ("", Some(141)));
}

#[tokio::test]
async fn a_closed_error_stream_changes_nothing() {
    let url = serve(echo()).await;
    let mut command = command(&[&url]);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(closed())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"\xff\nline\n").await.unwrap();
    drop(stdin);
    let output = output(child).await;
    assert_eq!(
        (&*output.stdout, output.status.code()),
        (&b"line\n"[..], Some(1))
    );
}
