//! Keys, what is derived from them, and the nonces of encryption.
//!
//! Each master key gives a key id and a signing key, and one encryption subkey per salt. A writer
//! draws a salt at random, uses its subkey for [`SEALS`] entries at most, and never across a fork;
//! each entry has a random nonce from the system. `docs/entry-format.md` says why that is enough.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use ring::aead::{Aad, LessSafeKey, Nonce, Tag, UnboundKey, AES_256_GCM};
use ring::{hkdf, hmac};

use super::layout::{invalid, Layout};
use super::random::Random;
use super::{allocate, Secret, Unreadable};
use crate::error::{Error, Result};
use crate::fork;
use crate::lock::Mutex;

/// Entries encrypted under one salt. The bound for random nonces is 2^32 for each key (NIST SP
/// 800-38D, section 8.3); the difference is left to copies of the process that no hook reports, such
/// as snapshots of virtual machines.
const SEALS: u32 = 1 << 24;
/// Derived subkeys that a reader remembers, about 600 bytes each.
const SUBKEYS: usize = 128;

const KEY_ID: &[u8] = b"retainit entry 2 key id";
const SIGN: &[u8] = b"retainit entry 2 sign";
const ENCRYPT: &[u8] = b"retainit entry 2 encrypt";

type Salt = [u8; 16];

/// Keys in order: the first seals, any opens.
pub struct Keyring {
    masters: Box<[Master]>,
    random: Random,
    /// What this process encrypts with.
    current: Mutex<Option<Current>>,
    /// What it decrypts with, at places that the salt says.
    derived: Box<[Mutex<Option<Arc<Subkey>>>]>,
}

struct Master {
    secret: Secret,
    id: [u8; 8],
    sign: hmac::Key,
}

/// An encryption key of one master and salt.
struct Subkey {
    master: usize,
    salt: Salt,
    key: LessSafeKey,
}

struct Current {
    subkey: Arc<Subkey>,
    generation: u64,
    left: u32,
}

impl Keyring {
    /// A ring of `secrets`.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(secrets: Vec<Secret>) -> Result<Self> {
        Self::with(secrets, Random::system())
    }

    pub(super) fn with(secrets: Vec<Secret>, random: Random) -> Result<Self> {
        if secrets.is_empty() {
            return Err(Error::configuration("encryption key", "no encryption key: expected at least one"));
        }
        Ok(Keyring {
            masters: secrets.into_iter().map(Master::new).collect(),
            random,
            current: Mutex::new(None),
            derived: (0..SUBKEYS).map(|_| Mutex::new(None)).collect(),
        })
    }

    /// Names the keys without telling them, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = [u8; 8]> + '_ {
        self.masters.iter().map(|master| master.id)
    }

    /// The id of the key that seals.
    pub(super) fn sealing_id(&self) -> [u8; 8] {
        self.masters[0].id
    }

    /// Signs a payload and what is `sealed` of its header; writes the seal.
    pub(super) fn sign(&self, key: &[u8], sealed: &[u8], payload: &[u8], seal: &mut [u8]) {
        seal.copy_from_slice(self.masters[0].tag(key, sealed, payload).as_ref());
    }

    /// Checks the signature of an entry that names the key `id`.
    pub(super) fn verify(
        &self,
        key: &[u8],
        layout: Layout,
        id: [u8; 8],
        entry: &[u8],
    ) -> Result<(), Unreadable> {
        let (sealed, tag) = (&entry[..layout.seal().start], &entry[layout.seal()]);
        self.attempt(id, |_, master| {
            let expected = master.tag(key, sealed, &entry[layout.payload()..]);
            let difference =
                expected.as_ref().iter().zip(tag).fold(0, |all, (one, other)| all | (one ^ other));
            // Opaque to the optimiser, so that the time taken does not tell where they differ.
            (black_box(difference) == 0).then_some(())
        })
    }

    /// Encrypts `payload` in place; writes the seal.
    pub(super) fn encrypt(
        &self,
        key: &[u8],
        sealed: &[u8],
        payload: &mut [u8],
        seal: &mut [u8],
    ) -> Result<()> {
        let subkey = self.sealing()?;
        let mut nonce = [0; 12];
        self.random.fill(&mut nonce)?;
        let len = payload.len();
        let tag = with_associated(key, sealed, |associated| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            subkey.key.seal_in_place_separate_tag(nonce, Aad::from(associated), payload)
        })
        .map_err(|_| invalid(format!("the payload has {len} bytes: expected less than 64 GiB")))?;
        seal[..16].copy_from_slice(&subkey.salt);
        seal[16..28].copy_from_slice(&nonce);
        seal[28..].copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Decrypts a copy of the payload of an entry that names the key `id`.
    pub(super) fn decrypt(
        &self,
        key: &[u8],
        layout: Layout,
        id: [u8; 8],
        entry: &[u8],
    ) -> Result<Vec<u8>, Unreadable> {
        let (sealed, seal) = (&entry[..layout.seal().start], &entry[layout.seal()]);
        let salt: Salt = seal[..16].try_into().expect("16 bytes");
        let nonce: [u8; 12] = seal[16..28].try_into().expect("12 bytes");
        let tag: [u8; 16] = seal[28..].try_into().expect("16 bytes");
        self.attempt(id, |index, master| {
            let remembered = self.remembered(index, &salt);
            let derived = remembered.is_none().then(|| master.subkey(index, salt));
            let subkey = remembered.as_deref().or(derived.as_ref())?;
            let encrypted = &entry[layout.payload()..];
            let mut payload = allocate(encrypted.len());
            payload.extend_from_slice(encrypted);
            with_associated(key, sealed, |associated| {
                let (nonce, associated) = (Nonce::assume_unique_for_key(nonce), Aad::from(associated));
                let done = subkey.key.open_in_place_separate_tag(
                    nonce,
                    associated,
                    Tag::from(tag),
                    &mut payload,
                    0..,
                );
                done.map(drop)
            })
            .ok()?;
            // Only now: entries that anybody could have made displace none that are in use.
            if let Some(subkey) = derived {
                self.remember(Arc::new(subkey));
            }
            Some(payload)
        })
    }

    /// Tries the keys with this id: one, or by an accident that nobody will see, several.
    fn attempt<T>(
        &self,
        id: [u8; 8],
        try_key: impl Fn(usize, &Master) -> Option<T>,
    ) -> Result<T, Unreadable> {
        let mut reason = Unreadable::UnknownKey;
        for (index, master) in self.masters.iter().enumerate().filter(|(_, one)| one.id == id) {
            match try_key(index, master) {
                Some(opened) => return Ok(opened),
                None => reason = Unreadable::Authentication,
            }
        }
        Err(reason)
    }

    /// The subkey for one more entry.
    fn sealing(&self) -> Result<Arc<Subkey>> {
        // A fork waits, so that no child finds the lock taken.
        let _inside = fork::enter();
        let generation = fork::generation();
        let mut current = self.current.lock();
        if let Some(current) = current.as_mut().filter(|one| one.generation == generation && one.left > 0) {
            current.left -= 1;
            return Ok(Arc::clone(&current.subkey));
        }
        let mut salt = [0; 16];
        self.random.fill(&mut salt)?;
        let subkey = Arc::new(self.masters[0].subkey(0, salt));
        *current = Some(Current { subkey: Arc::clone(&subkey), generation, left: SEALS - 1 });
        Ok(subkey)
    }

    /// The subkey, if it is at its place and nobody else is just looking there. Nobody waits: deriving
    /// it anew takes less than a microsecond, and a forked child may find a place locked for ever.
    fn remembered(&self, master: usize, salt: &Salt) -> Option<Arc<Subkey>> {
        let place = self.place(salt).try_lock()?;
        place.as_ref().filter(|one| one.master == master && one.salt == *salt).map(Arc::clone)
    }

    fn remember(&self, subkey: Arc<Subkey>) {
        let before = self.place(&subkey.salt).try_lock().and_then(|mut place| place.replace(subkey));
        // Outside the lock.
        drop(before);
    }

    fn place(&self, salt: &Salt) -> &Mutex<Option<Arc<Subkey>>> {
        &self.derived[usize::from(salt[0]) % SUBKEYS]
    }
}

impl Master {
    fn new(secret: Secret) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret.bytes());
        let mut id = [0; 8];
        let sign = root.expand(&[SIGN], hmac::HMAC_SHA256).expect("a valid length").into();
        root.expand(&[KEY_ID], Length(id.len())).and_then(|okm| okm.fill(&mut id)).expect("a valid length");
        Master { secret, id, sign }
    }

    fn subkey(&self, master: usize, salt: Salt) -> Subkey {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(self.secret.bytes());
        let key: UnboundKey = root.expand(&[ENCRYPT], &AES_256_GCM).expect("a valid length").into();
        Subkey { master, salt, key: LessSafeKey::new(key) }
    }

    fn tag(&self, key: &[u8], sealed: &[u8], payload: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.sign);
        with_associated(key, sealed, |associated| context.update(associated));
        context.update(payload);
        context.sign()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |id: [u8; 8]| format!("{:016x}", u64::from_be_bytes(id));
        f.debug_struct("Keyring").field("ids", &self.ids().map(hex).collect::<Vec<_>>()).finish()
    }
}

/// How many bytes HKDF is to give.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Gives `use_it` what is sealed apart from the payload, in one piece: the storage key, with its
/// length before it to keep the two apart, and the header up to the seal.
pub(super) fn with_associated<T>(key: &[u8], sealed: &[u8], use_it: impl FnOnce(&[u8]) -> T) -> T {
    let parts = [&(key.len() as u64).to_le_bytes(), key, sealed];
    let len = parts.iter().map(|part| part.len()).sum();
    // Keys and headers are short as a rule.
    let mut place = [0; 256];
    if len > place.len() {
        return use_it(&parts.concat());
    }
    let mut at = 0;
    for part in parts {
        place[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    use_it(&place[..len])
}

#[cfg(test)]
mod tests {
    use super::super::{Meta, Seal};
    use super::*;
    use std::collections::HashSet;

    fn ring() -> Arc<Keyring> {
        Arc::new(Keyring::new(vec![Secret::from_bytes(&[1; 32]).unwrap()]).unwrap())
    }

    /// Salt and nonce of one more entry.
    fn drawn(ring: &Arc<Keyring>) -> (Salt, [u8; 12]) {
        let entry = Seal::Encrypted(Arc::clone(ring)).seal(b"key", &Meta::default(), b"value").unwrap();
        let seal = &entry[entry.len() - 5 - 44..];
        (seal[..16].try_into().unwrap(), seal[16..28].try_into().unwrap())
    }

    #[test]
    fn each_entry_has_a_nonce_and_each_ring_a_salt_of_its_own() {
        let (one, other) = (ring(), ring());
        let drawn_by = |ring| (0..1000).map(|_| drawn(ring)).collect::<Vec<_>>();
        let (first, second) = (drawn_by(&one), drawn_by(&other));
        let salts = |all: &[(Salt, [u8; 12])]| all.iter().map(|(salt, _)| *salt).collect::<HashSet<_>>();
        assert_eq!((salts(&first).len(), salts(&second).len()), (1, 1));
        assert_ne!(salts(&first), salts(&second));
        let nonces: HashSet<_> = first.iter().chain(&second).map(|(_, nonce)| nonce).collect();
        assert_eq!(nonces.len(), 2000);
    }

    #[test]
    fn a_salt_serves_its_number_of_entries_and_no_more() {
        let ring = ring();
        let first = drawn(&ring).0;
        assert_eq!(ring.current.lock().as_ref().unwrap().left, SEALS - 1);
        ring.current.lock().as_mut().unwrap().left = 1;
        assert_eq!(drawn(&ring).0, first);
        let second = drawn(&ring).0;
        assert_ne!(second, first);
        assert_eq!(drawn(&ring).0, second);
    }

    #[cfg(unix)]
    #[test]
    fn a_forked_child_has_a_salt_of_its_own() {
        let ring = ring();
        let (salt, nonce) = drawn(&ring);
        fork::prepare();
        // SAFETY: the child draws once and ends; the alarm ends it if it cannot. Each side gives back
        // what `prepare` took, on this thread.
        let status = unsafe {
            let child = libc::fork();
            fork::done(child == 0);
            if child == 0 {
                libc::alarm(10);
                let (other, its) = drawn(&ring);
                libc::_exit(i32::from(other == salt || its == nonce));
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            status
        };
        assert_eq!(status, 0);
        assert_eq!(drawn(&ring).0, salt, "the parent goes on with its own");
    }

    #[test]
    fn subkeys_are_remembered_for_entries_that_opened_and_only_so_many() {
        let ring = ring();
        let seal = Seal::Encrypted(Arc::clone(&ring));
        let held = || ring.derived.iter().filter(|place| place.lock().is_some()).count();
        for expected in [1, 1] {
            let entry = seal.seal(b"key", &Meta::default(), b"value").unwrap();
            let mut forged = entry.clone();
            forged[64] ^= 0x55; // the salt
            assert!(seal.open(b"key", "", &forged, 0, false).is_err());
            assert!(seal.open(b"key", "", &entry, 0, false).is_ok());
            assert_eq!(held(), expected);
        }
        for number in 0..1000_u16 {
            let mut salt = [0; 16];
            salt[..2].copy_from_slice(&number.to_le_bytes());
            ring.remember(Arc::new(ring.masters[0].subkey(0, salt)));
            assert!(ring.remembered(0, &salt).is_some());
            assert!(ring.remembered(1, &salt).is_none());
        }
        assert!(held() <= SUBKEYS);
    }

    #[test]
    fn a_ring_shows_ids_and_no_keys() {
        let shown = format!("{:?}", ring());
        let id = format!("{:016x}", u64::from_be_bytes(ring().sealing_id()));
        assert_eq!(shown, format!("Keyring {{ ids: [\"{id}\"] }}"));
        assert!(!shown.contains("0101"));
        assert!(Keyring::new(vec![]).unwrap_err().is_configuration());
    }
}
