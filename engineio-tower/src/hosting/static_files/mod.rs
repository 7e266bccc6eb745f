//! Files from the disk, for programs without a web framework.
//!
//! This maps URLs to files by the rules of python-engineio; reading, ranges, validators and content types are those of
//! tower-http. The host app gets every request for which no file is found.

mod lookup;
mod range;
mod service;
#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use http::header::RANGE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};

pub(crate) use lookup::Lookup;
pub use service::{StaticFilesBody, StaticFilesFuture, StaticFilesLayer, StaticFilesService};

use lookup::{DefaultFile, Directory, Rules, safe_path};
use range::ByteRange;

/// The body of a file: it is read from the disk while it is sent, in pieces of 64 KiB.
pub type StaticBody = tower_http::services::fs::ServeFileSystemResponseBody;

/// A map from URLs to files and directories, served alongside the Engine.IO path.
///
/// The order is: the Engine.IO path, then these files, then the host app, which also gets every request that matches
/// a rule but no file, body and all. The rules:
///
/// - An exact file, [`file`](Self::file), takes precedence over a directory.
/// - Of several matching [directories](Self::dir), the one with the longest URL counts, so `/` comes last.
/// - A URL that ends in `/` means the [default file](Self::default_file) of that directory, `index.html`.
/// - Only `GET` and `HEAD` are served. A directory without its final `/` is not, and neither is a path with `..`,
///   `.`, an empty segment, a backslash, a NUL or an encoded slash.
///
/// Ranges, `ETag`, `Last-Modified` and the conditional headers are supported. A request with `If-Range`, for several
/// ranges or for a malformed one gets the whole file, and so does one for a part of an empty file. The content type
/// comes from the extension of the file (`application/octet-stream` if that says nothing); texts are announced as
/// UTF-8. Relative paths start at the current directory of the process. Symbolic links are followed, and hidden files
/// are served: keep private files outside the directory. A file that was modified before 1970 or after 9999, which no
/// `Last-Modified` can express, is not served, and a line in the log says so.
///
/// A clone shares the map.
///
/// ```
/// use engineio_tower::StaticFiles;
///
/// let files = StaticFiles::new()
///     .file("/", "index.html")
///     .file_as("/feed", "feed.xml", "application/atom+xml")
///     .dir("/static", "./public")
///     .default_file("index.html");
/// # let _ = files;
/// ```
#[derive(Clone, Debug, Default)]
pub struct StaticFiles(Arc<Rules>);

/// A file or a directory and its content type, for [`StaticFiles::from_map`].
///
/// Text and paths convert into it.
///
/// ```
/// use engineio_tower::StaticTarget;
///
/// let page = StaticTarget::new("latency.html").content_type("text/plain");
/// let directory: StaticTarget = "./public".into();
/// # let _ = (page, directory);
/// ```
#[derive(Clone, Debug)]
pub struct StaticTarget {
    path: PathBuf,
    content_type: Option<HeaderValue>,
}

impl StaticFiles {
    /// Creates an empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a map from URLs to files and directories, like the dictionary of python-engineio. A target is looked up
    /// when it is first used, to find out whether it is a file or a directory. The key `""` sets the [default
    /// file](Self::default_file).
    ///
    /// ```
    /// use engineio_tower::{StaticFiles, StaticTarget};
    ///
    /// let files = StaticFiles::from_map([
    ///     ("/", "latency.html"),
    ///     ("/static", "./public"),
    ///     ("", "image.gif"),
    /// ]);
    /// let typed = StaticFiles::from_map([
    ///     ("/", StaticTarget::new("latency.html").content_type("text/plain")),
    ///     ("/static", "./public".into()),
    /// ]);
    /// # let _ = (files, typed);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if a URL is neither empty nor begins with `/`, or if the default file is not a relative path of UTF-8
    /// text without `..`.
    #[must_use]
    pub fn from_map<I, U, T>(map: I) -> Self
    where
        I: IntoIterator<Item = (U, T)>,
        U: AsRef<str>,
        T: Into<StaticTarget>,
    {
        map.into_iter().fold(Self::new(), |files, (url, target)| {
            let (url, target) = (url.as_ref(), target.into());
            if url.is_empty() {
                return files.with_default_file(&target.path, target.content_type);
            }
            files
                .with_directory(url, target.clone(), OnceLock::new())
                .with_file(url, target)
        })
    }

    /// Serves one file at one URL.
    ///
    /// The URL is the decoded path (`/my page`, not `/my%20page`); a query does not matter.
    ///
    /// # Panics
    ///
    /// Panics if the URL does not begin with `/`.
    #[must_use]
    pub fn file(self, url: &str, path: impl Into<PathBuf>) -> Self {
        self.with_file(url, StaticTarget::new(path))
    }

    /// Adds a [`file`](Self::file) with a content type.
    ///
    /// # Panics
    ///
    /// Panics if the URL does not begin with `/`, or the content type is not a header value.
    #[must_use]
    pub fn file_as(self, url: &str, path: impl Into<PathBuf>, content_type: &str) -> Self {
        self.with_file(url, StaticTarget::new(path).content_type(content_type))
    }

    /// Serves a directory, and those in it, under a URL: with `.dir("/static", "./public")`, `/static/css/a.css` is
    /// `./public/css/a.css`.
    ///
    /// # Panics
    ///
    /// Panics if the URL does not begin with `/`.
    #[must_use]
    pub fn dir(self, url: &str, path: impl Into<PathBuf>) -> Self {
        self.with_directory(url, StaticTarget::new(path), OnceLock::from(true))
    }

    /// Adds a [`dir`](Self::dir) with one content type for all its files.
    ///
    /// # Panics
    ///
    /// Panics if the URL does not begin with `/`, or the content type is not a header value.
    #[must_use]
    pub fn dir_as(self, url: &str, path: impl Into<PathBuf>, content_type: &str) -> Self {
        let target = StaticTarget::new(path).content_type(content_type);
        self.with_directory(url, target, OnceLock::from(true))
    }

    /// Sets the file that is served for a URL ending in `/`. Default: `index.html`.
    ///
    /// # Panics
    ///
    /// Panics if the name is not a relative path without `..`.
    #[must_use]
    pub fn default_file(self, name: &str) -> Self {
        self.with_default_file(Path::new(name), None)
    }

    /// Sets the [`default_file`](Self::default_file) with a content type, which takes precedence over that of its
    /// directory.
    ///
    /// # Panics
    ///
    /// Panics if the name is not a relative path without `..`, or the content type is not a header value.
    #[must_use]
    pub fn default_file_as(self, name: &str, content_type: &str) -> Self {
        self.with_default_file(Path::new(name), Some(header_value(content_type)))
    }

    /// Returns the response with the file that the request asks for, or `None` if there is no such file or the method
    /// is neither `GET` nor `HEAD`: then the request belongs to the host app.
    ///
    /// The probe has the method, URI and headers of the request. The file is opened before this returns; a later disk
    /// error ends the body with that error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    ///
    /// ```
    /// # use engineio_tower::StaticFiles;
    /// # async fn example(files: StaticFiles) {
    /// let probe = http::Request::get("/static/a.css").body(()).unwrap();
    /// match files.serve(probe).await {
    ///     Some(response) => println!("{}", response.status()),
    ///     None => println!("not a file"),
    /// }
    /// # }
    /// ```
    pub async fn serve(&self, probe: Request<()>) -> Option<Response<StaticBody>> {
        let (head, ()) = probe.into_parts();
        self.find(&head)?.serve().await
    }

    /// Looks for a rule, without touching the disk and without copying the head unless there is one.
    pub(crate) fn find(&self, head: &Parts) -> Option<Lookup> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return None;
        }
        let path = safe_path(head.uri.path())?;
        if !self.0.matches(&path) {
            return None;
        }
        let mut probe = Request::new(());
        *probe.method_mut() = head.method.clone();
        *probe.headers_mut() = head.headers.clone();
        probe.headers_mut().remove(RANGE);
        Some(Lookup {
            rules: Arc::clone(&self.0),
            path: path.into_owned(),
            range: ByteRange::of(head),
            probe,
        })
    }

    fn with_file(mut self, url: &str, target: StaticTarget) -> Self {
        assert_is_path(url);
        Arc::make_mut(&mut self.0).files.insert(url.into(), target);
        self
    }

    fn with_directory(
        mut self,
        url: &str,
        target: StaticTarget,
        is_directory: OnceLock<bool>,
    ) -> Self {
        assert_is_path(url);
        let directory = Directory::new(url, target, is_directory);
        Arc::make_mut(&mut self.0).add(directory);
        self
    }

    fn with_default_file(mut self, name: &Path, content_type: Option<HeaderValue>) -> Self {
        let is_normal = |component| matches!(component, Component::Normal(_) | Component::CurDir);
        let name = name
            .to_str()
            .filter(|text| !text.is_empty() && name.components().all(is_normal));
        let Some(name) = name else {
            panic!("the default file must be a relative path inside the directory");
        };
        Arc::make_mut(&mut self.0).default_file = DefaultFile {
            name: name.to_owned(),
            content_type,
        };
        self
    }
}

impl StaticTarget {
    /// Creates a target that is a file, with the content type of its extension, or a directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            content_type: None,
        }
    }

    /// Sets the content type of the file, or of all files in the directory. It is sent unchanged.
    ///
    /// # Panics
    ///
    /// Panics if it is not a header value of printable ASCII.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = Some(header_value(content_type));
        self
    }
}

impl From<&str> for StaticTarget {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl From<String> for StaticTarget {
    fn from(path: String) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for StaticTarget {
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

fn assert_is_path(url: &str) {
    assert!(
        url.starts_with('/'),
        "the URL {url:?} of a static file must be a path that begins with '/'"
    );
}

fn header_value(content_type: &str) -> HeaderValue {
    match HeaderValue::try_from(content_type) {
        Ok(value) => value,
        Err(_) => panic!("{content_type:?} is not a content type"),
    }
}
