//! The UDP socket of a connection. The connections of a thread share the memory for what they receive.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

/// The most that the system hands over at once: several datagrams of one sender, as long as the largest datagram.
const BATCH: usize = 64 * 1024;

/// The number of datagrams for which each of an endpoint's 32 buffers has room. Together they take the 64 that the system may
/// join. quinn would make each of them large enough for 64, which are 3 MB for an endpoint, and each connection has its own.
const SEGMENTS: usize = 2;

thread_local! {
    static RECEIVED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Binds a socket to a local address.
pub(super) fn bind(local: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = TokioRuntime.wrap_udp_socket(UdpSocket::bind(local)?)?;
    Ok(match socket.max_receive_segments() > SEGMENTS {
        true => Arc::new(SmallBuffers(socket)),
        false => socket,
    })
}

/// A socket that receives into the memory of its thread, and copies the datagrams into small buffers.
struct SmallBuffers(Arc<dyn AsyncUdpSocket>);

impl fmt::Debug for SmallBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsyncUdpSocket for SmallBuffers {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // Taken, because the waker that is replaced may run any code when it is dropped.
        let mut batch = RECEIVED.take();
        batch.resize(BATCH, 0);
        let mut received = [RecvMeta::default()];
        let polled = self
            .0
            .poll_recv(cx, &mut [IoSliceMut::new(&mut batch)], &mut received);
        let spread = polled.map_ok(|_| spread(&batch, received[0], bufs, meta));
        RECEIVED.set(batch);
        Poll::Ready(ready!(spread))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        SEGMENTS
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

/// Copies the datagrams of a batch into the buffers. Returns the number of buffers that were used, which is at least one, so
/// that whatever is received counts as work.
///
/// Datagrams that are longer than the endpoint has allowed the server may find no room. They are lost, as on the network.
fn spread(
    batch: &[u8],
    received: RecvMeta,
    bufs: &mut [IoSliceMut<'_>],
    meta: &mut [RecvMeta],
) -> usize {
    let mut rest = &batch[..received.len];
    let stride = received.stride.max(1);
    let mut used = 0;
    for (buf, meta) in bufs.iter_mut().zip(meta) {
        let room = buf.len() / stride * stride;
        let (now, later) = rest.split_at(rest.len().min(room));
        if used > 0 && now.is_empty() {
            break;
        }
        buf[..now.len()].copy_from_slice(now);
        *meta = RecvMeta {
            len: now.len(),
            ..received
        };
        rest = later;
        used += 1;
    }
    used
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;

    use quinn::udp::BATCH_SIZE;

    use super::*;

    /// The largest datagram that an endpoint allows its peer.
    const LARGEST: usize = 1472;

    /// Returns the datagrams in the buffers, as quinn reads them.
    fn datagrams(bufs: &[Vec<u8>], meta: &[RecvMeta]) -> Vec<Vec<u8>> {
        let bufs = bufs.iter().zip(meta);
        bufs.flat_map(|(buf, meta)| buf[..meta.len].chunks(meta.stride))
            .map(<[u8]>::to_vec)
            .collect()
    }

    fn buffers() -> (Vec<Vec<u8>>, [RecvMeta; BATCH_SIZE]) {
        let bufs = vec![vec![0; SEGMENTS * LARGEST]; BATCH_SIZE];
        (bufs, [RecvMeta::default(); BATCH_SIZE])
    }

    #[test]
    fn every_datagram_of_a_batch_arrives() {
        for (stride, len) in [
            (1, 64),
            (100, 6_350),
            (1_200, 1_200),
            (1_200, 1_199),
            (1_200, 53 * 1_200 + 7),
            (LARGEST, 44 * LARGEST + 700),
            (0, 0),
        ] {
            let batch: Vec<u8> = (0..len).map(|at: usize| (at / 7) as u8).collect();
            let received = RecvMeta {
                len,
                stride,
                ..RecvMeta::default()
            };
            let (mut bufs, mut meta) = buffers();
            let mut slices: Vec<_> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
            let used = spread(&batch, received, &mut slices, &mut meta);
            assert!(used > 0);
            let expected = batch.chunks(stride.max(1)).map(<[u8]>::to_vec);
            let expected: Vec<_> = expected.collect();
            if len > 0 {
                assert_eq!(datagrams(&bufs, &meta[..used]), expected, "{stride} {len}");
            }
        }
    }

    #[test]
    fn a_datagram_without_room_counts_as_one_without_data() {
        let len = 2 * SEGMENTS * LARGEST;
        let received = RecvMeta {
            len,
            stride: len,
            ..RecvMeta::default()
        };
        let (mut bufs, mut meta) = buffers();
        let mut slices: Vec<_> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
        assert_eq!(spread(&vec![7; len], received, &mut slices, &mut meta), 1);
        assert_eq!(meta[0].len, 0);
    }

    #[tokio::test]
    async fn an_endpoint_needs_little_memory_and_loses_no_batch() {
        let local = (Ipv4Addr::LOCALHOST, 0).into();
        let (sender, receiver) = (bind(local).unwrap(), bind(local).unwrap());
        assert!(receiver.max_receive_segments() * LARGEST * BATCH_SIZE <= 96 * 1024);
        let joined = sender.max_transmit_segments().min(50);
        let sent: Vec<u8> = (0..joined * 1_200).map(|at| (at / 11) as u8).collect();
        let transmit = Transmit {
            destination: receiver.local_addr().unwrap(),
            ecn: None,
            contents: &sent,
            segment_size: (joined > 1).then_some(1_200),
            src_ip: None,
        };
        let mut writable = Arc::clone(&sender).create_io_poller();
        while sender.try_send(&transmit).is_err() {
            poll_fn(|cx| writable.as_mut().poll_writable(cx))
                .await
                .unwrap();
        }
        let mut arrived = Vec::new();
        while arrived.len() < joined {
            let (mut bufs, mut meta) = buffers();
            let mut slices: Vec<_> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
            let used = poll_fn(|cx| receiver.poll_recv(cx, &mut slices, &mut meta));
            let used = used.await.unwrap();
            arrived.extend(datagrams(&bufs, &meta[..used]));
        }
        assert_eq!(arrived.concat(), sent);
    }
}
