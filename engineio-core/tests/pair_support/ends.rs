//! The two ends of the wire: what arrives becomes inputs, and outputs are sent.

use engineio_core::client;
use engineio_core::codec::{v3, v4};
use engineio_core::server::{self, First};
use engineio_core::{DisconnectReason, Frame, LinkId, Packet, Payload, Revision, Transport};

use super::{Exchange, Pair, Parcel};

impl Pair {
    pub(super) fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Poll(request) => self.deliver_poll(request),
            Parcel::Post(request, body) => {
                let Some(server) = &mut self.server else {
                    return;
                };
                let id = server.next_exchange();
                let exchange = Exchange {
                    request,
                    is_poll: false,
                };
                self.exchanges.insert(id, exchange);
                server.handle_input(self.now, server::Input::PostOpened(id));
                self.post(Parcel::PostBody(id, body));
            }
            Parcel::PostBody(id, body) => {
                self.watch_payload(&body);
                if let Some(server) = &mut self.server {
                    server.handle_input(self.now, server::Input::PostReceived(id, body));
                }
            }
            Parcel::Aborted(request) => {
                let open = self
                    .exchanges
                    .iter()
                    .find(|(_, exchange)| exchange.request == request);
                let open = open.map(|(&id, exchange)| (id, exchange.is_poll));
                if let (Some((id, is_poll)), Some(server)) = (open, &mut self.server) {
                    self.exchanges.remove(&id);
                    server.handle_input(
                        self.now,
                        if is_poll {
                            server::Input::PollAborted(id)
                        } else {
                            server::Input::PostAborted(id)
                        },
                    );
                }
            }
            Parcel::PollAnswer(id, answer) => {
                if self.arrived(id) {
                    self.heard = self.now;
                    let input = match answer {
                        Ok(body) => client::Input::PollAnswered(id, body),
                        Err(reason) => client::Input::PollFailed(id, reason),
                    };
                    self.client.handle_input(self.now, input);
                }
            }
            Parcel::PostAnswer(id, answer) => {
                if self.arrived(id) {
                    let input = match answer {
                        Ok(()) => client::Input::PostAnswered(id),
                        Err(reason) => client::Input::PostFailed(id, reason),
                    };
                    self.client.handle_input(self.now, input);
                }
            }
            Parcel::Connect(id, transport) => self.deliver_connect(id, transport),
            Parcel::Connected(id, outcome) => {
                let input = match outcome {
                    Ok(()) => client::Input::LinkOpened(id),
                    Err(reason) => client::Input::LinkClosed(id, reason),
                };
                self.client.handle_input(self.now, input);
            }
            Parcel::ToServer(id, frame) => {
                if let Some(frame) = &frame {
                    self.watch_frame(frame);
                }
                let (Some(&to), Some(server)) = (self.websockets.get(&id), &mut self.server) else {
                    return;
                };
                let input = match frame {
                    Some(frame) => server::Input::LinkFrame(to, frame),
                    None => {
                        self.websockets.remove(&id);
                        server::Input::LinkClosed(to, DisconnectReason::TransportClose)
                    }
                };
                server.handle_input(self.now, input);
            }
            Parcel::ToClient(id, frame) => {
                self.heard = self.now;
                let input = match frame {
                    Some(frame) => client::Input::LinkFrame(id, frame),
                    None => client::Input::LinkClosed(id, DisconnectReason::TransportClose),
                };
                self.client.handle_input(self.now, input);
            }
        }
    }

    fn deliver_poll(&mut self, request: client::RequestId) {
        let first = self.server.is_none();
        let mut server = self.server.take().unwrap_or_else(|| self.new_server());
        let id = server.next_exchange();
        let exchange = Exchange {
            request,
            is_poll: true,
        };
        self.exchanges.insert(id, exchange);
        let input = if first {
            server::Input::Accepted(First::Polling(id))
        } else {
            server::Input::PollOpened(id)
        };
        server.handle_input(self.now, input);
        self.server = Some(server);
    }

    fn deliver_connect(&mut self, id: LinkId, transport: Transport) {
        if std::mem::take(&mut self.refuse_websocket) {
            self.frame(Parcel::Connected(id, Err(DisconnectReason::Refused)));
            return;
        }
        let first = self.server.is_none();
        let mut server = self.server.take().unwrap_or_else(|| self.new_server());
        let allowed = first || server.may_upgrade(transport).is_ok();
        if allowed {
            let to = server.next_link();
            self.websockets.insert(id, to);
            self.frame(Parcel::Connected(id, Ok(())));
            let input = if first {
                server::Input::Accepted(First::Link(to, transport))
            } else {
                server::Input::LinkOpened {
                    id: to,
                    transport,
                    base64: false,
                }
            };
            server.handle_input(self.now, input);
        } else {
            self.frame(Parcel::Connected(id, Err(DisconnectReason::Refused)));
        }
        self.server = Some(server);
    }

    /// Whether the client still waits for the answer.
    fn arrived(&mut self, request: client::RequestId) -> bool {
        let before = self.in_flight.len();
        self.in_flight.retain(|(id, _)| *id != request);
        self.in_flight.len() < before
    }

    /// Does what the machines ask for, until both are content.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some(output) = self.client.poll_output() {
                self.on_client_output(output);
            } else if let Some(output) = self.server.as_mut().and_then(server::Session::poll_output)
            {
                self.on_server_output(output);
            } else {
                break;
            }
        }
    }

    fn on_client_output(&mut self, output: client::Output) {
        match output {
            client::Output::Poll(id) => {
                self.in_flight.push((id, true));
                self.post(Parcel::Poll(id));
            }
            client::Output::Post(id) => {
                if let Some(body) = self.client.take_payload(id) {
                    self.in_flight.push((id, false));
                    self.post(Parcel::Post(id, body));
                }
            }
            client::Output::Cancel(id) => {
                self.arrived(id);
                self.post(Parcel::Aborted(id));
            }
            client::Output::OpenLink(id, transport) => self.connect(id, transport),
            client::Output::SendFrames(id) => {
                while let Some(frame) = self.client.take_frame(id) {
                    self.frame(Parcel::ToServer(id, Some(frame)));
                }
            }
            client::Output::CloseLink(id, _) => self.frame(Parcel::ToServer(id, None)),
            client::Output::Events => {
                let events = std::iter::from_fn(|| self.client.take_event(|| self.now));
                self.client_events.extend(events);
            }
            _ => {}
        }
    }

    fn on_server_output(&mut self, output: server::Output) {
        let Some(server) = &mut self.server else {
            return;
        };
        match output {
            server::Output::AnswerPoll(id) => {
                let Some(request) = self.exchanges.get(&id).map(|exchange| exchange.request) else {
                    return;
                };
                if let Some(payload) = server.take_payload(self.now, id) {
                    self.watch_taken();
                    self.answer(request, Parcel::PollAnswer(request, Ok(payload)));
                }
            }
            server::Output::RefusePoll(id, refusal) => {
                if server.closed().is_none() {
                    self.refusals.push(format!("poll: {refusal}"));
                }
                if let Some(exchange) = self.exchanges.remove(&id) {
                    let answer = Err(DisconnectReason::Refused);
                    let request = exchange.request;
                    self.answer(request, Parcel::PollAnswer(request, answer));
                }
            }
            server::Output::AnswerPost(id, answer) => {
                if let (Err(refusal), None) = (answer, server.closed()) {
                    self.refusals.push(format!("post: {refusal}"));
                }
                if let Some(exchange) = self.exchanges.remove(&id) {
                    let answer = answer.map_err(|_| DisconnectReason::Refused);
                    let request = exchange.request;
                    self.answer(request, Parcel::PostAnswer(request, answer));
                }
            }
            server::Output::ContinuePost(id) => {
                server.handle_input(self.now, server::Input::PostContinued(id));
            }
            server::Output::SendFrames(id) => {
                let Some(to) = self.client_websocket(id) else {
                    return;
                };
                let frames: Vec<Frame> = match &mut self.server {
                    Some(server) => {
                        std::iter::from_fn(|| server.take_frame(self.now, id)).collect()
                    }
                    None => Vec::new(),
                };
                for frame in frames {
                    self.watch_taken();
                    self.frame(Parcel::ToClient(to, Some(frame)));
                }
            }
            server::Output::CloseLink(id, _) => {
                if let Some(to) = self.client_websocket(id) {
                    self.frame(Parcel::ToClient(to, None));
                }
            }
            server::Output::Events => {
                let events = std::iter::from_fn(|| server.take_event(|| self.now));
                self.server_events.extend(events);
            }
            _ => {}
        }
    }

    fn client_websocket(&self, id: LinkId) -> Option<LinkId> {
        let found = self.websockets.iter().find(|(_, server)| **server == id);
        found.map(|(client, _)| *client)
    }

    fn watch_taken(&mut self) {
        if let Some(vigil) = &mut self.vigil {
            vigil.on_taken(self.now);
        }
    }

    fn watch_frame(&mut self, frame: &Frame) {
        let packet = match self.revision {
            Revision::V3 => v3::decode_frame(frame.clone()),
            _ => v4::decode_frame(frame.clone()),
        };
        if let (Some(vigil), Ok(packet)) = (&mut self.vigil, packet) {
            vigil.on_packet(self.now, &packet);
        }
    }

    fn watch_payload(&mut self, payload: &Payload) {
        let packets: Vec<Packet> = match self.revision {
            Revision::V3 => v3::decode_payload(payload.clone()).flatten().collect(),
            _ => v4::decode_payload(payload.body.clone()).flatten().collect(),
        };
        if let Some(vigil) = &mut self.vigil {
            packets
                .iter()
                .for_each(|packet| vigil.on_packet(self.now, packet));
        }
    }
}
