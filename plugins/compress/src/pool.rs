//! Contexts that wait for the next value.

use std::sync::Mutex;

/// More contexts than this are made and dropped as they are needed.
const SLOTS: usize = 8;

/// A few reusable values of one kind.
///
/// Nobody ever waits: a slot that another thread holds is passed over. That also holds in the child of
/// a fork, where a slot that was held at that moment stays so, and costs no more than its context.
pub(crate) struct Pool<T> {
    slots: [Mutex<Option<T>>; SLOTS],
}

impl<T> Pool<T> {
    pub fn new() -> Self {
        Pool { slots: std::array::from_fn(|_| Mutex::new(None)) }
    }

    /// One that was given back, if there is any.
    pub fn take(&self) -> Option<T> {
        self.slots.iter().find_map(|slot| slot.try_lock().ok()?.take())
    }

    /// Keeps `value` for the next taker; drops it where all slots are full.
    pub fn put(&self, value: T) {
        for slot in &self.slots {
            if let Ok(mut slot) = slot.try_lock() {
                if slot.is_none() {
                    *slot = Some(value);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again_and_no_more_than_the_slots_hold() {
        let pool = Pool::new();
        assert_eq!(pool.take(), None::<usize>);
        for value in 0..SLOTS + 3 {
            pool.put(value);
        }
        let mut taken: Vec<usize> = std::iter::from_fn(|| pool.take()).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..SLOTS).collect::<Vec<_>>());
    }

    #[test]
    fn a_slot_that_is_held_is_passed_over() {
        let pool = Pool::new();
        let held = pool.slots[0].lock().unwrap();
        pool.put(1);
        assert_eq!(pool.take(), Some(1));
        assert_eq!(pool.take(), None);
        drop(held);
    }
}
