//! Single-flight and fencing in schedules that a machine hardly ever takes. `cargo xtask explore` runs this.
//!
//! The engine is built with shuttle's threads and atomics, so that a scheduler decides at each of their operations
//! who goes on. Half of the schedules are random; the other half are PCT's ("A Randomized Scheduler with
//! Probabilistic Guarantees of Finding Bugs", Burckhardt et al. 2010): few preemptions, anywhere. What every
//! schedule must keep is asserted in the scenario; one that gets nowhere is a failure as well. A failure prints
//! its schedule. Atomics behave as if all of them were sequentially consistent: weaker orders are not explored.
//!
//! * `harness`: runs a scenario in many schedules, and counts them.
//! * `flights`: who leads, who waits, who is called.
//! * `fences`: what is written and what must not be, with an invalidation in between.
//! * `loads`: loads that are given up, and what is counted of them.

mod fences;
mod flights;
mod harness;
mod loads;
