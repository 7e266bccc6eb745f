//! Programs as processes, and HTTP requests that no client library dresses up.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use engineio_client::{Client, Message, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

/// The time limit of everything that is waited for.
const LIMIT: Duration = Duration::from_secs(20);

/// The value of a future, or a failed test if it takes too long.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {LIMIT:?} for {what}"),
    }
}

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: UnboundedReceiver<String>,
    /// The URL it listens on, without a trailing slash; empty for a client.
    pub(crate) url: String,
}

impl Program {
    /// Starts an example of one file.
    pub(crate) async fn example(name: &str) -> Self {
        let mut program = Self::run(Command::new(example(name)).arg("127.0.0.1:0"));
        program.url = program.listens().await;
        program
    }

    /// Starts the echo server.
    pub(crate) async fn echo(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_echo"));
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        let mut program = Self::run(&mut command);
        program.url = program.listens().await;
        program
    }

    /// Starts any program.
    pub(crate) fn run(command: &mut Command) -> Self {
        let spawned = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!("{command:?}: {error}; `cargo build -p engineio-examples --examples` builds it")
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        Self {
            child,
            lines,
            url: String::new(),
        }
    }

    async fn listens(&mut self) -> String {
        let line = self.line("listening on ").await;
        line.split_once("listening on ").unwrap().1.to_owned()
    }

    /// The next line that contains `text`; those before it are passed over.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the program ended before it printed {text:?}");
        };
        soon(&format!("a line with {text:?}"), found).await
    }

    /// Everything that is still printed, until the program ends by itself, and its status.
    pub(crate) async fn end(&mut self) -> (Vec<String>, ExitStatus) {
        let mut lines = Vec::new();
        while let Some(line) = soon("the end of the program", self.lines.recv()).await {
            lines.push(line);
        }
        (lines, self.child.wait().unwrap())
    }

    /// Asks the program to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(status.unwrap().success());
    }

    /// A client of this program over one transport.
    pub(crate) async fn connect(&self, transport: Transport) -> Client {
        let client = Client::builder(&self.url).transports([transport]);
        soon("a session", client.connect()).await.unwrap()
    }

    /// A response: its status, its head in lower case, and its body.
    pub(crate) async fn fetch(&self, method: &str, path: &str, more: &str, body: &str) -> Response {
        let host = self.url.strip_prefix("http://").unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n{body}"
        );
        let answer = async {
            let mut stream = TcpStream::connect(host).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = soon(&format!("{method} {path}"), answer).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Response {
            status: head[9..12].parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.fetch("GET", path, "", "").await
    }

    /// The first line of the answer to a request to become a WebSocket.
    pub(crate) async fn ask_for_websocket(&self, path: &str) -> String {
        let host = self.url.strip_prefix("http://").unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        soon("the answer", stream.read_exact(&mut answer))
            .await
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// The values of the cookies that it sets, as a request sends them.
    pub(crate) fn cookies(&self) -> String {
        let lines = self.head.lines();
        let set = lines.filter_map(|line| line.strip_prefix("set-cookie: "));
        let pairs: Vec<&str> = set.filter_map(|value| value.split(';').next()).collect();
        pairs.join("; ")
    }
}

/// The next message as text.
pub(crate) async fn text(client: &mut Client) -> String {
    match soon("a message", client.next()).await {
        Some(message) => message.as_text().unwrap_or("(binary)").to_owned(),
        None => panic!("the session ended: {:?}", client.disconnect_reason()),
    }
}

/// Sends a message to a server that echoes, and waits for it.
pub(crate) async fn echo(client: &mut Client, message: impl Into<Message>) {
    let message = message.into();
    client.send(message.clone()).await.unwrap();
    assert_eq!(soon("the echo", client.next()).await, Some(message));
}

/// Cargo puts examples beside the directory of the tests, and tells no test where.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    profile.join("examples").join(name)
}
