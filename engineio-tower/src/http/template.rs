//! The heads of the most frequent answers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderValue, Response};

use crate::policy::cors::CorsReply;
use crate::policy::options::Options;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The heads of the two most frequent answers, created once: copying them costs a quarter of creating them.
#[derive(Debug)]
pub(crate) struct Templates {
    pub(super) plain: Template,
    /// For pages of an allowed origin, whose CORS headers would not find room in the others.
    pub(super) cors: Template,
}

#[derive(Debug)]
pub(super) struct Template {
    pub(super) payload: Response<()>,
    pub(super) posted: Response<()>,
}

impl Templates {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            plain: Template::new(options, CorsReply::default()),
            cors: Template::new(options, CorsReply::template(&options.origins)),
        }
    }
}

impl Template {
    fn new(options: &Options, cors: CorsReply) -> Self {
        let head = |kind, encoded| {
            let mut response = Response::new(());
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, kind);
            headers.insert(CACHE_CONTROL, NO_STORE);
            if let Some(names) = options.origins.vary(encoded) {
                headers.insert(VARY, names);
            }
            cors.clone().write(true, headers);
            response
        };
        Self {
            payload: head(TEXT, options.compression.is_on()),
            // In lower case and as HTML: what clients of the reference know.
            posted: head(HTML, false),
        }
    }
}
