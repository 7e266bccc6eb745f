//! The values that the application attaches to a client.

use std::any::{Any, TypeId};
use std::sync::{Arc, PoisonError};

use crate::sync::{Mutex, MutexGuard};

type Values = Vec<(TypeId, Arc<dyn Any + Send + Sync>)>;

/// One value of each type; a handful at most, so a list is searched faster than a map.
/// None at all once the client is gone.
pub(crate) struct Data(Mutex<Option<Values>>);

impl Default for Data {
    fn default() -> Self {
        Self(Mutex::new(Some(Values::new())))
    }
}

impl Data {
    pub(crate) fn set<T: Any + Send + Sync>(&self, value: T) -> Option<Arc<T>> {
        let id = TypeId::of::<T>();
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let mut data = self.lock();
        let Some(values) = &mut *data else {
            // Outside the lock: a value's `Drop` is the application's code.
            drop(data);
            return None;
        };
        let old = match values.iter_mut().find(|(known, _)| *known == id) {
            Some((_, slot)) => Some(std::mem::replace(slot, value)),
            None => {
                values.push((id, value));
                None
            }
        };
        old?.downcast().ok()
    }

    pub(crate) fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let id = TypeId::of::<T>();
        let values = self.lock();
        let value = values.as_ref()?.iter().find(|(known, _)| *known == id)?;
        Arc::clone(&value.1).downcast().ok()
    }

    /// Drops the data of a client that is gone, even if a handle is kept.
    pub(crate) fn clear(&self) {
        let values = self.lock().take();
        // Outside the lock: a value's `Drop` is the application's code.
        drop(values);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Values>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
