//! Output that is closed or full, or that nobody reads.

use std::io::PipeWriter;
#[cfg(unix)]
use std::io::{PipeReader, Write};
use std::process::Stdio;
#[cfg(unix)]
use std::time::Duration;

#[cfg(unix)]
use engineio_tower::{ConnectRequest, DisconnectReason, Rejection, Socket};
#[cfg(unix)]
use rustix::io::ioctl_fionbio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
#[cfg(unix)]
use tokio::time::timeout;

#[cfg(unix)]
use super::{LIMIT, kill};
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

/// A pipe that is full.
#[cfg(unix)]
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    ioctl_fionbio(&writer, true).unwrap();
    while writer.write(b"x").is_ok() {}
    ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

#[cfg(unix)]
#[tokio::test]
async fn one_signal_ends_a_task_whose_results_nobody_reads() {
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = echo()
        .on_connect(move |_: Socket, _: ConnectRequest| {
            let _ = begun.send(());
            async {}
        })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| {
            let _ = ended.send(reason);
        });
    let url = serve(server).await;
    let [.., doctor, bench] = tasks(&url);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        for (task, has_ended) in [(&doctor, false), (&bench, true)] {
            let (_reader, writer) = full();
            let child = command(task).stdout(writer).spawn().unwrap();
            timeout(LIMIT, begins.recv()).await.unwrap();
            if has_ended {
                let end = timeout(LIMIT, ends.recv()).await.unwrap();
                assert_eq!(end, Some(DisconnectReason::Client));
            }
            kill(&child, signal).await;
            let output = output(child).await;
            assert_eq!(output.status.code(), Some(code), "{task:?}: {output:?}");
            assert_eq!(stderr(&output), "", "{task:?}");
            while begins.try_recv().is_ok() || ends.try_recv().is_ok() {}
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_the_wait_to_tell_why_a_task_failed() {
    let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let refused = began.clone();
    let ending = echo().on_connect(move |socket: Socket, _: ConnectRequest| {
        socket.abort();
        let _ = began.send(());
        async {}
    });
    let refusing = echo().on_connect(move |_: Socket, _: ConnectRequest| {
        let _ = refused.send(());
        async { Err::<(), _>(Rejection::default()) }
    });
    let (ending, refusing) = (serve(ending).await, serve(refusing).await);
    for task in [
        vec!["-q", &ending],
        vec!["bench", "--clients", "1", &refusing],
    ] {
        let (_reader, writer) = full();
        let mut child = command(&task).stderr(writer).spawn().unwrap();
        timeout(LIMIT, begins.recv()).await.unwrap();
        // Before the program listens, a signal ends it without a code.
        let ending = async {
            let step = Duration::from_millis(100);
            loop {
                if let Ok(status) = timeout(step, child.wait()).await {
                    return status.unwrap();
                }
                kill(&child, "INT").await;
            }
        };
        let status = timeout(LIMIT, ending).await.unwrap();
        assert!(
            matches!(status.code(), None | Some(130)),
            "{task:?}: {status}"
        );
    }
}
