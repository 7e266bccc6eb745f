//! Compresses poll responses.
//!
//! The body is one buffer of known size, so it is compressed in one call and has a `Content-Length`. The codings that
//! the client accepts are read from the head as RFC 9110 § 12.5.3 says; an answer is never refused with 406, because
//! the messages in it have left the queue. As in HTTP, `deflate` means the zlib format (RFC 9110 § 8.4.1.2).
//!
//! # Why flate2, level 1, and one state per thread
//!
//! Microseconds per body of typical JSON messages as gzip, the median of 21 interleaved rounds of one run and in
//! brackets the slowest round, with the size of the result; one core of an AMD EPYC, release build with thin LTO,
//! flate2 1.1.10 on miniz_oxide 0.9.1, async-compression 0.4.52:
//!
//! | body | level | flate2, state reused | flate2, new state | async-compression | result |
//! |---|---|---|---|---|---|
//! | 1 KiB | 1 | 6.1 (15) | 92 (138) | 84 (130) | 43 % |
//! | 1 KiB | 4 | 9.5 (17) | 11 (137) | 10 (77) | 39 % |
//! | 16 KiB | 1 | 28 (29) | 31 (121) | 29 (92) | 29 % |
//! | 16 KiB | 4 | 82 (134) | 87 (233) | 83 (193) | 23 % |
//! | 16 KiB | 6 | 161 (282) | 195 (381) | 179 (289) | 23 % |
//! | 256 KiB | 1 | 816 (1,405) | 819 (1,774) | 838 (1,627) | 28 % |
//! | 256 KiB | 4 | 2,519 (3,718) | 2,519 (3,627) | 2,518 (3,482) | 22 % |
//! | 256 KiB | 6 | 7,147 (15,256) | 7,041 (11,836) | 7,158 (10,177) | 20 % |
//!
//! async-compression runs the same code with a new state each time. A state takes some 300 KiB, and fetching them from
//! the system can cost fifteen times as much as compressing a small body; so each thread that compresses keeps one per
//! format. Level 1 takes a third of the time of level 4 for bodies of 16 KiB and more, and its result is a tenth to a
//! quarter larger; a body of 1 MB, the largest by default, occupies its thread for about 3 ms.
//!
//! A program that enables the feature `zlib-rs` of flate2 gets that implementation instead, which in the same
//! measurement was faster at level 1 (3.2, 26 and 487 µs) but compressed less (to 50, 36 and 35 %).

use std::cell::RefCell;

use bytes::Bytes;
use engineio_websocket::compressor;
use flate2::{Compress, Compression as Level, Crc, FlushCompress, Status};
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// The compression of polling responses: whether, and from which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compression {
    /// The smallest body that is compressed, in bytes; `None` for never.
    threshold: Option<usize>,
}

/// A content coding that this server can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// RFC 1952.
    Gzip,
    /// The zlib format, RFC 1950.
    Deflate,
    /// As it is.
    Identity,
}

/// The encodings that a client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The coding it likes best among ours.
    pub(crate) encoding: Encoding,
    /// It does not want plain answers: then small ones are compressed too.
    pub(crate) refuses_identity: bool,
}

impl Accepted {
    /// For answers that are not compressed anyway.
    pub(crate) const PLAIN: Self = Self {
        encoding: Encoding::Identity,
        refuses_identity: false,
    };
}

impl Compression {
    pub(crate) const OFF: Self = Self { threshold: None };

    /// Compresses bodies of at least this many bytes.
    pub(crate) const fn from_bytes(threshold: usize) -> Self {
        Self {
            threshold: Some(threshold),
        }
    }

    /// Returns whether answers may depend on `Accept-Encoding`, and so need to name it in `Vary`.
    pub(crate) fn is_on(self) -> bool {
        self.threshold.is_some()
    }

    /// Returns the compressed body and its `Content-Encoding`, or `None` if the body is to be sent unchanged: because
    /// it is too small, because the client accepts no other coding, or because it would not become smaller.
    pub(crate) fn apply(self, body: &Bytes, accepted: Accepted) -> Option<(Bytes, HeaderValue)> {
        let threshold = self.threshold?;
        if body.len() < threshold && !accepted.refuses_identity {
            return None;
        }
        let name = accepted.encoding.header_value()?;
        Some((compress(body, accepted.encoding)?, name))
    }
}

impl Default for Compression {
    /// Compresses from 1,024 bytes, like both references.
    fn default() -> Self {
        Self::from_bytes(1024)
    }
}

impl Encoding {
    /// Reads the `Accept-Encoding` lines of a request. Items that cannot be read are ignored.
    ///
    /// The coding with the greatest weight wins, and of equal ones gzip before deflate before none. If the client
    /// accepts none of these codings, the answer is not compressed: an answer that the client may not want is better
    /// than a lost one.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Accepted {
        let mut gzip = None;
        let mut deflate = None;
        let mut identity = None;
        let mut others = None;
        let lines = headers.get_all(ACCEPT_ENCODING).iter();
        // As bytes: every request of a browser has the header, and a search in text costs a multiple.
        for item in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
            let (name, parameters) = match item.iter().position(|byte| *byte == b';') {
                Some(at) => (&item[..at], Some(&item[at + 1..])),
                None => (item, None),
            };
            let name = name.trim_ascii();
            let is = |coding: &[u8]| name.eq_ignore_ascii_case(coding);
            let weight = if is(b"gzip") || is(b"x-gzip") {
                &mut gzip
            } else if is(b"deflate") {
                &mut deflate
            } else if is(b"identity") {
                &mut identity
            } else if is(b"*") {
                &mut others
            } else {
                continue;
            };
            if let Some(read) = weight_of(parameters) {
                *weight = Some(read);
            }
        }
        // `*` stands for every coding that is not named.
        let gzip = gzip.or(others).unwrap_or(0);
        let deflate = deflate.or(others).unwrap_or(0);
        let refuses_identity = identity.or(others) == Some(0);
        // Only a named identity competes: without a name it is acceptable, but not asked for.
        let identity = identity.unwrap_or(0);
        let best = gzip.max(deflate).max(identity);
        let encoding = if best == 0 {
            Self::Identity
        } else if gzip == best {
            Self::Gzip
        } else if deflate == best {
            Self::Deflate
        } else {
            Self::Identity
        };
        Accepted {
            encoding,
            refuses_identity,
        }
    }

    /// Returns the value of `Content-Encoding`.
    fn header_value(self) -> Option<HeaderValue> {
        match self {
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Deflate => Some(HeaderValue::from_static("deflate")),
            Self::Identity => None,
        }
    }
}

/// Returns the weight among the parameters of an item, in thousandths (RFC 9110 § 12.4.2); 1 if there is none, `None`
/// if it is invalid. Digits beyond the third, which some clients send, are cut off.
fn weight_of(parameters: Option<&[u8]>) -> Option<u16> {
    const ONE: u16 = 1000;
    let Some(parameters) = parameters else {
        return Some(ONE);
    };
    let mut parameters = std::str::from_utf8(parameters).ok()?.split(';');
    let weight = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then_some(value.trim())
    });
    let Some(weight) = weight else {
        return Some(ONE);
    };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match whole {
        "1" => fraction.bytes().all(|digit| digit == b'0').then_some(ONE),
        "0" => {
            let digits = fraction.bytes().map(|digit| u16::from(digit - b'0'));
            let scaled = digits.zip([100, 10, 1]).map(|(digit, scale)| digit * scale);
            Some(scaled.sum())
        }
        _ => None,
    }
}

/// Ten bytes: the magic number, the method, no flags, no time, "fastest", and no system; RFC 1952 § 2.3.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff];
/// A CRC-32 and the length, both four bytes.
const GZIP_TRAILER_LEN: usize = 8;

thread_local! {
    /// The compressor of this thread for the zlib format. The raw one, for gzip, is that of the WebSockets.
    static ZLIB: RefCell<Option<Compress>> = const { RefCell::new(None) };
}

/// Returns the body in this coding, or `None` if it is not smaller than the body or there is nothing to do.
pub(crate) fn compress(body: &Bytes, encoding: Encoding) -> Option<Bytes> {
    let format_len = match encoding {
        Encoding::Gzip => GZIP_HEADER.len() + GZIP_TRAILER_LEN,
        Encoding::Deflate => 0,
        Encoding::Identity => return None,
    };
    // The buffer is too small for a result that would not pay, so that compressing stops there.
    let room = body.len().checked_sub(format_len + 1)?;
    let mut out = Vec::new();
    match encoding {
        Encoding::Gzip => {
            out.reserve_exact(room + format_len);
            out.extend_from_slice(&GZIP_HEADER);
            compressor::with_compressor(|state| run(state, compressor::fresh, body, &mut out))?;
            let mut crc = Crc::new();
            crc.update(body);
            out.extend_from_slice(&crc.sum().to_le_bytes());
            // RFC 1952 § 2.3.1: the length modulo 2^32.
            out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        }
        Encoding::Deflate => {
            out.reserve_exact(room);
            ZLIB.with_borrow_mut(|state| run(state, fresh_zlib, body, &mut out))?;
        }
        Encoding::Identity => return None,
    }
    // A vector may have got more room than it was asked for.
    if out.len() >= body.len() {
        return None;
    }
    // The answer may wait for a slow client; it should not keep the unused room meanwhile.
    out.shrink_to_fit();
    Some(Bytes::from(out))
}

/// Resets a compressor for the zlib format, or makes one.
fn fresh_zlib(state: &mut Option<Compress>) -> &mut Compress {
    let compress = state.get_or_insert_with(|| Compress::new(Level::fast(), true));
    compress.reset();
    compress
}

/// Compresses into the free room of `out`, if it is enough.
fn run(
    state: &mut Option<Compress>,
    fresh: impl FnOnce(&mut Option<Compress>) -> &mut Compress,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    match fresh(state).compress_vec(body, out, FlushCompress::Finish) {
        Ok(Status::StreamEnd) => Some(()),
        Ok(Status::Ok | Status::BufError) | Err(_) => {
            // One that was stopped half-way is not used again; see `with_compressor`.
            *state = None;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::Encoding::{Deflate, Gzip, Identity};
    use super::*;

    fn negotiate(lines: &[&'static str]) -> Accepted {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        Encoding::negotiate(&headers)
    }

    fn read(mut decoder: impl Read) -> Vec<u8> {
        let mut plain = Vec::new();
        decoder.read_to_end(&mut plain).unwrap();
        plain
    }

    /// Bytes that no coding makes smaller.
    fn noise(len: usize) -> Bytes {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    #[test]
    fn the_best_coding_is_chosen() {
        for (lines, expected) in [
            (&[][..], Identity),
            (&[""], Identity),
            (&["br"], Identity),
            (&["gzip"], Gzip),
            (&["GZip"], Gzip),
            (&["x-gzip"], Gzip),
            (&["gzip, deflate, br, zstd"], Gzip),
            (&["deflate, gzip"], Gzip),
            (&["br, deflate"], Deflate),
            (&["deflate", "gzip"], Gzip),
            (&["gzip;q=0.5, deflate;q=0.8"], Deflate),
            (&["gzip;q=0.501, deflate;q=0.502"], Deflate),
            (&["gzip ; Q=0.5 , deflate ; q=0.4"], Gzip),
            (&["gzip;q=0"], Identity),
            (&["gzip;q=0.000, deflate"], Deflate),
            (&["*"], Gzip),
            (&["*, gzip;q=0"], Deflate),
            (&["*;q=0"], Identity),
            (&["identity, gzip;q=0.5"], Identity),
            (&["identity, gzip"], Gzip),
            (&["identity;q=0.5, gzip;q=1.0"], Gzip),
            (&["identity;q=0"], Identity),
            // Not readable as a weight: passed over.
            (&["gzip;q=2, deflate"], Deflate),
            (&["gzip;q=x"], Identity),
            (&["gzip;q=1.5"], Identity),
            (&["gzip;q=-1"], Identity),
            (&["gzip;q=0.3333333"], Gzip),
            (&["gzip;level=9"], Gzip),
        ] {
            assert_eq!(negotiate(lines).encoding, expected, "{lines:?}");
        }
    }

    #[test]
    fn a_refused_identity_is_noticed() {
        for (lines, refused) in [
            (&[][..], false),
            (&["gzip"], false),
            (&["gzip, identity;q=0"], true),
            (&["gzip, *;q=0"], true),
            (&["identity;q=0.1, *;q=0"], false),
        ] {
            assert_eq!(negotiate(lines).refuses_identity, refused, "{lines:?}");
        }
    }

    #[test]
    fn the_threshold_is_included() {
        let body = |len| Bytes::from(vec![b'a'; len]);
        let accepted = negotiate(&["gzip"]);
        let compression = Compression::default();
        assert_eq!(compression.apply(&body(1023), accepted), None);
        let (compressed, name) = compression.apply(&body(1024), accepted).unwrap();
        assert_eq!(name, "gzip");
        assert_eq!(read(GzDecoder::new(&*compressed)), body(1024));
        assert_eq!(Compression::OFF.apply(&body(4096), accepted), None);
        assert!(!Compression::OFF.is_on());
        assert_eq!(compression.apply(&body(4096), negotiate(&["br"])), None);
    }

    #[test]
    fn a_client_without_identity_gets_small_bodies_compressed_but_loses_none() {
        let compression = Compression::default();
        let small = Bytes::from(vec![b'a'; 100]);
        let strict = negotiate(&["gzip, identity;q=0"]);
        assert!(compression.apply(&small, strict).is_some());
        assert_eq!(compression.apply(&noise(100), strict), None);
        // The client accepts no supported encoding: sent as it is.
        let hopeless = negotiate(&["*;q=0"]);
        assert_eq!(compression.apply(&small, hopeless), None);
    }

    #[test]
    fn both_formats_are_read_by_others_and_states_are_reused() {
        let text = Bytes::from("42[\"update\",{\"price\":12.5}]\u{1e}".repeat(5000));
        let short = text.slice(..2000);
        for body in [&text, &short, &text] {
            let gzip = compress(body, Gzip).unwrap();
            assert!(gzip.len() * 10 < body.len());
            assert_eq!(read(GzDecoder::new(&*gzip)), *body);

            let deflate = compress(body, Deflate).unwrap();
            // RFC 1950: the method is 8, and the header a multiple of 31.
            assert_eq!(deflate[0] & 0x0f, 8);
            assert_eq!(u16::from_be_bytes([deflate[0], deflate[1]]) % 31, 0);
            assert_eq!(read(ZlibDecoder::new(&*deflate)), *body);
        }
    }

    #[test]
    fn what_does_not_become_smaller_is_left() {
        for len in [0, 1, 18, 19, 20, 1000, 100_000] {
            for encoding in [Gzip, Deflate, Identity] {
                assert_eq!(compress(&noise(len), encoding), None, "{len}");
            }
        }
        // A body that was stopped half-way does not spoil the next one.
        let text = Bytes::from(vec![b'a'; 2000]);
        let compressed = compress(&text, Gzip).unwrap();
        assert_eq!(read(GzDecoder::new(&*compressed)), text);
    }
}
