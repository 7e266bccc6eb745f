//! The modes of measurement.

use super::servers::BASELINE;

/// The figure to compare between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    /// Processor time of the server for each message.
    CpuPerMessage,
    /// Resident memory of the server for each client.
    MemoryPerClient,
}

impl Figure {
    /// The figure's name in the generator's answer.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::CpuPerMessage => "cpu_us",
            Self::MemoryPerClient => "kib_per_client",
        }
    }
}

/// One load, and what is said about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    /// The mode of the generator.
    pub(super) load: &'static str,
    pub(super) size: usize,
    pub(super) clients: usize,
    pub(super) depth: usize,
    /// The server's ping interval in milliseconds.
    ping_ms: u32,
    /// Not below this, whatever window was asked for.
    least_window_ms: u64,
    pub(super) warm_up_ms: u64,
    /// Part of the quick table.
    pub(super) quick: bool,
    /// The ratios to engineioxide that we owe and wish.
    pub(super) target: Option<(f64, f64)>,
    /// The memory in KiB that we owe and wish.
    pub(super) target_kib: Option<(f64, f64)>,
    /// Clients are measured, against our server.
    pub(super) of_clients: bool,
}

impl Mode {
    const fn new(name: &'static str, what: &'static str, load: &'static str) -> Self {
        Self {
            name,
            what,
            load,
            size: 32,
            clients: 100,
            depth: 1,
            ping_ms: 25_000,
            least_window_ms: 0,
            warm_up_ms: 300,
            quick: false,
            target: None,
            target_kib: None,
            of_clients: false,
        }
    }

    /// A mode in which clients are measured.
    const fn client(name: &'static str, what: &'static str, load: &'static str) -> Self {
        let mut mode = Self::new(name, what, load);
        mode.of_clients = true;
        mode
    }

    const fn size(mut self, size: usize, depth: usize) -> Self {
        self.size = size;
        self.depth = depth;
        self
    }

    const fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    const fn target(mut self, must: f64, aim: f64) -> Self {
        self.target = Some((must, aim));
        self
    }

    const fn target_kib(mut self, must: f64, aim: f64) -> Self {
        self.target_kib = Some((must, aim));
        self
    }

    const fn ping(mut self, ping_ms: u32, window_ms: u64) -> Self {
        self.ping_ms = ping_ms;
        self.least_window_ms = window_ms;
        // Every client has had its first ping when the window begins.
        self.warm_up_ms = 1_500;
        self
    }

    pub(super) const fn figure(&self) -> Figure {
        match self.load.as_bytes() {
            b"idle-ws" | b"idle-poll" | b"poll-session" | b"client-idle-ws"
            | b"client-idle-poll" | b"scale" => Figure::MemoryPerClient,
            _ => Figure::CpuPerMessage,
        }
    }

    pub(super) const fn is_polling(&self) -> bool {
        matches!(
            self.load.as_bytes(),
            b"poll-echo"
                | b"connect"
                | b"connect-fresh"
                | b"idle-poll"
                | b"poll-session"
                | b"client-poll-echo"
                | b"client-connect-poll"
                | b"client-idle-poll"
        )
    }

    /// The server or client whose figures ours are judged by, and which the ratios are made with.
    pub(super) const fn baseline(&self) -> &'static str {
        match (self.of_clients, self.is_polling()) {
            (false, _) => BASELINE,
            (true, false) => "client-tungstenite",
            (true, true) => "client-hyper",
        }
    }

    /// Our row of the table.
    pub(super) const fn ours(&self) -> &'static str {
        if self.of_clients { "client" } else { "ours" }
    }

    pub(super) fn window_ms(&self, wanted: u64) -> u64 {
        wanted.max(self.least_window_ms)
    }

    pub(super) fn server_options(&self) -> [String; 2] {
        ["--ping-ms".to_owned(), self.ping_ms.to_string()]
    }
}

/// Idle clients as many as a machine bears, in a run of its own.
pub(super) const SCALE: Mode = Mode {
    warm_up_ms: 2_000,
    ..Mode::new("scale", "idle WebSockets in great number", "scale").clients(100_000)
};

/// Every mode, in the order of the tables.
pub(super) const MODES: &[Mode] = &[
    Mode::new(
        "ws-echo-32-p1",
        "WebSocket echo, 32 B, 1 in flight",
        "ws-echo",
    )
    .quick()
    .target(0.90, 0.87),
    Mode::new(
        "ws-echo-32-p16",
        "WebSocket echo, 32 B, 16 in flight",
        "ws-echo",
    )
    .size(32, 16)
    .quick()
    .target(0.68, 0.58),
    Mode::new(
        "ws-echo-1k-p16",
        "WebSocket echo, 1 KiB, 16 in flight",
        "ws-echo",
    )
    .size(1024, 16),
    Mode::new(
        "ws-echo-4k-p1",
        "WebSocket echo, 4 KiB, 1 in flight",
        "ws-echo",
    )
    .size(4096, 1),
    Mode::new(
        "ws-echo-4k-p16",
        "WebSocket echo, 4 KiB, 16 in flight",
        "ws-echo",
    )
    .size(4096, 16)
    .quick()
    .target(0.55, 0.50),
    Mode::new(
        "ws-echo-16k-p1",
        "WebSocket echo, 16 KiB, 1 in flight",
        "ws-echo",
    )
    .size(16_384, 1),
    Mode::new(
        "ws-echo-16k-p16",
        "WebSocket echo, 16 KiB, 16 in flight",
        "ws-echo",
    )
    .size(16_384, 16),
    Mode::new(
        "ws-echo-64k-p1",
        "WebSocket echo, 64 KiB, 1 in flight",
        "ws-echo",
    )
    .size(65_536, 1)
    .quick()
    .target(0.60, 0.50),
    Mode::new(
        "ws-echo-64k-p16",
        "WebSocket echo, 64 KiB, 16 in flight",
        "ws-echo",
    )
    .size(65_536, 16)
    .clients(20),
    Mode::new(
        "ws-echo-256k-p1",
        "WebSocket echo, 256 KiB, 1 in flight",
        "ws-echo",
    )
    .size(262_144, 1),
    Mode::new(
        "ws-echo-256k-p4",
        "WebSocket echo, 256 KiB, 4 in flight",
        "ws-echo",
    )
    .size(262_144, 4)
    .clients(20),
    Mode::new(
        "ws-echo-32-c1",
        "WebSocket echo, 32 B, a single client",
        "ws-echo",
    )
    .clients(1),
    Mode::new(
        "ws-echo-32-c1k",
        "WebSocket echo, 32 B, 1,000 clients",
        "ws-echo",
    )
    .clients(1_000),
    Mode::new(
        "ws-echo-32-c9k",
        "WebSocket echo, 32 B, 9,000 clients",
        "ws-echo",
    )
    .clients(9_000),
    Mode::new(
        "ws-ring-1k",
        "WebSocket echo, 32 B, 100 in flight among 1,000 clients",
        "ws-ring",
    )
    .size(32, 100)
    .clients(1_000),
    Mode::new(
        "ws-ring-9k",
        "WebSocket echo, 32 B, 100 in flight among 9,000 clients",
        "ws-ring",
    )
    .size(32, 100)
    .clients(9_000),
    Mode::new(
        "ws-relay",
        "messages between clients, 32 B, 1 in flight for each",
        "ws-relay",
    ),
    Mode::new(
        "ws-relay-p16",
        "messages between clients, 32 B, 16 in flight for each",
        "ws-relay",
    )
    .size(32, 16),
    Mode::new(
        "ws-upgrade",
        "echo after an upgrade, 32 B, 1 in flight",
        "ws-upgrade",
    ),
    Mode::new("poll-echo", "polling round trip, 32 B", "poll-echo")
        .quick()
        .target(0.95, 0.91),
    Mode::new(
        "connect",
        "polling handshake, kept-alive connection",
        "connect",
    )
    .clients(32)
    .quick()
    .target(0.52, 0.46),
    Mode::new(
        "connect-fresh",
        "polling handshake, fresh connection",
        "connect-fresh",
    )
    .clients(32),
    Mode::new("connect-ws", "WebSocket connect and close", "connect-ws")
        .clients(32)
        .quick()
        .target(0.90, 0.82),
    Mode::new(
        "fanout",
        "broadcast to 1,000 clients, per delivery",
        "fanout",
    )
    .clients(1_000)
    .quick()
    .target(0.62, 0.52),
    Mode::new("fanout-p8", "the same, 8 broadcasts in flight", "fanout")
        .clients(1_000)
        .size(32, 8),
    Mode::new("ping", "ping and pong, 2,000 clients, every second", "ping")
        .clients(2_000)
        .ping(1_000, 3_000)
        .quick()
        .target(0.55, 0.40),
    Mode::new("idle-ws", "idle WebSocket", "idle-ws")
        .clients(3_000)
        .quick()
        .target(0.40, 0.28),
    Mode::new("idle-ws-18k", "idle WebSocket, 18,000 clients", "idle-ws").clients(18_000),
    Mode::new("idle-poll", "idle waiting poll", "idle-poll")
        .clients(3_000)
        .quick()
        .target(0.50, 0.40),
    Mode::new(
        "poll-session",
        "session between two polls, no connection held",
        "poll-session",
    )
    .clients(10_000)
    .quick()
    .target_kib(1.5, 1.0),
    Mode::client(
        "client-ws-echo-32-p1",
        "client, WebSocket echo, 32 B, 1 in flight",
        "client-ws-echo",
    )
    .target(0.90, 0.80),
    Mode::client(
        "client-ws-echo-32-p16",
        "client, WebSocket echo, 32 B, 16 in flight",
        "client-ws-echo",
    )
    .size(32, 16)
    .target(0.90, 0.80),
    Mode::client(
        "client-ws-echo-4k-p1",
        "client, WebSocket echo, 4 KiB, 1 in flight",
        "client-ws-echo",
    )
    .size(4096, 1)
    .target(0.90, 0.80),
    Mode::client(
        "client-ws-echo-4k-p16",
        "client, WebSocket echo, 4 KiB, 16 in flight",
        "client-ws-echo",
    )
    .size(4096, 16)
    .target(0.90, 0.80),
    Mode::client(
        "client-ws-echo-64k-p1",
        "client, WebSocket echo, 64 KiB, 1 in flight",
        "client-ws-echo",
    )
    .size(65_536, 1)
    .target(0.80, 0.70),
    Mode::client(
        "client-poll-echo",
        "client, polling round trip, 32 B",
        "client-poll-echo",
    )
    .target(1.30, 1.15),
    Mode::client(
        "client-connect-ws",
        "client, WebSocket connect and close",
        "client-connect-ws",
    )
    .clients(32),
    Mode::client(
        "client-connect-poll",
        "client, polling connect and close",
        "client-connect-poll",
    )
    .clients(32),
    Mode::client("client-idle-ws", "idle client, WebSocket", "client-idle-ws")
        .clients(3_000)
        .target_kib(8.0, 5.0),
    Mode::client(
        "client-idle-poll",
        "idle client, polling",
        "client-idle-poll",
    )
    .clients(3_000)
    .target_kib(24.0, 18.0),
];
