//! The check of pages that load a poll as a script (JSONP).
//!
//! A browser loads a script of another site without an `Origin` header and lets the page run it, so the page can read
//! its contents. Two other headers say where such a request comes from. `Sec-Fetch-Site` (Fetch Metadata) is written by
//! the browser alone, but only to `https` sites and to `localhost`. `Referer` names the page, which can leave it out
//! but cannot name another.

use http::HeaderName;
use http::header::REFERER;
use http::request::Parts;

use super::{Origins, Rule, Verdict};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The relation between the page and this server, as the browser sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Site {
    /// The server's own origin, or no page at all.
    Own,
    /// Another origin of the same site, or another site.
    Foreign,
    /// The browser does not say.
    Unknown,
}

impl Origins {
    /// Judges a script request without an `Origin` header.
    pub(super) fn check_script(&self, head: &Parts) -> Verdict {
        let site = site(head);
        let page = head
            .headers
            .get(REFERER)
            .and_then(|value| value.to_str().ok());
        match (&self.rule, site, page.and_then(origin_of)) {
            (Rule::Any | Rule::Off, ..) | (_, Site::Own, _) => Verdict::Allowed,
            (Rule::Same, Site::Foreign, _) | (_, Site::Foreign, None) => Verdict::Refused,
            (_, _, Some(origin)) => self.judge(origin, head),
            // A URL that names no page is not left out, and is not to be trusted.
            (_, Site::Unknown, None) if page.is_some() => Verdict::Refused,
            (_, Site::Unknown, None) => Verdict::Allowed,
        }
    }
}

fn site(head: &Parts) -> Site {
    match head
        .headers
        .get(SEC_FETCH_SITE)
        .map(|value| value.as_bytes())
    {
        Some(b"same-origin" | b"none") => Site::Own,
        // A word that is not in the standard yet must not open what the others close.
        Some(_) => Site::Foreign,
        None => Site::Unknown,
    }
}

/// Returns the origin at the beginning of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(&url[..scheme.len() + "://".len() + end])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{allows_script, head};
    use super::*;

    /// Returns whether each rule lets a script request with these headers pass: same origin, a list, a predicate, any,
    /// off.
    fn judged(headers: &[(&'static str, &str)]) -> [bool; 5] {
        let headers: Vec<_> = [("host", "app.example")]
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        let head = head("/engine.io/?EIO=4&transport=polling&j=0", &headers);
        [
            Origins::same(),
            Origins::list(["https://friend.example"]),
            Origins::predicate(|origin, _| origin == "https://friend.example"),
            Origins::any(),
            Origins::off(),
        ]
        .map(|origins| allows_script(&origins, &head))
    }

    const ALL: [bool; 5] = [true; 5];
    const REFUSED: [bool; 5] = [false, false, false, true, true];
    const FRIEND: [bool; 5] = [false, true, true, true, true];

    #[test]
    fn a_script_that_a_foreign_page_loads_is_refused() {
        for site in ["cross-site", "same-site", "same-planet"] {
            assert_eq!(judged(&[("sec-fetch-site", site)]), REFUSED, "{site}");
            for (page, expected) in [
                ("https://evil.example/", REFUSED),
                ("https://friend.example.evil.example/", REFUSED),
                ("https://friend.example/page?q", FRIEND),
                // The browser knows better.
                ("https://app.example/", REFUSED),
            ] {
                let headers = [("sec-fetch-site", site), ("referer", page)];
                assert_eq!(judged(&headers), expected, "{site} {page}");
            }
        }
    }

    #[test]
    fn a_script_of_the_own_page_is_served() {
        for site in ["same-origin", "none"] {
            assert_eq!(judged(&[("sec-fetch-site", site)]), ALL, "{site}");
            let headers = [
                ("sec-fetch-site", site),
                ("referer", "https://app.example/x"),
            ];
            assert_eq!(judged(&headers), ALL, "{site}");
        }
    }

    #[test]
    fn without_fetch_metadata_the_referring_page_counts() {
        for (page, expected) in [
            (
                "https://app.example/chat?room=1",
                [true, false, false, true, true],
            ),
            ("http://app.example", [true, false, false, true, true]),
            ("https://evil.example/app.example", REFUSED),
            ("https://app.example.evil.example/", REFUSED),
            ("https://app.example@evil.example/", REFUSED),
            ("https://friend.example#x", FRIEND),
            ("about:blank", REFUSED),
            ("", REFUSED),
        ] {
            assert_eq!(judged(&[("referer", page)]), expected, "{page:?}");
        }
        // No browser of today, or none at all.
        assert_eq!(judged(&[]), ALL);
    }

    #[test]
    fn an_origin_counts_more_than_what_is_said_of_the_site() {
        let headers = [
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://friend.example"),
        ];
        assert_eq!(judged(&headers), FRIEND);
        let headers = [
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://evil.example"),
        ];
        assert_eq!(judged(&headers), REFUSED);
    }
}
