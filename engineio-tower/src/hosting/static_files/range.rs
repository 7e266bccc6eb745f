//! The part of a file that a request asks for.

use http::header::{IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderValue, Method};

/// The single range of a request (RFC 9110 § 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

impl ByteRange {
    /// Returns the range, or `None` if the answer is to be the whole file, which is always right (RFC 9110 § 14.2).
    ///
    /// tower-http refuses unknown units, several ranges and malformed ones with 416, and counts a range of HEAD. It does
    /// not know If-Range, so that the client might join the pieces of two versions.
    pub(super) fn of(head: &Parts) -> Option<Self> {
        let mut ranges = head.headers.get_all(RANGE).iter();
        let range = Self::parse(ranges.next()?.to_str().ok()?)?;
        let counts = ranges.next().is_none()
            && head.method == Method::GET
            && !head.headers.contains_key(IF_RANGE);
        counts.then_some(range)
    }

    fn parse(range: &str) -> Option<Self> {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        match (first, last) {
            ("", last) => Some(Self::Last(position(last)?)),
            (first, "") => Some(Self::From(position(first)?)),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    /// Returns the range in a form that tower-http understands, for a file of this length. An empty file has no part, and
    /// is whole without one: tower-http answers 206 with its first byte, which does not exist.
    pub(super) fn header(self, len: u64) -> Option<HeaderValue> {
        let range = match self {
            _ if len == 0 => return None,
            Self::From(first) => format!("bytes={first}-"),
            Self::Between(first, last) => format!("bytes={first}-{last}"),
            Self::Last(count) if count > len => "bytes=0-".to_owned(),
            Self::Last(count) => format!("bytes=-{count}"),
        };
        HeaderValue::try_from(range).ok()
    }
}

/// Parses a position or a length. No file reaches the largest one, which stands for all beyond.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
