//! Options for the session: transports, revision, URL, reconnecting.

use engineio_core::{Revision, Transport};

use super::{ClientBuilder, DEFAULT_STAMP};
use crate::Reconnect;

impl<M> ClientBuilder<M> {
    /// Sets the transports to use, in the order in which they are tried. Default: polling, then WebSocket.
    ///
    /// The first one opens the session. A session that began by polling is upgraded to WebSocket or WebTransport if that is in
    /// the list and the server offers it. Of both, WebTransport is tried first, and WebSocket too after 200 ms, or as soon as
    /// WebTransport has failed.
    ///
    /// [`Transport::WebTransport`] needs the feature `webtransport`; see [WebTransport](crate#webtransport).
    pub fn transports(mut self, transports: impl IntoIterator<Item = Transport>) -> Self {
        self.transports.clear();
        for transport in transports {
            if !self.transports.contains(&transport) {
                self.transports.push(transport);
            }
        }
        self
    }

    /// Sets whether a session that began by polling is upgraded to another transport. Default: yes.
    pub const fn upgrade(mut self, upgrade: bool) -> Self {
        self.upgrade = upgrade;
        self
    }

    /// Sets whether the other transports are tried if the first one cannot open a session. Default: no.
    ///
    /// If all fail, the error is that of the last one, or, if the server refused only an earlier one, that refusal.
    pub const fn try_all_transports(mut self, try_all: bool) -> Self {
        self.try_all = try_all;
        self
    }

    /// Sets the revision of the protocol. Default: 4. [`Revision::V3`] is for servers from before 2021.
    pub const fn revision(mut self, revision: Revision) -> Self {
        self.session.revision = revision;
        self
    }

    /// Sets the path of the server, in place of `/engine.io/` or the one in the URL. A slash is added at its end.
    pub fn path(mut self, path: &str) -> Self {
        if let Ok(target) = &mut self.target
            && let Err(error) = target.set_path(path)
        {
            self.fail(error);
        }
        self
    }

    /// Sets whether the path ends with a slash. Default: yes, as all servers expect.
    pub const fn trailing_slash(mut self, slash: bool) -> Self {
        self.strip_slash = !slash;
        self
    }

    /// Adds a query parameter to every request, percent-encoded.
    ///
    /// `EIO`, `transport` and `sid` are set by the client itself; these names are left out, here and in the URL.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        if let Ok(target) = &mut self.target {
            target.append_query(name, value);
        }
        self
    }

    /// Sets whether each polling request has a query parameter that makes it unique, so that no cache answers it.
    /// Default: yes.
    pub fn timestamp_requests(mut self, timestamps: bool) -> Self {
        let stamp = self.stamp.take();
        self.stamp = timestamps.then(|| stamp.unwrap_or_else(|| DEFAULT_STAMP.to_owned()));
        self
    }

    /// Sets the name of the query parameter that makes polling requests unique: one that no other parameter has. Default:
    /// `t`.
    pub fn timestamp_param(mut self, name: &str) -> Self {
        self.stamp = Some(name.to_owned());
        self
    }

    /// Connects again after a session ends, and also after the first connection failed if the policy
    /// [says so](Reconnect::first_connection). Default: never.
    pub fn reconnect(mut self, policy: Reconnect) -> Self {
        self.reconnect = Some(policy);
        self
    }
}
