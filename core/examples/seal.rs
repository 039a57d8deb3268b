//! What sealing costs beyond the cryptography: `cargo run --release -p retainit-core --example seal`.
//!
//! Each line holds entries against ring alone in alternating rounds of one run, best round of each.
//! `ring` does to the payload what is to be done: a copy (except for `in place`), a random nonce, one
//! call. `ring, all` does it to all the bytes that an entry protects: header and storage key too, ready
//! in one piece. The last columns are the speed of entries over that of each.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use retainit_core::entry::{Keyring, Meta, Seal, Secret, NEVER};
use ring::aead::{Aad, LessSafeKey, Nonce, Tag, UnboundKey, AES_256_GCM};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

const KEY: &[u8] = b"default:shop.prices.price_of(article,currency):1:\xff0123456789abcdef0123456789abcdef";
const SIZES: [usize; 4] = [1 << 10, 64 << 10, 1 << 20, 64 << 20];
const ROUNDS: usize = 60;

/// Nanoseconds per run of each, best of the rounds.
fn best<const N: usize>(size: usize, mut jobs: [&mut dyn FnMut(); N]) -> [f64; N] {
    let (runs, rounds) = ((1 << 20) / size.clamp(1 << 10, 1 << 20), if size > 1 << 20 { 12 } else { ROUNDS });
    let mut best = [f64::INFINITY; N];
    for _ in 0..rounds {
        for (job, best) in jobs.iter_mut().zip(&mut best) {
            let start = Instant::now();
            (0..runs).for_each(|_| job());
            *best = best.min(start.elapsed().as_nanos() as f64 / runs as f64);
        }
    }
    best
}

fn line(what: &str, size: usize, [ring, all, ours]: [f64; 3]) {
    println!(
        "{what:<20} {:>7} KiB {ring:>12.0} {all:>12.0} {ours:>12.0} {:>7.2} {:>9.3} {:>10.3}",
        size >> 10,
        size as f64 / ours,
        ring / ours,
        all / ours,
    );
}

/// Ring by itself.
struct Ring {
    system: SystemRandom,
    aead: LessSafeKey,
    mac: hmac::Key,
}

impl Ring {
    fn encrypt(&self, associated: &[u8], bytes: &mut [u8]) -> ([u8; 12], Tag) {
        let mut nonce = [0; 12];
        self.system.fill(&mut nonce).unwrap();
        let unique = Nonce::assume_unique_for_key(nonce);
        (nonce, self.aead.seal_in_place_separate_tag(unique, Aad::from(associated), bytes).unwrap())
    }

    fn decrypt(&self, associated: &[u8], sealed: &[u8], nonce: [u8; 12], tag: Tag) {
        let mut copy = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.aead.open_in_place_separate_tag(nonce, Aad::from(associated), tag, &mut copy, 0..).unwrap();
        black_box(&copy);
    }

    fn sign(&self, associated: &[u8], bytes: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(associated);
        context.update(bytes);
        context.sign()
    }
}

fn main() {
    let keyring = Arc::new(Keyring::new(vec![Secret::from_bytes(&[7; 32]).unwrap()]).unwrap());
    let (encrypted, signed) = (Seal::Encrypted(Arc::clone(&keyring)), Seal::Signed(keyring));
    let meta = Meta { codec: "msgpack", codec_version: 1, created: 1, ..Meta::default() };
    let ring = Ring {
        system: SystemRandom::new(),
        aead: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap()),
        mac: hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]),
    };
    let none = &[][..];
    // The storage key with its length, and the header of a small entry.
    let all = &vec![7; 8 + KEY.len() + Seal::Open.headroom(&meta, 0).unwrap()][..];

    println!(
        "{:<32} {:>12} {:>12} {:>12} {:>7} {:>9} {:>10}",
        "", "ring ns", "ring, all ns", "entry ns", "GB/s", "of ring", "of all"
    );
    for size in SIZES {
        let payload: Vec<u8> = (0..size).map(|at| (at * 31) as u8).collect();

        let copied = |associated| {
            let mut copy = payload.clone();
            black_box(ring.encrypt(associated, &mut copy).1.as_ref());
            black_box(&copy);
        };
        let ours = &mut || drop(black_box(encrypted.seal(KEY, &meta, &payload).unwrap()));
        line("encrypt", size, best(size, [&mut || copied(none), &mut || copied(all), ours]));

        let headroom = encrypted.headroom(&meta, size).unwrap();
        let mut buffer = [vec![0; headroom], payload.clone()].concat();
        let bare = RefCell::new(payload.clone());
        let in_place = |associated| {
            black_box(ring.encrypt(associated, &mut bare.borrow_mut()).1.as_ref());
        };
        let ours = &mut || {
            black_box(encrypted.seal_in(KEY, &meta, &mut buffer, headroom).unwrap());
        };
        line("encrypt in place", size, best(size, [&mut || in_place(none), &mut || in_place(all), ours]));

        let mut sealed = [payload.clone(), payload.clone()];
        let [(nonce, tag), (nonce_all, tag_all)] =
            [ring.encrypt(none, &mut sealed[0]), ring.encrypt(all, &mut sealed[1])];
        let entry = encrypted.seal(KEY, &meta, &payload).unwrap();
        let payload_alone = &mut || ring.decrypt(none, &sealed[0], nonce, tag);
        let with_all = &mut || ring.decrypt(all, &sealed[1], nonce_all, tag_all);
        // By reference: a result is used where it is, not moved about as `black_box` would have it.
        let ours = &mut || assert!(black_box(&encrypted.open(KEY, "", &entry, 0, false)).is_ok());
        line("decrypt", size, best(size, [payload_alone, with_all, ours]));

        let copied = |associated| {
            let copy = payload.clone();
            black_box(ring.sign(associated, &copy));
            black_box(&copy);
        };
        let ours = &mut || drop(black_box(signed.seal(KEY, &meta, &payload).unwrap()));
        line("sign", size, best(size, [&mut || copied(none), &mut || copied(all), ours]));

        let entry = signed.seal(KEY, &meta, &payload).unwrap();
        let in_place = |associated| {
            black_box(ring.sign(associated, &payload));
        };
        let ours = &mut || assert!(black_box(&signed.open(KEY, "", &entry, 0, false)).is_ok());
        line("verify", size, best(size, [&mut || in_place(none), &mut || in_place(all), ours]));
    }

    println!("\n{:<32} {:>12} {:>12}", "", "unchecked ns", "checked ns");
    for size in SIZES {
        let entry = Seal::Checksum.seal(KEY, &Meta { expires: NEVER, ..meta }, &vec![5; size]).unwrap();
        let open = |verified| drop(black_box(Seal::Checksum.open(KEY, "", &entry, 0, verified).unwrap()));
        let [unchecked, checked] = best(size, [&mut || open(true), &mut || open(false)]);
        println!("{:<20} {:>7} KiB {unchecked:>12.0} {checked:>12.0}", "open with checksum", size >> 10);
    }
}
