//! The request for a WebTransport session.

use http::header::{COOKIE, HOST, HeaderMap, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderName, Uri};
use url::Url;
use web_transport_proto::ConnectRequest;

use crate::Error;
use crate::net::attempt::Attempt;
use crate::net::headers::Headers;
use crate::target::own_parameters;

pub(super) struct Request {
    /// The URL with `https`, and with the query parameters of the application only, as the reference's has no others.
    pub(super) uri: Uri,
    pub(super) inner: ConnectRequest,
}

impl Request {
    /// Creates the request to a server, whose own URI has `http` or `https`.
    pub(super) fn new(own: &Uri, headers: &Headers) -> Result<Self, Error> {
        let invalid =
            || Error::invalid("no request for a WebTransport session can be made for the URL");
        let uri = secure(own).ok_or_else(invalid)?;
        let mut sent = HeaderMap::new();
        // Those of polling, since the cookies of the application belong to the URL that it gave.
        headers.apply(own, &mut sent);
        let mut url: Url = uri.to_string().parse().map_err(|_| invalid())?;
        if let Some(host) = sent.remove(HOST) {
            // It has the place of the host in HTTP/3.
            let host = host.to_str().map_err(|_| not_ascii(&HOST))?;
            let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
            let named = format!("https://{host}{path}");
            url = named.parse().map_err(|_| invalid())?;
        }
        let inner = ConnectRequest::new(url).with_headers(single(&sent)?);
        Ok(Self { uri, inner })
    }

    pub(super) fn attempt(&self, headers: &Headers) -> Attempt {
        Attempt::webtransport(&self.uri, headers).with_headers(self.inner.headers.clone())
    }
}

/// Returns the URL of a server with `https`, without the parameters of the protocol.
fn secure(own: &Uri) -> Option<Uri> {
    let query = own_parameters(own.query().unwrap_or_default());
    let path = match &*query {
        "" => own.path().to_owned(),
        query => format!("{}?{query}", own.path()),
    };
    let uri = Uri::builder().scheme(Scheme::HTTPS);
    let uri = uri.authority(own.authority()?.clone());
    uri.path_and_query(path).build().ok()
}

/// Joins the values of each header, since the library sends one line for each name (RFC 9110 § 5.3).
fn single(headers: &HeaderMap) -> Result<HeaderMap, Error> {
    let mut single = HeaderMap::new();
    for name in headers.keys() {
        let values: Result<Vec<_>, _> = headers
            .get_all(name)
            .iter()
            .map(HeaderValue::to_str)
            .collect();
        let values = values.map_err(|_| not_ascii(name))?;
        let separator = if *name == COOKIE { "; " } else { ", " };
        let mut value =
            HeaderValue::try_from(values.join(separator)).map_err(|_| not_ascii(name))?;
        value.set_sensitive(true);
        single.insert(name, value);
    }
    Ok(single)
}

fn not_ascii(name: &HeaderName) -> Error {
    Error::invalid(format!(
        "the header `{name}` cannot be sent by WebTransport: its value is not visible ASCII"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(own: &str, headers: &[(&'static str, &str)]) -> ConnectRequest {
        let own: Uri = own.parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let headers = Headers::new(map, None, &own);
        Request::new(&own, &headers).unwrap().inner
    }

    #[test]
    fn the_url_is_secure_and_has_the_query_of_the_application_alone() {
        for (own, expected) in [
            ("http://h/x/?EIO=4&transport=polling", "https://h/x/"),
            (
                "http://h:3000/x/?a=b%26&EIO=4&transport=polling",
                "https://h:3000/x/?a=b%26",
            ),
            ("https://[::1]:7/?EIO=4", "https://[::1]:7/"),
        ] {
            assert_eq!(request(own, &[]).url.as_str(), expected);
        }
    }

    #[test]
    fn a_header_is_one_line_and_a_host_the_authority() {
        let headers = [("x-a", "1"), ("x-a", "2"), ("host", "other.example:8")];
        let request = request("https://h/x/", &headers);
        assert_eq!(request.url.as_str(), "https://other.example:8/x/");
        // The other one names the client.
        assert_eq!(request.headers.len(), 2);
        assert_eq!(request.headers["x-a"], "1, 2");
        assert!(!format!("{request:?}").contains("1, 2"));
    }
}
