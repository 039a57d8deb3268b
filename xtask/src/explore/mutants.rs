//! Mistakes that the exploration must find: each is one change of the engine that compiles.

/// One mistake.
pub struct Mutant {
    /// What is wrong.
    pub name: &'static str,
    /// In which file.
    pub file: &'static str,
    /// What is right there, found exactly once.
    pub right: &'static str,
    /// What stands there instead.
    pub wrong: &'static str,
}

const FLIGHT: &str = "core/src/flight.rs";
const TABLE: &str = "core/src/flight/table.rs";
const TOGETHER: &str = "core/src/flight/together.rs";
const LOAD: &str = "core/src/load.rs";
const JOIN: &str = "core/src/load/join.rs";

/// All of them.
pub const MUTANTS: [Mutant; 21] = [
    Mutant {
        name: "a load is not listed",
        file: TABLE,
        right: "shard.flights.insert(key, flight.clone());",
        wrong: "drop(key);",
    },
    Mutant {
        name: "a load that is abandoned does not land",
        file: TABLE,
        right: "self.flight.land(Landing::Abandoned);",
        wrong: "",
    },
    Mutant {
        name: "who sleeps is counted before the landing is seen",
        file: FLIGHT,
        right: "        state.landing = Some(landing);
        let subscribers = std::mem::take(&mut state.subscribers);
        let sleepers = std::mem::take(&mut state.sleepers);
",
        wrong: "        let subscribers = std::mem::take(&mut state.subscribers);
        let sleepers = std::mem::take(&mut state.sleepers);
        drop(state);
        state = self.state.lock();
        state.landing = Some(landing);
",
    },
    Mutant {
        name: "a subscriber comes between the look and the entry",
        file: FLIGHT,
        right: "        if state.landing.is_none() {
            state.subscribers.push((number, landed));
            return number;
        }
        drop(state);
",
        wrong: "        let waits = state.landing.is_none();
        drop(state);
        if waits {
            state = self.state.lock();
            state.subscribers.push((number, landed));
            return number;
        }
",
    },
    Mutant {
        name: "a load that has landed can be given up",
        file: FLIGHT,
        right: "        if state.landing.is_some() {
            return false;
        }
        state.landing = Some(landing);
        let subscribers = std::mem::take(&mut state.subscribers);
",
        wrong: "        if state.landing.is_some() {
            return true;
        }
        state.landing = Some(landing);
        let subscribers = std::mem::take(&mut state.subscribers);
",
    },
    Mutant {
        name: "circles of waiting are allowed",
        file: TABLE,
        right: "if holding.iter().any(|held| Arc::ptr_eq(held, &next)) {",
        wrong: "if holding.is_empty() {",
    },
    Mutant {
        name: "only circles of two are seen",
        file: TABLE,
        right: "            if !seen.contains(&Arc::as_ptr(&next)) {",
        wrong: "            if seen.len() < 1 {",
    },
    Mutant {
        name: "two look for circles at a time",
        file: TABLE,
        right: "-> bool {
        let _waits = self.waits.lock();",
        wrong: "-> bool {",
    },
    Mutant {
        name: "readers wait for a refresh",
        file: FLIGHT,
        right: "self.purpose != Purpose::Load",
        wrong: "self.purpose == Purpose::Replace",
    },
    Mutant {
        name: "a fallback outlives an invalidation",
        file: FLIGHT,
        right: "(clock::monotonic() < *until && !self.is_fenced())",
        wrong: "(clock::monotonic() < *until)",
    },
    Mutant {
        name: "no load is born fenced",
        file: TABLE,
        right: "let fenced = shard.invalidating.iter().any(|(_, covers)| covers(key));",
        wrong: "let fenced = false;",
    },
    Mutant {
        name: "a fence is never over",
        file: TABLE,
        right: "retain(|(ticket, _)| *ticket != self.ticket)",
        wrong: "retain(|(ticket, _)| *ticket != u64::MAX)",
    },
    Mutant {
        name: "a fence does not wait for a write",
        file: FLIGHT,
        right: "    fn fence(&self) {
        let _gate = self.gate.lock();",
        wrong: "    fn fence(&self) {",
    },
    Mutant {
        name: "a write does not ask whether it is fenced",
        file: FLIGHT,
        right: "(!self.is_fenced()).then(write)",
        wrong: "Some(write())",
    },
    Mutant {
        name: "writes of several loads ask the first one only",
        file: TOGETHER,
        right: "write(flights.iter().map(|flight| !flight.is_fenced()).collect())",
        wrong: "write(flights.iter().map(|_| !flights[0].is_fenced()).collect())",
    },
    Mutant {
        name: "a load that is being fenced cannot be found",
        file: TABLE,
        right: "strays.iter().filter(|stray| covers(&stray.key)).cloned()",
        wrong: "strays.extract_if(.., |stray| covers(&stray.key))",
    },
    Mutant {
        name: "a load that is given up cannot be found",
        file: TABLE,
        right: "            shard.strays.push(flight.clone());",
        wrong: "",
    },
    Mutant {
        name: "a load that is given up twice cannot be found",
        file: TABLE,
        right: "flight.land(Landing::TimedOut)",
        wrong: "flight.land(Landing::TimedOut) || {
            self.remove(flight);
            false
        }",
    },
    Mutant {
        name: "a stray overwrites a newer value",
        file: LOAD,
        right: "if !late && flights.has_strays(&self.flight) {",
        wrong: "if false && !late {",
    },
    Mutant {
        name: "a stray overwrites the value of a newer one",
        file: LOAD,
        right: "if !late && flights.has_strays(&self.flight) {",
        wrong: "if !late && !self.has_timed_out() && flights.has_strays(&self.flight) {",
    },
    Mutant {
        name: "a load that is given up twice is counted twice",
        file: JOIN,
        right: "    if !flights.give_up(flight) {
        function.count_strays(-1);",
        wrong: "    if !flights.give_up(flight) {",
    },
];
