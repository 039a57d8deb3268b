//! Keys, and what is derived from them.
//!
//! Each master key gives a key id and a signing key, and one encryption subkey per salt. A writer
//! draws a salt at random, uses its subkey for some million entries, and never across a fork; each
//! entry has a random nonce from the system. `docs/entry-format.md` says why that is enough.

use std::fmt;
use std::hint::black_box;

use ring::aead::{Aad, LessSafeKey, Nonce, Tag, UnboundKey, AES_256_GCM};
use ring::error::Unspecified;
use ring::{hkdf, hmac};

use super::layout::{invalid, Layout};
use super::random::Random;
use super::subkeys::{Salt, Subkeys};
use super::{allocate, Secret, Unreadable};
use crate::error::{Error, Result};

const KEY_ID: &[u8] = b"retainit entry 2 key id";
const SIGN: &[u8] = b"retainit entry 2 sign";
const ENCRYPT: &[u8] = b"retainit entry 2 encrypt";
/// Bytes of a storage key and a header for which no memory is allocated.
const ASSOCIATED: usize = 256;

/// Keys in order: the first seals, any opens.
pub struct Keyring {
    masters: Box<[Master]>,
    subkeys: Subkeys,
}

struct Master {
    secret: Secret,
    id: [u8; 8],
    sign: hmac::Key,
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
        let masters = secrets.into_iter().map(Master::new).collect();
        Ok(Keyring { masters, subkeys: Subkeys::new(random) })
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
    #[inline(always)] // one caller
    pub(super) fn encrypt(
        &self,
        key: &[u8],
        sealed: &[u8],
        payload: &mut [u8],
        seal: &mut [u8],
    ) -> Result<()> {
        let len = payload.len();
        let derive = |salt: &Salt| self.masters[0].subkey(salt);
        let sealed = self.subkeys.seal(derive, |subkey, nonce| {
            let unique = Nonce::assume_unique_for_key(nonce);
            let tag = with_associated(key, sealed, |associated| {
                subkey.key.seal_in_place_separate_tag(unique, Aad::from(associated), payload)
            })?;
            seal[..16].copy_from_slice(&subkey.salt);
            seal[16..28].copy_from_slice(&nonce);
            seal[28..].copy_from_slice(tag.as_ref());
            Ok(())
        })?;
        sealed.map_err(|_: Unspecified| {
            invalid(format!("the payload has {len} bytes: expected less than 64 GiB"))
        })
    }

    /// Decrypts a copy of the payload of an entry that names the key `id`.
    #[inline(always)] // one caller
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
            self.subkeys.open(
                index,
                &salt,
                |salt| master.subkey(salt),
                |subkey| {
                    let encrypted = &entry[layout.payload()..];
                    let mut payload = allocate(encrypted.len());
                    payload.extend_from_slice(encrypted);
                    let (nonce, tag) = (Nonce::assume_unique_for_key(nonce), Tag::from(tag));
                    with_associated(key, sealed, |associated| {
                        let associated = Aad::from(associated);
                        subkey
                            .key
                            .open_in_place_separate_tag(nonce, associated, tag, &mut payload, 0..)
                            .map(drop)
                    })
                    .ok()?;
                    Some(payload)
                },
            )
        })
    }

    /// Tries the keys with this id: one, or by an accident that nobody will see, several.
    #[inline(always)] // two callers, each with a result of its own
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
}

impl Master {
    fn new(secret: Secret) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret.bytes());
        let mut id = [0; 8];
        let sign = root.expand(&[SIGN], hmac::HMAC_SHA256).expect("a valid length").into();
        root.expand(&[KEY_ID], Length(id.len())).and_then(|okm| okm.fill(&mut id)).expect("a valid length");
        Master { secret, id, sign }
    }

    fn subkey(&self, salt: &Salt) -> LessSafeKey {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.secret.bytes());
        let key: UnboundKey = root.expand(&[ENCRYPT], &AES_256_GCM).expect("a valid length").into();
        LessSafeKey::new(key)
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

/// Gives `body` what is sealed apart from the payload, in one piece: the storage key, with its length
/// before it to keep the two apart, and the header up to the seal.
#[inline]
pub(super) fn with_associated<T>(key: &[u8], sealed: &[u8], body: impl FnOnce(&[u8]) -> T) -> T {
    let len = (key.len() as u64).to_le_bytes();
    let mut place = [0; ASSOCIATED];
    let Some(place) = place.get_mut(..len.len() + key.len() + sealed.len()) else {
        return body(&[&len, key, sealed].concat());
    };
    let (first, rest) = place.split_at_mut(len.len());
    let (second, third) = rest.split_at_mut(key.len());
    first.copy_from_slice(&len);
    second.copy_from_slice(key);
    third.copy_from_slice(sealed);
    body(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_shows_ids_and_no_keys() {
        let ring = || Keyring::new(vec![Secret::from_bytes(&[1; 32]).unwrap()]).unwrap();
        let shown = format!("{:?}", ring());
        let id = format!("{:016x}", u64::from_be_bytes(ring().sealing_id()));
        assert_eq!(shown, format!("Keyring {{ ids: [\"{id}\"] }}"));
        assert!(!shown.contains("0101"));
        assert!(Keyring::new(vec![]).unwrap_err().is_configuration());
    }
}
