//! Writes of several flights at once.

use std::sync::Arc;

use super::Flight;

impl<T> Flight<T> {
    /// As [`Flight::write`] for flights of different keys: `write` is told of each whether it may.
    pub fn write_together<R>(flights: &[Arc<Self>], write: impl FnOnce(Vec<bool>) -> R) -> R {
        let _gates = loop {
            let mut gates = Vec::with_capacity(flights.len());
            let busy = flights.iter().find(|flight| match flight.gate.try_lock() {
                Some(gate) => {
                    gates.push(gate);
                    false
                }
                None => true,
            });
            match busy {
                None => break gates,
                // Held by a fence, or by a fork that wants the others as well: nothing is held while it is
                // waited for.
                Some(flight) => {
                    drop(gates);
                    drop(flight.gate.lock());
                }
            }
        };
        write(flights.iter().map(|flight| !flight.is_fenced()).collect())
    }
}
