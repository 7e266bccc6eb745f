//! The random bytes of session ids.

use std::cell::RefCell;

/// The random bytes of one id.
const ID: usize = 15;

/// The ids whose bytes are drawn at once. The system call that draws them takes longer than making ten ids.
const IDS: usize = 16;

/// Random bytes of the system, of which those from `next` on are unused.
struct Drawn {
    random: [u8; IDS * ID],
    next: usize,
}

thread_local! {
    static UNUSED: RefCell<Drawn> = const {
        RefCell::new(Drawn {
            random: [0; IDS * ID],
            next: IDS * ID,
        })
    };
}

/// Draws the bytes of one id. They are the system's, are used once, and are forgotten with that: whoever knows an id can
/// act as its client.
pub(crate) fn draw() -> Result<[u8; ID], getrandom::Error> {
    UNUSED.with_borrow_mut(|drawn| {
        if drawn.next == drawn.random.len() {
            getrandom::fill(&mut drawn.random)?;
            drawn.next = 0;
        }
        let mut id = [0; ID];
        let unused = &mut drawn.random[drawn.next..drawn.next + ID];
        id.swap_with_slice(unused);
        drawn.next += ID;
        Ok(id)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{IDS, draw};

    #[test]
    fn no_id_is_drawn_twice() {
        let draw = || draw().unwrap();
        let ids: HashSet<_> = std::iter::repeat_with(draw).take(10 * IDS).collect();
        assert_eq!(ids.len(), 10 * IDS);
    }
}
