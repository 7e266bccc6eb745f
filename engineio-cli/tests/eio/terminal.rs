//! Conversations on a terminal.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use engineio_tower::{DisconnectReason, Message, Server, Socket};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
#[cfg(target_os = "linux")]
use rustix::{io::ioctl_fionread, pipe::fcntl_getpipe_size};
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{LIMIT, command, echo, kill, mkfifo, serve};

/// The editor switches off bracketed paste when it leaves the terminal to others.
const NO_BRACKETED_PASTE: &str = "\x1b[?2004l";

/// The program on a terminal of its own.
struct Typed {
    child: Child,
    terminal: File,
    /// What it has written.
    shown: watch::Receiver<String>,
}

impl Typed {
    fn start(arguments: &[&str]) -> Self {
        Self::start_as("xterm", arguments)
    }

    fn start_as(term: &str, arguments: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let path = OsStr::from_bytes(name.as_bytes());
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap()
        };
        let mut command = command(arguments);
        command.env("TERM", term);
        command.stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().unwrap();
        // It would keep the terminal open.
        drop(command);
        let terminal = File::from(terminal);
        let mut output = terminal.try_clone().unwrap();
        let (show, shown) = watch::channel(String::new());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error once the program has closed its end.
            while let Ok(read) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]);
                show.send_modify(|shown| shown.push_str(&text));
            }
        });
        Self {
            child,
            terminal,
            shown,
        }
    }

    async fn shows(&mut self, text: &str) {
        let shown = self.shown.wait_for(|shown| shown.contains(text));
        let outcome = timeout(LIMIT, shown).await.map(drop);
        assert!(outcome.is_ok(), "{text} in {:?}", *self.shown.borrow());
    }

    /// Types the key that ends the input. Returns the exit code, and all that was shown.
    async fn ends(mut self) -> (Option<i32>, String) {
        // A program that has ended does not read it.
        let _ = self.terminal.write_all(b"\x04");
        let status = timeout(LIMIT, self.child.wait()).await.unwrap();
        // The end of the terminal.
        while self.shown.changed().await.is_ok() {}
        let shown = self.shown.borrow().clone();
        (status.unwrap().code(), shown)
    }

    /// Types from a thread, because a terminal whose program does not read takes no more.
    async fn types(&self, text: Vec<u8>) {
        let mut terminal = self.terminal.try_clone().unwrap();
        let typing = tokio::task::spawn_blocking(move || terminal.write_all(&text));
        timeout(LIMIT, typing).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn every_line_that_is_pasted_arrives_once_and_in_order() {
    const LINES: usize = 500;
    let lines: Vec<String> = (0..LINES)
        .map(|n| format!("line {n} {}", "é".repeat(n % 100)))
        .collect();
    for is_bracketed in [true, false] {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (count, mut counted) = watch::channel(0);
        let heard = Arc::clone(&received);
        // Answers each line, so that the program prints while it reads.
        let server = Server::builder().on_message(move |socket: Socket, message: Message| {
            let text = message.as_text().unwrap().to_owned();
            let n = heard.lock().unwrap().len();
            heard.lock().unwrap().push(text);
            count.send_modify(|count| *count += 1);
            async move {
                let _ = socket
                    .send(format!("answer {n} {}", "é".repeat(n % 100)))
                    .await;
            }
        });
        let url = serve(server).await;
        let mut eio = Typed::start(&["--no-history", &url]);
        eio.shows("> ").await;
        let pasted = match is_bracketed {
            true => format!("\x1b[200~{}\x1b[201~\r", lines.join("\n")),
            false => lines.join("\r") + "\r",
        };
        eio.types(pasted.into_bytes()).await;
        let all = counted.wait_for(|count| *count >= LINES);
        let outcome = timeout(LIMIT, all).await.map(drop);
        assert!(outcome.is_ok(), "{}", received.lock().unwrap().len());
        // The end of the input, while answers come.
        let (code, shown) = eio.ends().await;
        assert_eq!(code, Some(0), "{shown}");
        assert_eq!(*received.lock().unwrap(), lines, "{is_bracketed}");
        // Of answers that come while Enter is being pressed, the editor may show a later one first.
        let answers = shown.split("answer ").skip(1);
        let mut answers: Vec<usize> = answers
            .filter_map(|part| part.split(' ').next()?.parse().ok())
            .collect();
        answers.sort_unstable();
        assert_eq!(answers, Vec::from_iter(0..LINES), "{shown}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_signal_closes_the_session_of_a_program_whose_output_nobody_reads() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder()
        .on_message(|socket: Socket, message: Message| async move {
            while socket.send(message.clone()).await.is_ok() {}
        })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| {
            let _ = sender.send(reason);
        });
    let url = serve(server).await;
    let mut child = command(&["-q", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // A page of the pipe.
    let line = "x".repeat(4_095) + "\n";
    let mut input = child.stdin.take().unwrap();
    input.write_all(line.as_bytes()).await.unwrap();
    let output = child.stdout.take().unwrap();
    // There is no room for another line: the program waits for it.
    let size = fcntl_getpipe_size(&output).unwrap() as u64;
    let filling = async {
        while ioctl_fionread(&output).unwrap() < size {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, filling).await.unwrap();
    kill(&child, "TERM").await;
    let status = timeout(LIMIT, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(143));
    assert_eq!(ends.recv().await, Some(DisconnectReason::Client));
    drop((input, output));
}

#[tokio::test]
async fn a_signal_ends_a_conversation_that_reads_a_file_without_an_end() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = echo().on_disconnect(move |_: Socket, reason: DisconnectReason| {
        let _ = sender.send(reason);
    });
    let url = serve(server).await;
    // Nobody writes the pipe, so that opening it waits.
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe).await;
    for (term, after) in [("xterm", NO_BRACKETED_PASTE), ("dumb", "connected; ")] {
        let mut eio = Typed::start_as(term, &["--no-history", &url]);
        eio.shows("connected; ").await;
        eio.types(format!(":file {}\r", pipe.display()).into_bytes())
            .await;
        // The editor has left the terminal.
        eio.shows(after).await;
        kill(&eio.child, "INT").await;
        let (code, shown) = eio.ends().await;
        assert_eq!(code, Some(130), "{shown}");
        let end = timeout(LIMIT, ends.recv()).await.unwrap();
        assert_eq!(end, Some(DisconnectReason::Client), "{shown}");
    }
}

#[tokio::test]
async fn a_terminal_that_cannot_be_read_further_is_an_error() {
    let url = serve(echo()).await;
    let mut eio = Typed::start(&["--no-history", &url]);
    eio.shows("> ").await;
    eio.types(b"first\rcaf\xe9 noir\r".to_vec()).await;
    let (code, shown) = eio.ends().await;
    assert_eq!(code, Some(1), "{shown}");
    for text in [
        "a byte that is not UTF-8",
        "the input was not read to its end",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}
