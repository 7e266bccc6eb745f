//! The two kinds of frames.

use bytes::Bytes;

/// One WebSocket message, or one packet on the stream of a WebTransport session.
///
/// ```
/// use engineio_core::Frame;
///
/// let text = Frame::text("4hello");
/// let bytes = Frame::Binary(vec![1, 2, 3].into());
/// assert_eq!(text.as_bytes(), "4hello");
/// assert_ne!(text, bytes);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(Utf8),
    /// A binary message.
    Binary(Bytes),
}

impl Frame {
    /// Creates a text frame from anything that is known to be UTF-8; owned bytes are not copied.
    pub fn text<S: AsRef<str> + Into<Bytes>>(text: S) -> Self {
        Self::Text(Utf8::new(text))
    }

    /// Returns the bytes of the frame.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Bytes that are known to be UTF-8, because they came from a string or were checked.
///
/// It lets a WebSocket library, which has to check the encoding anyway, hand text over without a second check.
///
/// ```
/// use engineio_core::codec::Utf8;
///
/// assert_eq!(Utf8::new(String::from("4hello")).into_bytes(), "4hello");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utf8(Bytes);

impl Utf8 {
    /// Wraps a string's bytes; the argument's type is the proof of the encoding.
    pub fn new<S: AsRef<str> + Into<Bytes>>(text: S) -> Self {
        Self(text.into())
    }

    /// Checks the encoding of received bytes, and wraps them.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are not UTF-8.
    #[inline]
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) const fn from_checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the bytes, consuming the text.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}
