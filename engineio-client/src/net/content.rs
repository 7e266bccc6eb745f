//! The content codings of answers.

use std::io::{self, Read};

use bytes::Bytes;
use http::header::HeaderValue;

use super::attempt::Attempt;
use crate::{Error, ErrorKind};

/// Decodes a content coding, up to a number of bytes. Returns the result, and whether it is incomplete because of an
/// error; `None` for a coding that was not asked for.
pub(super) fn unpack(
    encoding: &HeaderValue,
    body: &[u8],
    limit: usize,
) -> Option<(Vec<u8>, io::Result<usize>)> {
    let limit = limit as u64;
    let mut plain = Vec::new();
    let outcome = match encoding.as_bytes().to_ascii_lowercase().as_slice() {
        b"identity" => Read::take(body, limit).read_to_end(&mut plain),
        b"gzip" | b"x-gzip" => gunzip(body, limit, &mut plain),
        // Some servers leave out the wrapper of RFC 1950, and every browser and curl read that.
        b"deflate" if !has_zlib_header(body) => {
            let decoder = flate2::read::DeflateDecoder::new(body);
            decoder.take(limit).read_to_end(&mut plain)
        }
        b"deflate" => {
            let decoder = flate2::read::ZlibDecoder::new(body);
            decoder.take(limit).read_to_end(&mut plain)
        }
        _ => return None,
    };
    Some((plain, outcome))
}

/// The maximum number of members that a gzip body may have (RFC 1952 § 2.2). Encoders write one, and an empty one costs time
/// but adds nothing to the size, which is limited too.
const MAX_MEMBERS: usize = 1_000;

fn gunzip(mut body: &[u8], limit: u64, plain: &mut Vec<u8>) -> io::Result<usize> {
    for _ in 0..MAX_MEMBERS {
        let mut member = flate2::bufread::GzDecoder::new(body);
        let room = limit - plain.len() as u64;
        member.by_ref().take(room).read_to_end(plain)?;
        body = member.into_inner();
        if body.is_empty() || plain.len() as u64 == limit {
            return Ok(plain.len());
        }
    }
    let message = format!("the data has more than {MAX_MEMBERS} members");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Returns whether the data begins as RFC 1950 § 2.2 says. A deflate stream that does would be a stored block with bits
/// set in its padding, which no encoder writes.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, &[cmf, flags, ..] if cmf & 0x0f == 8 && u16::from_be_bytes([cmf, flags]) % 31 == 0)
}

/// Decodes the body of an answer, up to a number of bytes.
///
/// # Errors
///
/// Fails for a coding that was not asked for, broken data, and too much of it.
pub(super) fn decompress(
    encoding: &HeaderValue,
    body: Bytes,
    limit: usize,
    attempt: &Attempt,
) -> Result<Bytes, Error> {
    let Some((plain, outcome)) = unpack(encoding, &body, limit.saturating_add(1)) else {
        let message = format!(
            "{attempt} was answered in the encoding {}, which was not requested; switch it off in the server",
            attempt.secrets().excerpt(encoding.as_bytes())
        );
        return Err(Error::new(ErrorKind::Protocol, message));
    };
    if let Err(error) = outcome {
        let message = format!("{attempt} was answered with invalid compressed data");
        return Err(Error::new(ErrorKind::Protocol, message).with_source(error));
    }
    if plain.len() > limit {
        let message = format!(
            "{attempt} was answered with compressed data of more than {limit} bytes; raise `max_response` if the \
             server may send that much"
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_may_have_several_members() {
        let member = |text: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut encoder, text).unwrap();
            encoder.finish().unwrap()
        };
        let body = [member(b"one"), member(b""), member(b"two")].concat();
        for (limit, expected) in [(6, "onetwo"), (4, "onet"), (3, "one")] {
            let mut plain = Vec::new();
            gunzip(&body, limit, &mut plain).unwrap();
            assert_eq!(plain, expected.as_bytes());
        }
        gunzip(&body[..body.len() - 1], 100, &mut Vec::new()).unwrap_err();
    }
}
