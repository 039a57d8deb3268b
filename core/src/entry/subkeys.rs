//! Encryption keys in use: the one that this process seals with, and those of the salts it has read lately.
//!
//! Each thread has what it used last at hand, so that as a rule no lock is taken.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::LocalKey;

use ring::aead::LessSafeKey;

use super::random::Random;
use crate::error::Result;
use crate::fork;
use crate::lock::Mutex;

/// Entries encrypted under one salt. The bound for random nonces is 2^32 for each key (NIST SP
/// 800-38D, section 8.3); the difference is left to copies of the process that no hook reports, such
/// as snapshots of virtual machines.
const SEALS: i64 = 1 << 24;
/// Derived subkeys that a reader remembers, about 600 bytes each.
const PLACES: usize = 128;

/// What makes one subkey of a master key another one than the next.
pub(super) type Salt = [u8; 16];

/// An encryption key of one master and salt.
pub(super) struct Subkey {
    ring: u64,
    master: usize,
    pub salt: Salt,
    pub key: LessSafeKey,
}

/// What a process seals with.
struct Current {
    subkey: Subkey,
    generation: u64,
    left: AtomicI64,
}

impl Current {
    /// Whether it may be used once more.
    fn takes_one(&self) -> bool {
        self.generation == fork::generation() && self.left.fetch_sub(1, Ordering::Relaxed) > 0
    }
}

thread_local! {
    static SEALED: Cell<Option<Arc<Current>>> = const { Cell::new(None) };
    static OPENED: Cell<Option<Arc<Subkey>>> = const { Cell::new(None) };
}

/// The subkeys of one ring.
pub(super) struct Subkeys {
    ring: u64,
    random: Random,
    current: Mutex<Option<Arc<Current>>>,
    /// At places that the salt says.
    derived: Box<[Mutex<Option<Arc<Subkey>>>]>,
}

impl Subkeys {
    pub fn new(random: Random) -> Self {
        static RINGS: AtomicU64 = AtomicU64::new(0);
        Subkeys {
            ring: RINGS.fetch_add(1, Ordering::Relaxed),
            random,
            current: Mutex::new(None),
            derived: (0..PLACES).map(|_| Mutex::new(None)).collect(),
        }
    }

    /// Seals one entry with a subkey of the first master, and a nonce of its own. `derive` makes the
    /// subkey of a salt.
    #[inline(always)] // one caller
    pub fn seal<T>(
        &self,
        derive: impl FnOnce(&Salt) -> LessSafeKey,
        seal: impl FnOnce(&Subkey, [u8; 12]) -> T,
    ) -> Result<T> {
        let mut nonce = [0; 12];
        self.random.fill(&mut nonce)?;
        let current = match take(&SEALED).filter(|last| last.subkey.ring == self.ring && last.takes_one()) {
            Some(last) => last,
            None => self.current(derive)?,
        };
        let sealed = seal(&current.subkey, nonce);
        put(&SEALED, current);
        Ok(sealed)
    }

    /// Opens one entry with the subkey of `master` and `salt`.
    #[inline(always)] // one caller
    pub fn open<T>(
        &self,
        master: usize,
        salt: &Salt,
        derive: impl FnOnce(&Salt) -> LessSafeKey,
        open: impl FnOnce(&Subkey) -> Option<T>,
    ) -> Option<T> {
        let fits = |one: &Arc<Subkey>| one.ring == self.ring && one.master == master && one.salt == *salt;
        let known = take(&OPENED).filter(fits).or_else(|| self.remembered(salt).filter(fits));
        let (subkey, derived) = match known {
            Some(subkey) => (subkey, false),
            None => (Arc::new(Subkey { ring: self.ring, master, salt: *salt, key: derive(salt) }), true),
        };
        let opened = open(&subkey)?;
        // Only now: entries that anybody could have made displace none that are in use.
        if derived {
            self.remember(Arc::clone(&subkey));
        }
        put(&OPENED, subkey);
        Some(opened)
    }

    fn current(&self, derive: impl FnOnce(&Salt) -> LessSafeKey) -> Result<Arc<Current>> {
        // A fork waits, so that no child finds the lock taken.
        let _inside = fork::enter();
        let mut shared = self.current.lock();
        if let Some(current) = shared.as_ref().filter(|one| one.takes_one()) {
            return Ok(Arc::clone(current));
        }
        let mut salt = [0; 16];
        self.random.fill(&mut salt)?;
        let subkey = Subkey { ring: self.ring, master: 0, salt, key: derive(&salt) };
        let left = AtomicI64::new(SEALS - 1);
        let current = Arc::new(Current { subkey, generation: fork::generation(), left });
        *shared = Some(Arc::clone(&current));
        Ok(current)
    }

    /// What is at the salt's place, unless somebody else is just looking there. Nobody waits: deriving
    /// it anew takes less than a microsecond, and a forked child may find a place locked for ever.
    fn remembered(&self, salt: &Salt) -> Option<Arc<Subkey>> {
        self.place(salt).try_lock()?.clone()
    }

    fn remember(&self, subkey: Arc<Subkey>) {
        let before = self.place(&subkey.salt).try_lock().and_then(|mut place| place.replace(subkey));
        // Outside the lock.
        drop(before);
    }

    fn place(&self, salt: &Salt) -> &Mutex<Option<Arc<Subkey>>> {
        &self.derived[usize::from(salt[0]) % PLACES]
    }
}

/// What the thread has at hand; nothing where the thread is ending.
fn take<T>(at_hand: &'static LocalKey<Cell<Option<T>>>) -> Option<T> {
    at_hand.try_with(Cell::take).ok().flatten()
}

fn put<T>(at_hand: &'static LocalKey<Cell<Option<T>>>, value: T) {
    let _ = at_hand.try_with(|cell| cell.set(Some(value)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::aead::{UnboundKey, AES_256_GCM};
    use std::collections::HashSet;

    fn subkeys() -> Subkeys {
        Subkeys::new(Random::system())
    }

    /// Any key will do: here it is about which salt is used when.
    fn derive(_: &Salt) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).unwrap())
    }

    /// Salt and nonce of one more entry.
    fn drawn(subkeys: &Subkeys) -> (Salt, [u8; 12]) {
        subkeys.seal(derive, |subkey, nonce| (subkey.salt, nonce)).unwrap()
    }

    #[test]
    fn each_entry_has_a_nonce_and_each_ring_a_salt_of_its_own() {
        let (one, other) = (subkeys(), subkeys());
        // In turns, so that neither finds its own at hand, and in a row.
        let mut all: Vec<_> = (0..500).map(|_| (drawn(&one), drawn(&other))).collect();
        let row = (0..500).map(|_| drawn(&one)).collect::<Vec<_>>();
        all.extend(row.into_iter().map(|first| (first, drawn(&other))));
        let salts = |all: &[(Salt, [u8; 12])]| all.iter().map(|(salt, _)| *salt).collect::<HashSet<_>>();
        let (first, second): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        assert_eq!((salts(&first).len(), salts(&second).len()), (1, 1));
        assert_ne!(salts(&first), salts(&second));
        let nonces: HashSet<_> = first.iter().chain(&second).map(|(_, nonce)| nonce).collect();
        assert_eq!(nonces.len(), 2000);
    }

    #[test]
    fn a_salt_serves_its_number_of_entries_over_all_threads_and_no_more() {
        let subkeys = subkeys();
        let first = drawn(&subkeys).0;
        let current = Arc::clone(subkeys.current.lock().as_ref().unwrap());
        assert_eq!(current.left.load(Ordering::Relaxed), SEALS - 1);
        current.left.store(100, Ordering::Relaxed);
        let salts: Vec<Salt> = std::thread::scope(|scope| {
            let draw = || (0..50).map(|_| drawn(&subkeys).0).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(salts.iter().filter(|salt| **salt == first).count(), 100);
        assert_eq!(salts.iter().collect::<HashSet<_>>().len(), 2);
        // This thread still has the first at hand.
        assert_ne!(drawn(&subkeys).0, first);
    }

    #[cfg(unix)]
    #[test]
    fn a_forked_child_has_a_salt_of_its_own() {
        let subkeys = subkeys();
        let (salt, nonce) = drawn(&subkeys);
        fork::prepare();
        // SAFETY: the child draws once and ends; the alarm ends it if it cannot. Each side gives back
        // what `prepare` took, on this thread.
        let status = unsafe {
            let child = libc::fork();
            fork::done(child == 0);
            if child == 0 {
                libc::alarm(10);
                let (other, its) = drawn(&subkeys);
                libc::_exit(i32::from(other == salt || its == nonce));
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            status
        };
        assert_eq!(status, 0);
        assert_eq!(drawn(&subkeys).0, salt, "the parent goes on with its own");
    }

    #[test]
    fn subkeys_are_remembered_for_entries_that_opened_and_only_so_many() {
        let subkeys = subkeys();
        let held = || subkeys.derived.iter().filter(|place| place.lock().is_some()).count();
        let derivations = Cell::new(0);
        let counted = |salt: &Salt| {
            derivations.set(derivations.get() + 1);
            derive(salt)
        };
        let open = |master, salt: [u8; 16], good: bool| {
            let opened = subkeys.open(master, &salt, counted, |subkey| good.then_some(subkey.salt));
            assert_eq!(opened, good.then_some(salt));
        };
        let expect = |derived, kept| assert_eq!((derivations.replace(0), held()), (derived, kept));
        open(0, [1; 16], false);
        expect(1, 0);
        open(0, [1; 16], true);
        open(0, [1; 16], true);
        expect(1, 1);
        open(1, [1; 16], true);
        expect(1, 1);
        open(0, [2; 16], true);
        open(1, [1; 16], true); // no longer at hand, but remembered
        expect(1, 2);
        for number in 0..1000_u16 {
            let mut salt = [3; 16];
            salt[..2].copy_from_slice(&number.to_le_bytes());
            open(0, salt, true);
        }
        expect(1000, PLACES);
    }

    #[test]
    fn rings_do_not_take_each_others_keys() {
        let (one, other) = (subkeys(), subkeys());
        let salt = [7; 16];
        let mine = one.open(0, &salt, derive, |subkey| Some(subkey.ring)).unwrap();
        let theirs = other.open(0, &salt, derive, |subkey| Some(subkey.ring)).unwrap();
        assert_eq!((mine, theirs), (one.ring, other.ring));
        assert_ne!(mine, theirs);
    }
}
