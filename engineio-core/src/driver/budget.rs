//! Fairness: the work that one peer may cause, and so the time that it keeps the thread, before other tasks run.

/// The work that one peer may still cause in this turn of its task.
///
/// A task that always finds more to do never returns to its runtime, and every other task of the thread starves. A
/// driver starts each turn with a new budget, charges what it does, and yields to other tasks when the budget [is
/// spent](Self::is_spent). The last charge may exceed the rest of the budget, so a turn exceeds it by at most one whole
/// message and never ends in the middle of one.
///
/// The default is [`for_frames`](Self::for_frames).
///
/// # Examples
///
/// ```
/// use engineio_core::driver::Budget;
///
/// let mut budget = Budget::for_frames();
/// let mut frames = 0;
/// while !budget.is_spent() {
///     budget.charge_frame(100); // Reads and handles a frame of 100 bytes.
///     frames += 1;
/// }
/// assert_eq!(frames, 64);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    left: u32,
}

/// WebSocket frames a turn: enough that the costs of a turn (a lock, a flush, a look at the timers) are shared by many
/// small frames, few enough that other tasks wait for microseconds only.
const FRAMES: u32 = 64;

/// The bytes that cost as much as one frame more. A turn reads or decompresses 64 times as much, 1 MiB, and the rest of
/// the last message at most: decompression is counted by its input or its result, whichever is larger.
const BYTES_PER_UNIT: usize = 16 * 1024;

/// A read that completes no frame may have filled two buffers of [`Budget::READ_CHUNK`] bytes.
const EMPTY_READ: u32 = (2 * Budget::READ_CHUNK / BYTES_PER_UNIT) as u32;

/// Events a turn. A POST of 1 MB can carry half a million packets, and each is an event with a call of a handler.
const EVENTS: u32 = 256;

/// The number of packets of a POST in a turn that are not messages. Each costs about 40 ns, so that other tasks wait
/// for tens of microseconds. A client that keeps to the protocol never sends as many at once.
const PACKETS: u32 = 1_024;

/// Rounds a turn, in each of which every part of a connection is polled once. A peer that answers at once always makes
/// progress possible.
const ROUNDS: u32 = 64;

impl Budget {
    /// The number of bytes that a driver reads before it runs handlers and writes, in one turn or over several: the
    /// data is still in the processor's cache then, and its buffer is free again for the next chunk.
    pub const READ_CHUNK: usize = 64 * 1024;

    /// Returns the budget for reading the frames of a WebSocket: 64 frames, or 1 MiB of their payloads.
    #[must_use]
    pub const fn for_frames() -> Self {
        Self { left: FRAMES }
    }

    /// Returns the budget for calling handlers: 256 events, such as the packets of a POST.
    #[must_use]
    pub const fn for_events() -> Self {
        Self { left: EVENTS }
    }

    /// Returns the budget for decoding the packets of a POST that are not messages: 1,024 packets. Messages are bounded
    /// by the room in the inbox.
    #[must_use]
    pub const fn for_packets() -> Self {
        Self { left: PACKETS }
    }

    /// Returns the budget for decoding packets when an event was taken: so many that the events of a turn decode no more
    /// packets than a turn may.
    pub(crate) const fn for_packets_of_an_event() -> Self {
        Self {
            left: PACKETS / EVENTS,
        }
    }

    /// Returns the budget for polling the parts of a connection in rounds: 64 rounds.
    #[must_use]
    pub const fn for_rounds() -> Self {
        Self { left: ROUNDS }
    }

    /// Charges a frame with a payload of `len` bytes, before or after decompression, whichever is larger.
    pub const fn charge_frame(&mut self, len: usize) {
        let units = len / BYTES_PER_UNIT;
        // Saturates instead of wrapping for a length that no frame has.
        let units = if units < FRAMES as usize {
            units as u32
        } else {
            FRAMES
        };
        self.charge(1 + units);
    }

    /// Charges a read that completed no frame. Without it, a peer that sends one huge frame, or frames without
    /// messages, would occupy the thread for as long as it sends.
    pub const fn charge_empty_read(&mut self) {
        self.charge(EMPTY_READ);
    }

    /// Charges an event that is given to a handler.
    pub const fn charge_event(&mut self) {
        self.charge(1);
    }

    /// Charges a packet of a POST that is not a message.
    pub const fn charge_packet(&mut self) {
        self.charge(1);
    }

    /// Charges a round of polls.
    pub const fn charge_round(&mut self) {
        self.charge(1);
    }

    /// Returns whether other tasks should run before this one goes on.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.left == 0
    }

    const fn charge(&mut self, units: u32) {
        self.left = self.left.saturating_sub(units);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::for_frames()
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    fn frames_of(len: usize) -> usize {
        let mut budget = Budget::for_frames();
        std::iter::from_fn(|| (!budget.is_spent()).then(|| budget.charge_frame(len))).count()
    }

    #[test]
    fn a_turn_reads_sixty_four_small_frames_or_a_mebibyte() {
        assert_eq!(frames_of(0), 64);
        assert_eq!(frames_of(16 * 1024 - 1), 64);
        assert_eq!(frames_of(64 * 1024), 13);
        assert_eq!(frames_of(1024 * 1024), 1);
        assert_eq!(frames_of(usize::MAX), 1);
    }

    #[test]
    fn reads_without_a_frame_end_a_turn_after_eight() {
        let mut budget = Budget::for_frames();
        for _ in 0..8 {
            assert!(!budget.is_spent());
            budget.charge_empty_read();
        }
        assert!(budget.is_spent());
    }

    #[test]
    fn a_turn_calls_the_handlers_of_two_hundred_and_fifty_six_events() {
        let mut budget = Budget::for_events();
        for _ in 0..256 {
            assert!(!budget.is_spent());
            budget.charge_event();
        }
        assert!(budget.is_spent());
    }
}
