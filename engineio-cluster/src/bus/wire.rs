//! The messages on the bus, as bytes.
//!
//! | bytes | contents |
//! |---|---|
//! | 3 | `eio`: whatever else is on the channel is not ours |
//! | 1 | the version, 1 |
//! | 1 | the kind |
//! | … | the fields of the kind, numbers in network order |

use bytes::{Buf, BufMut, Bytes, BytesMut};
use engineio_tower::{Message, Sid};

use super::fields::{Malformed, Reader, Stamp, Writer};
use crate::NodeId;
use crate::membership::announcement::Announcement;

const MAGIC: &[u8] = b"eio";
const VERSION: u8 = 1;

/// The bytes before the data of a broadcast: magic, version, kind, sender, number, format.
pub(crate) const BROADCAST_OVERHEAD: usize = 3 + 1 + 1 + 8 + 8 + 1;

/// A message on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusMessage {
    Announcement(Announcement),
    /// The named node is asked to announce itself at once, because it cannot be connected to.
    Query {
        id: NodeId,
        incarnation: u64,
    },
    /// Every node passes the message on to its clients.
    Broadcast {
        stamp: Stamp,
        message: Message,
    },
    /// The owner of a session carries out an operation and replies.
    Request {
        stamp: Stamp,
        sid: Sid,
        request: Request,
    },
    /// The outcome of a request. The stamp is that of the request.
    Reply {
        stamp: Stamp,
        outcome: Outcome,
    },
}

/// An operation on the session of another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Send(Message),
    Disconnect,
}

/// The outcome of a [`Request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The message is queued for the client, or the client is disconnected.
    Done,
    /// The queue of the client is full.
    Full,
    /// No such session, or it is closed.
    Closed,
    /// The client's transport cannot carry the message.
    Unsendable,
}

/// The reason why a message on the channel was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// The message has another version of the format.
    Version(u8),
    Malformed,
}

impl From<Malformed> for Ignored {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl BusMessage {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer(BytesMut::with_capacity(match self {
            Self::Broadcast { message, .. } => BROADCAST_OVERHEAD + message.len(),
            Self::Request {
                request: Request::Send(message),
                ..
            } => 512 + message.len(),
            _ => 128,
        }));
        out.0.put_slice(MAGIC);
        out.u8(VERSION);
        match self {
            Self::Announcement(announcement) => {
                out.u8(1);
                announcement.write(&mut out);
            }
            Self::Query { id, incarnation } => {
                out.u8(2);
                out.node(id);
                out.u64(*incarnation);
            }
            Self::Broadcast { stamp, message } => {
                out.u8(3);
                out.stamp(*stamp);
                out.message(message);
            }
            Self::Request {
                stamp,
                sid,
                request,
            } => {
                out.u8(4);
                out.stamp(*stamp);
                out.short_text(sid.as_str());
                match request {
                    Request::Disconnect => out.u8(0),
                    Request::Send(message) => {
                        out.u8(1);
                        out.message(message);
                    }
                }
            }
            Self::Reply { stamp, outcome } => {
                out.u8(5);
                out.stamp(*stamp);
                out.u8(match outcome {
                    Outcome::Done => 0,
                    Outcome::Full => 1,
                    Outcome::Closed => 2,
                    Outcome::Unsendable => 3,
                });
            }
        }
        out.0.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Ignored> {
        let mut from = Reader(bytes);
        if !from.0.starts_with(MAGIC) {
            return Err(Ignored::Malformed);
        }
        from.0.advance(MAGIC.len());
        let version = from.u8()?;
        if version != VERSION {
            return Err(Ignored::Version(version));
        }
        let message = match from.u8()? {
            1 => Self::Announcement(Announcement::read(&mut from)?),
            2 => Self::Query {
                id: from.node()?,
                incarnation: from.u64()?,
            },
            3 => Self::Broadcast {
                stamp: from.stamp()?,
                message: from.message()?,
            },
            4 => Self::Request {
                stamp: from.stamp()?,
                sid: from.sid()?,
                request: match from.u8()? {
                    0 => Request::Disconnect,
                    1 => Request::Send(from.message()?),
                    _ => return Err(Ignored::Malformed),
                },
            },
            5 => Self::Reply {
                stamp: from.stamp()?,
                outcome: match from.u8()? {
                    0 => Outcome::Done,
                    1 => Outcome::Full,
                    2 => Outcome::Closed,
                    3 => Outcome::Unsendable,
                    _ => return Err(Ignored::Malformed),
                },
            },
            _ => return Err(Ignored::Malformed),
        };
        if from.remaining() > 0 {
            return Err(Ignored::Malformed);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::fields::SMALL;
    use crate::membership::announcement::{MAX_ADDRESS, MAX_ANNOUNCEMENT, Presence};

    fn announcement() -> Announcement {
        Announcement {
            id: "node-a".parse().unwrap(),
            incarnation: 7,
            beat: 3,
            presence: Presence::Up,
            address: "10.0.0.5:7000".into(),
            sessions: 12,
        }
    }

    fn every_kind() -> Vec<BusMessage> {
        let stamp = Stamp {
            sender: 1,
            number: 2,
        };
        let sid: Sid = "abcdefghijklmnopqrst".parse().unwrap();
        let mut all = vec![
            BusMessage::Announcement(announcement()),
            BusMessage::Query {
                id: "b".parse().unwrap(),
                incarnation: u64::MAX,
            },
        ];
        for message in [
            Message::from("héllo"),
            Message::from(""),
            Message::from(&b"\xff\x00"[..]),
            Message::from(vec![0; SMALL + 1]),
        ] {
            all.push(BusMessage::Broadcast {
                stamp,
                message: message.clone(),
            });
            all.push(BusMessage::Request {
                stamp,
                sid,
                request: Request::Send(message),
            });
        }
        all.push(BusMessage::Request {
            stamp,
            sid,
            request: Request::Disconnect,
        });
        for outcome in [
            Outcome::Done,
            Outcome::Full,
            Outcome::Closed,
            Outcome::Unsendable,
        ] {
            all.push(BusMessage::Reply { stamp, outcome });
        }
        all
    }

    #[test]
    fn every_kind_of_message_is_read_as_it_was_written() {
        for message in every_kind() {
            assert_eq!(BusMessage::decode(message.encode()), Ok(message));
        }
    }

    #[test]
    fn an_announcement_of_the_longest_names_keeps_to_its_limit() {
        let longest = Announcement {
            id: "x".repeat(NodeId::MAX_LEN).parse().unwrap(),
            address: "y".repeat(MAX_ADDRESS).into(),
            ..announcement()
        };
        assert!(BusMessage::Announcement(longest).encode().len() <= MAX_ANNOUNCEMENT);
    }

    #[test]
    fn the_overhead_of_a_broadcast_is_as_stated() {
        let stamp = Stamp {
            sender: 1,
            number: 2,
        };
        for message in [Message::from("12345"), Message::from(b"12345")] {
            let encoded = BusMessage::Broadcast { stamp, message }.encode();
            assert_eq!(encoded.len(), BROADCAST_OVERHEAD + 5);
        }
    }

    #[test]
    fn another_version_is_told_from_garbage() {
        let mut bytes = every_kind()[0].encode().to_vec();
        bytes[3] = 2;
        assert_eq!(BusMessage::decode(bytes.into()), Err(Ignored::Version(2)));
        for garbage in ["", "eio", "hello", "{\"type\":1}"] {
            assert_eq!(BusMessage::decode(garbage.into()), Err(Ignored::Malformed));
        }
    }

    #[test]
    fn truncated_and_lengthened_messages_are_ignored() {
        for message in every_kind() {
            let bytes = message.encode();
            let has_data = matches!(
                message,
                BusMessage::Broadcast { .. }
                    | BusMessage::Request {
                        request: Request::Send(_),
                        ..
                    }
            );
            for len in 0..bytes.len().min(64) {
                let decoded = BusMessage::decode(bytes.slice(..len));
                // The data of a message ends where the bytes end.
                assert!(decoded.is_err() || has_data, "{len} bytes of {message:?}");
            }
            if !has_data {
                let longer = [&bytes[..], b"x"].concat();
                assert_eq!(BusMessage::decode(longer.into()), Err(Ignored::Malformed));
            }
        }
    }

    #[test]
    fn a_text_that_is_not_utf8_is_ignored() {
        let stamp = Stamp {
            sender: 1,
            number: 2,
        };
        let message = BusMessage::Broadcast {
            stamp,
            message: Message::from("ab"),
        };
        let mut bytes = message.encode().to_vec();
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(BusMessage::decode(bytes.into()), Err(Ignored::Malformed));
    }

    #[test]
    fn damaged_messages_never_panic() {
        let mut random = 1_u64;
        for message in every_kind() {
            let bytes = message.encode();
            for _ in 0..2_000 {
                let mut damaged = bytes.to_vec();
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let at = (random >> 33) as usize % damaged.len().min(64);
                damaged[at] = (random >> 20) as u8;
                let _ = BusMessage::decode(damaged.into());
            }
        }
    }
}
