//! Finds the file that a request asks for.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RANGE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tower_http::services::{ServeDir, ServeFile};

use super::range::ByteRange;
use super::{StaticBody, StaticTarget};
use crate::repeated::log_repeated;

#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// By the whole path of the URL. A target that turns out to be a directory is found in `directories` as well.
    pub(super) files: HashMap<Box<str>, StaticTarget>,
    /// The longest URL first. A list and not a map: looking up every prefix of a path would take time that grows with
    /// the square of its length, which an untrusted client chooses.
    directories: Vec<Directory>,
    pub(super) default_file: DefaultFile,
}

#[derive(Clone, Debug)]
pub(super) struct Directory {
    /// The path of the URL without a final slash.
    url: Box<str>,
    target: StaticTarget,
    serve: ServeDir,
    /// Whether the path is a directory, determined at the first use. Where `/` is mapped to a file, this spares each
    /// request of the host app a look at the disk.
    is_directory: OnceLock<bool>,
}

#[derive(Clone, Debug)]
pub(super) struct DefaultFile {
    pub(super) name: String,
    pub(super) content_type: Option<HeaderValue>,
}

/// A request that matches a rule; a look at the disk decides whether there is a file.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(super) rules: Arc<Rules>,
    /// Decoded, and safe to be joined to a directory.
    pub(super) path: String,
    pub(super) range: Option<ByteRange>,
    /// Without the range, which depends on the length of the file.
    pub(super) probe: Request<()>,
}

impl Rules {
    /// Adds a directory; it replaces one at the same URL.
    pub(super) fn add(&mut self, directory: Directory) {
        self.directories.retain(|other| other.url != directory.url);
        let longer = |other: &Directory| other.url.len() > directory.url.len();
        let at = self.directories.partition_point(longer);
        self.directories.insert(at, directory);
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.directories_of(path).next().is_some()
    }

    /// Returns the directories that may contain the path, the longest URL first, each with the rest of the path behind
    /// it.
    fn directories_of<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a Directory, &'a str)> {
        self.directories.iter().filter_map(|directory| {
            let rest = path.strip_prefix(&*directory.url)?;
            let is_absent = directory.is_directory.get() == Some(&false);
            (rest.starts_with('/') && !is_absent).then_some((directory, rest))
        })
    }
}

impl Lookup {
    /// The response with the file, or `None` if there is none.
    pub(crate) async fn serve(self) -> Option<Response<StaticBody>> {
        let Self {
            rules,
            path,
            range,
            mut probe,
        } = self;
        if let Some(file) = rules.files.get(&*path) {
            match kind(&file.path).await? {
                Kind::File(len) => {
                    add_range(&mut probe, range, len);
                    let served = ServeFile::new(&file.path).try_call(probe).await;
                    return finish(served, file.content_type.as_ref());
                }
                Kind::Directory if path.ends_with('/') => {}
                Kind::Directory => return None,
            }
        }
        for (directory, rest) in rules.directories_of(&path) {
            if directory.exists().await {
                let default_file = &rules.default_file;
                return directory.serve(rest, default_file, range, probe).await;
            }
        }
        None
    }
}

impl Directory {
    /// `is_directory` is filled if the program has said that the target is one.
    pub(super) fn new(url: &str, target: StaticTarget, is_directory: OnceLock<bool>) -> Self {
        // The default file is put into the path here, since tower-http knows no other than index.html.
        let serve = ServeDir::new(&target.path)
            .append_index_html_on_directories(false)
            .redirect_to_trailing_slash(false);
        Self {
            url: url.strip_suffix('/').unwrap_or(url).into(),
            target,
            serve,
            is_directory,
        }
    }

    async fn exists(&self) -> bool {
        if let Some(known) = self.is_directory.get() {
            return *known;
        }
        match kind(&self.target.path).await {
            Some(kind) => *self.is_directory.get_or_init(|| kind == Kind::Directory),
            // Not there yet; it may come.
            None => false,
        }
    }

    /// `path` begins with a slash and is decoded.
    async fn serve(
        &self,
        path: &str,
        default_file: &DefaultFile,
        range: Option<ByteRange>,
        mut probe: Request<()>,
    ) -> Option<Response<StaticBody>> {
        /// Everything but the unreserved characters and the slash.
        const ENCODED: AsciiSet = NON_ALPHANUMERIC
            .remove(b'/')
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'~');

        let is_default = path.ends_with('/');
        let name = if is_default { &*default_file.name } else { "" };
        let file = format!("{}{name}", path.trim_start_matches('/'));
        // tower-http would open a pipe, and wait for its writer in a thread of the runtime.
        let Kind::File(len) = kind(&self.target.path.join(file)).await? else {
            return None;
        };
        add_range(&mut probe, range, len);
        let encoded = |text| utf8_percent_encode(text, &ENCODED);
        *probe.uri_mut() = Uri::try_from(format!("{}{}", encoded(path), encoded(name))).ok()?;

        let of_default = default_file.content_type.as_ref().filter(|_| is_default);
        let content_type = of_default.or(self.target.content_type.as_ref());
        finish(self.serve.clone().try_call(probe).await, content_type)
    }
}

impl Default for DefaultFile {
    fn default() -> Self {
        Self {
            name: "index.html".to_owned(),
            content_type: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// With its length.
    File(u64),
    Directory,
}

/// Finds the file at this path; `None` if there is none, and for pipes and devices, which could be read for ever.
async fn kind(path: &Path) -> Option<Kind> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    if metadata.is_dir() {
        return Some(Kind::Directory);
    }
    if !metadata.is_file() {
        return None;
    }
    // tower-http writes the time into `Last-Modified`, and panics if that cannot express it.
    if metadata.modified().is_ok_and(|time| !is_http_date(time)) {
        log_repeated!(warn, target: "engineio::static_files", path = %path.display(), "a static file is not served, because it was modified before 1970 or after 9999; `touch` it");
        return None;
    }
    Some(Kind::File(metadata.len()))
}

/// Returns whether a date of HTTP can express this time, which has a year of four digits (RFC 9110 § 5.6.7).
fn is_http_date(time: SystemTime) -> bool {
    /// The beginning of the year 10000.
    const END: Duration = Duration::from_secs(253_402_300_800);

    time.duration_since(SystemTime::UNIX_EPOCH)
        .is_ok_and(|since| since < END)
}

/// Adds the range to a request for a file of this length.
fn add_range(probe: &mut Request<()>, range: Option<ByteRange>, len: u64) {
    if let Some(range) = range.and_then(|range| range.header(len)) {
        probe.headers_mut().insert(RANGE, range);
    }
}

/// Returns the decoded path of a URL, if it can be joined to a directory without leaving it.
///
/// tower-http also refuses paths that lead out of a directory; this refuses everything that a proxy in front, the rules
/// and the file system could interpret differently.
pub(super) fn safe_path(path: &str) -> Option<Cow<'_, str>> {
    let mut escapes = path.as_bytes().windows(3);
    if escapes.any(|escape| escape.eq_ignore_ascii_case(b"%2f")) {
        return None;
    }
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let mut segments = path.strip_prefix('/')?.split('/').rev();
    // Only the last one may be empty: that is the final slash.
    let last_is_safe = segments
        .next()
        .is_none_or(|last| last != "." && last != "..");
    let is_safe = last_is_safe
        && segments.all(|segment| !matches!(segment, "" | "." | ".."))
        && !path.contains(['\0', '\\']);
    is_safe.then_some(path)
}

/// Converts tower-http's response, or returns `None` if the host app must answer.
fn finish(
    served: std::io::Result<Response<StaticBody>>,
    content_type: Option<&HeaderValue>,
) -> Option<Response<StaticBody>> {
    let mut response = match served {
        Ok(response) => response,
        Err(error) => {
            let is_absent = matches!(
                error.kind(),
                ErrorKind::NotFound
                    | ErrorKind::NotADirectory
                    | ErrorKind::PermissionDenied
                    | ErrorKind::InvalidFilename
            );
            if !is_absent {
                log_repeated!(warn, target: "engineio::static_files", %error, "a static file could not be opened");
            }
            return None;
        }
    };
    if response.status() == StatusCode::NOT_FOUND {
        return None;
    }
    let headers = response.headers_mut();
    // There is none in a 304 and a 416.
    if let Some(guessed) = headers.get(CONTENT_TYPE) {
        let value = match content_type {
            Some(given) => Some(given.clone()),
            None => with_charset(guessed),
        };
        if let Some(value) = value {
            headers.insert(CONTENT_TYPE, value);
        }
        // A browser must not run an upload as a script because of what it finds in it.
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    Some(response)
}

/// Adds a charset to a text type, because a browser guesses it otherwise.
fn with_charset(content_type: &HeaderValue) -> Option<HeaderValue> {
    let text = content_type.to_str().ok()?;
    let lacks = text.starts_with("text/") && !text.contains("charset");
    lacks
        .then(|| HeaderValue::try_from(format!("{text}; charset=utf-8")).ok())
        .flatten()
}
