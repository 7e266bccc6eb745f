//! Panics of the application's code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Code of the application panicked. The panic hook has logged the details.
///
/// The value that the panic carried is not kept: it may panic when it is dropped, as any value of the application may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("code of the application panicked")]
#[non_exhaustive]
pub struct Panicked;

impl Panicked {
    /// Drops the value of a panic, and catches the panic of its `Drop`. The value of that one is leaked: each could carry
    /// another that panics.
    #[must_use]
    pub fn discard(payload: Box<dyn Any + Send>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the value is forgotten")]
        if let Err(next) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(next);
        }
        Self
    }
}

/// Calls code of the application, and catches its panic. What the code was changing must not be used after a panic, unless
/// it is consistent at any time.
///
/// # Errors
///
/// Returns [`Panicked`] if the code panics.
///
/// # Examples
///
/// ```
/// use engineio_core::driver::catch_panic;
///
/// assert_eq!(catch_panic(|| 1), Ok(1));
/// assert!(catch_panic(|| panic!("on purpose")).is_err());
/// ```
#[inline]
pub fn catch_panic<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    #[expect(clippy::disallowed_methods, reason = "the value is discarded")]
    let outcome = catch_unwind(AssertUnwindSafe(code));
    outcome.map_err(Panicked::discard)
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::{Panicked, catch_panic};

    /// Panics when it is dropped, as many times as it says, each time with the next one.
    struct Grenade(u32);

    impl Drop for Grenade {
        fn drop(&mut self) {
            if let Some(left) = self.0.checked_sub(1) {
                panic_any(Self(left));
            }
        }
    }

    #[test]
    fn a_panic_is_caught_whatever_its_value_does_when_it_is_dropped() {
        for times in 0..4 {
            let caught = catch_panic(|| panic_any(Grenade(times)));
            assert_eq!(caught, Err::<(), _>(Panicked));
        }
    }
}
