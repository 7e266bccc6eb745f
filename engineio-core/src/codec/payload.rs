//! The body of a polling request or response.

use bytes::Bytes;

/// Several packets in one HTTP body, encoded, and the kind of that body.
///
/// In HTTP, the content type says which kind it is: `application/octet-stream` means binary, anything else means text.
/// Revision 4 has no binary payloads; revision 3 has.
///
/// ```
/// use engineio_core::Payload;
///
/// let payload = Payload::text("4hello");
/// assert!(!payload.binary);
/// assert_eq!(payload.body, "4hello");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The bytes.
    pub body: Bytes,
    /// Whether the content type is `application/octet-stream`.
    pub binary: bool,
    /// Whether the body may be compressed: `false` if its messages were sent with the option not to be.
    pub compress: bool,
}

impl Payload {
    /// Creates a body of text. A body that came from a peer is checked for UTF-8 when it is decoded.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            binary: false,
            compress: true,
        }
    }

    /// Creates a body of bytes (`application/octet-stream`).
    pub fn binary(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            binary: true,
            compress: true,
        }
    }
}
