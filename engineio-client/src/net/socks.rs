//! The handshakes of SOCKS proxies: version 5 (RFC 1928, RFC 1929), and version 4 with names (SOCKS4A).
//!
//! The libraries for it fall short. That of hyper-util offers one method only, so that a proxy that needs no password
//! refuses a client with one. tokio-socks 0.5.3 refuses a user with an empty password, as a URL without one has it, and does
//! not flush, so that nothing leaves by a stream of the application's connector that has a buffer.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::BoxError;

/// A connection to a proxy.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// The methods of version 5: none, and by user name and password.
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
/// The answer of a proxy that takes none of the methods.
const NO_METHOD: u8 = 0xff;

/// Asks a proxy of version 4 for a connection to this host and port.
pub(super) async fn connect_v4(io: &mut impl Io, host: &str, port: u16) -> Result<(), BoxError> {
    let mut request = vec![4, 1];
    request.extend(port.to_be_bytes());
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.extend(address.octets());
            request.push(0);
        }
        Ok(IpAddr::V6(_)) => return Err("a SOCKS4 proxy cannot connect to an IPv6 address".into()),
        Err(_) => {
            // An address that cannot exist says that a name follows the user, who is empty.
            request.extend([0, 0, 0, 255, 0]);
            request.extend(host.as_bytes());
            request.push(0);
        }
    }
    let [_, code, _, _, _, _, _, _] = ask(io, &request).await?;
    match code {
        90 => Ok(()),
        91 => Err("the proxy refused the connection, or could not make it".into()),
        92 | 93 => Err("the proxy cannot identify the user of this machine".into()),
        code => Err(format!("the proxy answered with {code}, which is no answer of SOCKS4").into()),
    }
}

/// Asks a proxy of version 5 for a connection to this host and port. The credentials are sent only if the proxy asks for
/// them.
pub(super) async fn connect_v5(
    io: &mut impl Io,
    credentials: Option<(String, String)>,
    host: &str,
    port: u16,
) -> Result<(), BoxError> {
    let greeting: &[u8] = match credentials {
        Some(_) => &[5, 2, NO_AUTHENTICATION, PASSWORD],
        None => &[5, 1, NO_AUTHENTICATION],
    };
    match (ask(io, greeting).await?, credentials) {
        ([5, NO_AUTHENTICATION], _) => {}
        ([5, PASSWORD], Some((user, password))) => log_in(io, &user, &password).await?,
        ([5, NO_METHOD], Some(_)) => {
            return Err("the proxy takes no user name and password".into());
        }
        ([5, NO_METHOD], None) => {
            return Err(
                "the proxy demands authentication; give it a user name and password".into(),
            );
        }
        ([5, method], _) => {
            return Err(format!("the proxy chose method {method}, which was not offered").into());
        }
        _ => return Err("it is not a SOCKS5 proxy".into()),
    }
    let mut request = vec![5, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(3);
            push_field(&mut request, host, "host")?;
        }
    }
    request.extend(port.to_be_bytes());
    // With the first byte of the address, which is the length of a name.
    let [version, code, _, kind, first] = ask(io, &request).await?;
    if version != 5 {
        return Err("it is not a SOCKS5 proxy".into());
    }
    let reason = match code {
        0 => {
            let rest = match kind {
                1 => 3,
                4 => 15,
                3 => usize::from(first),
                _ => return Err("the proxy answered with an unknown kind of address".into()),
            };
            // It says nothing that a client needs, as the connection goes on behind it.
            let mut address = vec![0; rest + size_of::<u16>()];
            io.read_exact(&mut address).await?;
            return Ok(());
        }
        1 => "failed",
        2 => "does not allow the connection",
        3 => "cannot reach the network of the server",
        4 => "cannot reach the server",
        5 => "was refused by the server",
        6 => "had no answer from the server in time",
        7 => "makes no connections",
        8 => "does not know this kind of address",
        code => return Err(format!("the proxy refused with the unknown code {code}").into()),
    };
    Err(format!("the proxy {reason}").into())
}

/// Sends the credentials (RFC 1929).
async fn log_in(io: &mut impl Io, user: &str, password: &str) -> Result<(), BoxError> {
    let mut login = vec![1];
    push_field(&mut login, user, "user name")?;
    push_field(&mut login, password, "password")?;
    match ask(io, &login).await? {
        [_, 0] => Ok(()),
        _ => Err("the proxy does not accept the user name and password".into()),
    }
}

/// Adds a text behind its length.
fn push_field(to: &mut Vec<u8>, text: &str, what: &str) -> Result<(), BoxError> {
    let len = u8::try_from(text.len());
    let len =
        len.map_err(|_| format!("the {what} is longer than the 255 bytes that SOCKS5 allows"))?;
    to.push(len);
    to.extend(text.as_bytes());
    Ok(())
}

/// Sends a message, and reads an answer of this length.
async fn ask<const N: usize>(io: &mut impl Io, message: &[u8]) -> io::Result<[u8; N]> {
    io.write_all(message).await?;
    io.flush().await?;
    let mut answer = [0; N];
    io.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use tokio::io::BufStream;

    use super::*;

    /// Connects by version 5 through a proxy that sends these answers, over a stream with a buffer. Returns what the proxy was
    /// sent, and the outcome.
    async fn v5(
        credentials: Option<(&str, &str)>,
        host: &str,
        answers: &[u8],
    ) -> (Vec<u8>, Result<(), String>) {
        let credentials = credentials.map(|(user, password)| (user.into(), password.into()));
        let (near, mut far) = tokio::io::duplex(4_096);
        let mut near = BufStream::new(near);
        far.write_all(answers).await.unwrap();
        far.shutdown().await.unwrap();
        let outcome = connect_v5(&mut near, credentials, host, 80).await;
        drop(near);
        let mut sent = Vec::new();
        far.read_to_end(&mut sent).await.unwrap();
        (sent, outcome.map_err(|error| error.to_string()))
    }

    /// An answer with this address, which is that of the proxy.
    const CONNECTED: &[u8] = b"\x05\x00\x00\x01\0\0\0\0\0\0";

    #[tokio::test]
    async fn a_password_is_sent_only_to_a_proxy_that_asks_for_it() {
        let open = [b"\x05\x00", CONNECTED].concat();
        let asks = [b"\x05\x02\x01\x00", CONNECTED].concat();
        let login = b"\x01\x01u\x06secret";
        let request = b"\x05\x01\x00\x03\x01h\x00\x50";
        let credentials = Some(("u", "secret"));
        for (credentials, answers, expected) in [
            (None, &open, [&b"\x05\x01\x00"[..], request].concat()),
            (
                credentials,
                &open,
                [&b"\x05\x02\x00\x02"[..], request].concat(),
            ),
            (
                credentials,
                &asks,
                [&b"\x05\x02\x00\x02"[..], login, request].concat(),
            ),
            (
                Some(("u", "")),
                &asks,
                [&b"\x05\x02\x00\x02\x01\x01u\x00"[..], request].concat(),
            ),
        ] {
            assert_eq!(v5(credentials, "h", answers).await, (expected, Ok(())));
        }
    }

    #[tokio::test]
    async fn an_address_is_sent_as_one_and_the_answer_may_have_any() {
        for (host, expected) in [
            ("127.0.0.1", &b"\x01\x7f\0\0\x01"[..]),
            ("::1", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
        ] {
            for address in [
                &b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
                b"\x03\x02ab",
                b"\x03\0",
            ] {
                let answers = [b"\x05\x00\x05\x00\x00", address, b"\0\0"].concat();
                let (sent, outcome) = v5(None, host, &answers).await;
                assert_eq!(sent[6..], [expected, b"\x00\x50"].concat());
                assert_eq!(outcome, Ok(()));
            }
        }
    }

    #[tokio::test]
    async fn what_a_proxy_refuses_is_said_without_the_password() {
        let credentials = Some(("u", "secret"));
        let long = "x".repeat(256);
        let refused = |code| [b"\x05\x00\x05", &[code][..], b"\x00\x01\0\0\0\0\0\0"].concat();
        for (credentials, host, answers, expected) in [
            (None, "h", b"\x05\xff".to_vec(), "demands authentication"),
            (credentials, "h", b"\x05\xff".to_vec(), "takes no user name"),
            (
                credentials,
                "h",
                b"\x05\x02\x01\x01".to_vec(),
                "does not accept the user name and password",
            ),
            (
                None,
                "h",
                b"\x05\x02".to_vec(),
                "chose method 2, which was not offered",
            ),
            (None, "h", b"HTTP/1.1 400".to_vec(), "not a SOCKS5 proxy"),
            (None, "h", b"\x05".to_vec(), "early eof"),
            (None, "h", refused(5), "refused by the server"),
            (None, "h", refused(9), "unknown code 9"),
            (
                Some((&*long, "secret")),
                "h",
                b"\x05\x02".to_vec(),
                "the user name is longer than",
            ),
            (
                None,
                &*long,
                b"\x05\x00".to_vec(),
                "the host is longer than",
            ),
        ] {
            let error = v5(credentials, host, &answers).await.1.unwrap_err();
            assert!(
                error.contains(expected) && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn version_4_is_sent_names_and_addresses_of_its_family() {
        for (host, answer, expected, said) in [
            (
                "h",
                90,
                &b"\x04\x01\x00\x50\x00\x00\x00\xff\x00h\x00"[..],
                None,
            ),
            (
                "127.0.0.1",
                90,
                b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
                None,
            ),
            ("::1", 90, b"", Some("IPv6")),
            (
                "h",
                91,
                b"\x04\x01\x00\x50\x00\x00\x00\xff\x00h\x00",
                Some("refused"),
            ),
            (
                "h",
                0,
                b"\x04\x01\x00\x50\x00\x00\x00\xff\x00h\x00",
                Some("0, which is no answer"),
            ),
        ] {
            let (mut near, mut far) = tokio::io::duplex(4_096);
            far.write_all(&[0, answer, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let outcome = connect_v4(&mut near, host, 80).await;
            drop(near);
            let mut sent = Vec::new();
            far.read_to_end(&mut sent).await.unwrap();
            assert_eq!(sent, expected);
            let error = outcome.err().map(|error| error.to_string());
            assert_eq!(error.is_some(), said.is_some());
            assert!(error.unwrap_or_default().contains(said.unwrap_or_default()));
        }
    }
}
