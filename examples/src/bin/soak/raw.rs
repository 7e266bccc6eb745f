//! A connection that knows just enough of HTTP and WebSocket to break them at a chosen byte.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The handshake of RFC 6455 with the example key of the RFC.
const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    host: String,
}

/// The status and the body of a response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A frame of the server.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub(crate) fn close_code(&self) -> Option<u16> {
        let code = self
            .payload
            .first_chunk()
            .map(|code| u16::from_be_bytes(*code));
        code.filter(|_| self.opcode == 8)
    }
}

impl Raw {
    pub(crate) async fn connect(host: &str) -> io::Result<Self> {
        let address = lookup_host(host).await?.next();
        let address = address.ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
        let socket = TcpSocket::new_v4()?;
        // Little room, so that a peer that is not read notices soon.
        socket.set_recv_buffer_size(8 << 10)?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            host: host.to_owned(),
        })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Breaks the connection off with an RST.
    pub(crate) fn reset(self) {
        // Fails only where there is nothing left to reset.
        let _ = self.stream.set_zero_linger();
    }

    /// The head of a request, up to the empty line that ends it.
    pub(crate) fn head(&self, method: &str, query: &str, headers: &str) -> String {
        let host = &self.host;
        format!("{method} /engine.io/?{query} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")
    }

    pub(crate) async fn get(&mut self, query: &str) -> io::Result<Response> {
        self.send(self.head("GET", query, "")).await?;
        self.response().await
    }

    pub(crate) async fn post(
        &mut self,
        query: &str,
        body: impl AsRef<[u8]>,
    ) -> io::Result<Response> {
        let body = body.as_ref();
        let length = format!("content-length: {}\r\n", body.len());
        let mut request = self.head("POST", query, &length).into_bytes();
        request.extend(body);
        self.send(request).await?;
        self.response().await
    }

    /// Opens a session by polling, and gives the query of its requests.
    pub(crate) async fn open(&mut self) -> io::Result<String> {
        let response = self.get("EIO=4&transport=polling").await?;
        let sid = response.body.split_once("\"sid\":\"").map(|(_, rest)| rest);
        let sid = sid.and_then(|rest| rest.split('"').next());
        match sid {
            Some(sid) if response.status == 200 => Ok(format!("EIO=4&transport=polling&sid={sid}")),
            _ => Err(io::Error::other(format!(
                "a handshake was answered with {response:?}"
            ))),
        }
    }

    /// Becomes a WebSocket.
    pub(crate) async fn upgrade(&mut self, query: &str) -> io::Result<()> {
        self.send(self.head("GET", query, UPGRADE)).await?;
        let response = self.response().await?;
        match response.status {
            101 => Ok(()),
            _ => Err(io::Error::other(format!(
                "an upgrade was answered with {response:?}"
            ))),
        }
    }

    /// Opens a session by WebSocket, and reads its open packet.
    pub(crate) async fn open_websocket(&mut self) -> io::Result<()> {
        self.upgrade("EIO=4&transport=websocket").await?;
        let frame = self.frame().await?;
        match frame {
            Some(Frame { opcode: 1, payload }) if payload.starts_with(b"0{") => Ok(()),
            other => Err(io::Error::other(format!("no open packet, but {other:?}"))),
        }
    }

    /// Reads more. Returns `false` at the end of the stream.
    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    async fn need(&mut self, len: usize) -> io::Result<()> {
        while self.buffer.len() < len {
            if !self.fill().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// The next response. A body without a length is left where it is.
    pub(crate) async fn response(&mut self) -> io::Result<Response> {
        let end = loop {
            let end = self
                .buffer
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            self.need(self.buffer.len() + 1).await?;
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length = length
            .and_then(|length| length.trim().parse().ok())
            .unwrap_or(0);
        self.need(length).await?;
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        Ok(Response {
            status: status.ok_or_else(|| io::Error::other(format!("no HTTP: {head:?}")))?,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> io::Result<Option<Frame>> {
        if self.buffer.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        self.need(2).await?;
        let (opcode, short) = (self.buffer[0] & 0x0f, self.buffer[1]);
        let head = match short {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        self.need(head).await?;
        let length = match short {
            0..126 => u64::from(short),
            _ => self.buffer[2..head]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        self.need(head + length as usize).await?;
        let frame: Vec<u8> = self.buffer.drain(..head + length as usize).collect();
        Ok(Some(Frame {
            opcode,
            payload: frame[head..].to_vec(),
        }))
    }

    /// The code with which the server closes a WebSocket, whatever else it says before; `None` without one.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        // A reset is an end without a code.
        while let Ok(Some(frame)) = self.frame().await {
            if let Some(code) = frame.close_code() {
                return Some(code);
            }
        }
        None
    }

    /// Waits until the server sends something, or ends the connection.
    pub(crate) async fn answered(&mut self) {
        let _ = self.fill().await;
    }

    /// Reads until the server ends the connection; a reset is an end too.
    pub(crate) async fn ended(&mut self) {
        while let Ok(true) = self.fill().await {
            self.buffer.clear();
        }
    }
}

/// The bytes of a whole frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_head(opcode, payload.len() as u64);
    let mask = MASK.iter().cycle();
    frame.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Returns the head of a frame that announces `length` bytes.
pub(crate) fn frame_head(opcode: u8, length: u64) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match length {
        0..126 => head.push(0x80 | length as u8),
        126..0x1_0000 => {
            head.push(0x80 | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend(MASK);
    head
}
