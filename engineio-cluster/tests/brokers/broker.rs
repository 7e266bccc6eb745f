//! Brokers as processes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use engineio_cluster::{Bus, Nats, Redis};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The time within which anything has to happen that is waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Nats,
    Redis,
}

/// A running broker at a port of its own.
pub(crate) struct Broker {
    pub(crate) kind: Kind,
    ip: Ipv4Addr,
    pub(crate) port: u16,
    options: Vec<String>,
    child: Child,
    directory: tempfile::TempDir,
    tls: bool,
}

/// The files of a broker with TLS, in its directory: the certificate of the authority, its own, and its key.
const AUTHORITY: &str = "authority.pem";
const CERTIFICATE: &str = "broker.pem";
const KEY: &str = "broker.key";

impl Broker {
    pub(crate) fn start(kind: Kind) -> Self {
        Self::with(kind, &[])
    }

    pub(crate) fn with(kind: Kind, options: &[&str]) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, kind, options)
    }

    /// Starts it at an address of this machine.
    pub(crate) fn at(ip: Ipv4Addr, kind: Kind, options: &[&str]) -> Self {
        Self::launch(ip, kind, options, false)
    }

    /// Starts one that speaks nothing but TLS.
    pub(crate) fn with_tls(kind: Kind) -> Self {
        Self::launch(Ipv4Addr::LOCALHOST, kind, &[], true)
    }

    fn launch(ip: Ipv4Addr, kind: Kind, options: &[&str], tls: bool) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let directory = tempfile::tempdir().unwrap();
        if tls {
            write_certificates(ip, &directory);
        }
        let child = spawn(kind, (ip, port), &options, &directory, tls);
        Self {
            kind,
            ip,
            port,
            options,
            child,
            directory,
            tls,
        }
    }

    /// Returns the file with the certificate of the authority, if the broker speaks TLS.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        self.tls.then(|| self.directory.path().join(AUTHORITY))
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        let address = (self.ip, self.port);
        self.child = spawn(self.kind, address, &self.options, &self.directory, self.tls);
    }

    /// Lets the process stand still, as a machine does that is overloaded: it accepts connections and answers nothing.
    pub(crate) fn freeze(&self) {
        freeze(&self.child);
    }

    pub(crate) fn thaw(&self) {
        signal(&self.child, "CONT");
    }

    pub(crate) async fn connect(&self) -> Box<dyn Bus> {
        let url = self.url();
        match self.kind {
            Kind::Nats => Box::new(Nats::connect(&url).await.unwrap()),
            Kind::Redis => Box::new(Redis::connect(&url).await.unwrap()),
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = match (self.kind, self.tls) {
            (Kind::Nats, false) => "nats",
            (Kind::Nats, true) => "tls",
            (Kind::Redis, false) => "redis",
            (Kind::Redis, true) => "rediss",
        };
        format!("{scheme}://{}:{}", self.ip, self.port)
    }

    /// Sends a command to Redis as a foreign client, and waits for the first bytes of the answer.
    pub(crate) fn redis_command(&self, words: &[&[u8]]) {
        let mut stream = TcpStream::connect((self.ip, self.port)).unwrap();
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        stream.write_all(&command).unwrap();
        let mut answer = [0; 1];
        stream.read_exact(&mut answer).unwrap();
        assert_ne!(answer, *b"-", "Redis refuses the command");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    kind: Kind,
    address: (Ipv4Addr, u16),
    options: &[String],
    directory: &tempfile::TempDir,
    tls: bool,
) -> Child {
    let (ip, port) = (address.0.to_string(), address.1.to_string());
    let mut command = match kind {
        Kind::Nats => {
            let mut command = program("ENGINEIO_NATS_SERVER", "nats-server");
            command.args(["-a", &ip, "-p", &port]);
            if tls {
                command.args(["--tls", "--tlscert", CERTIFICATE, "--tlskey", KEY]);
            }
            command
        }
        Kind::Redis => {
            let mut command = program("ENGINEIO_REDIS_SERVER", "redis-server");
            command.args(["--bind", &ip, "--save", "", "--protected-mode", "no"]);
            if tls {
                command.args(["--port", "0", "--tls-port", &port]);
                command.args(["--tls-cert-file", CERTIFICATE, "--tls-key-file", KEY]);
                command.args(["--tls-ca-cert-file", AUTHORITY, "--tls-auth-clients", "no"]);
            } else {
                command.args(["--port", &port]);
            }
            command
        }
    };
    let child = command
        .args(options)
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the broker is not installed: run the test by `cargo xtask cluster`");
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < LIMIT, "the broker does not start");
        thread::yield_now();
    }
    child
}

fn write_certificates(ip: Ipv4Addr, directory: &tempfile::TempDir) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![ip.to_string()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    for (name, text) in [
        (AUTHORITY, authority.pem()),
        (CERTIFICATE, certificate.pem()),
        (KEY, key.serialize_pem()),
    ] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
}

fn program(variable: &str, default: &str) -> Command {
    Command::new(std::env::var_os(variable).unwrap_or_else(|| default.into()))
}

/// Sends a signal to a process. (The standard library can only kill.)
pub(crate) fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill")
        .args([format!("-{signal}"), child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// Stops a process, and waits until it has stopped: its threads may run on after the signal was sent.
pub(crate) fn freeze(child: &Child) {
    signal(child, "STOP");
    let began = Instant::now();
    while !is_stopped(child.id()) {
        assert!(began.elapsed() < LIMIT, "the process does not stop");
        thread::yield_now();
    }
}

/// Returns whether all threads of a process are stopped.
fn is_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.map(|thread| thread.unwrap().path()).all(|thread| {
        // A thread that has ended is none.
        let stat = std::fs::read_to_string(thread.join("stat")).unwrap_or_default();
        // The state follows the name of the program, in parentheses.
        stat.is_empty() || stat.rsplit(')').next().unwrap().starts_with(" T")
    })
}
