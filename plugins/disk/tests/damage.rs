//! Damaged databases and value files are set aside, and the cache goes on.

mod common;

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{argument, run, spawn, value_files, Cache, Scratch};
use retainit_plugin_api::abi::host::evict;
use retainit_plugin_api::sdk::ErrorKind;

const LARGE: usize = 100_000;

/// A cache with entries, closed, its log copied into the database and emptied: pages that are still in
/// the log would be read from there, whatever became of the database.
fn filled(path: &Path) {
    let cache = Cache::open(path);
    for number in 0..300 {
        cache.set(&format!("key:{number}"), &[number as u8; 2000]).unwrap();
    }
    drop(cache);
    let sql = rusqlite::Connection::open(database(path)).unwrap();
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

fn database(path: &Path) -> std::path::PathBuf {
    path.join("db/entries.sqlite")
}

/// Whatever was there: each read gives the right value or none, a write works and stays, and one
/// damaged database was set aside and reported.
fn recovers(scratch: &Scratch) {
    let path = scratch.cache();
    let cache = Cache::open(&path);
    for number in 0..300 {
        if let Some(value) = cache.value(&format!("key:{number}")) {
            assert_eq!(value, [number as u8; 2000]);
        }
    }
    cache.set("new", b"value").unwrap();
    assert_eq!(cache.value("new").unwrap(), b"value");
    assert_eq!(Cache::damaged(&path).len(), 1);
    assert!(cache.host.invalidations.load(Ordering::SeqCst) >= 1);
    let lines = cache.host.lines.lock().unwrap();
    assert!(lines.iter().any(|line| line.contains("was damaged") && line.contains("set aside")), "{lines:?}");
    drop(lines);
    drop(cache);
    let again = Cache::open(&path);
    assert_eq!(again.value("new").unwrap(), b"value");
    assert_eq!(Cache::damaged(&path).len(), 1, "the new one is not damaged");
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_file_that_is_no_database() {
    let scratch = Scratch::new("text");
    filled(&scratch.cache());
    fs::write(
        database(&scratch.cache()),
        "this is not a database, but it is as long as a header needs to be, and longer still",
    )
    .unwrap();
    recovers(&scratch);
}

#[test]
fn a_header_of_zeros() {
    let scratch = Scratch::new("zeros");
    filled(&scratch.cache());
    overwrite(&database(&scratch.cache()), 0, &[0; 100]);
    recovers(&scratch);
}

#[test]
fn pages_of_noise() {
    let scratch = Scratch::new("noise");
    filled(&scratch.cache());
    let len = fs::metadata(database(&scratch.cache())).unwrap().len();
    // All but the first page, which holds the schema.
    let noise: Vec<u8> = (0..len - 4096).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    overwrite(&database(&scratch.cache()), 4096, &noise);
    recovers(&scratch);
}

#[test]
fn a_database_cut_short() {
    let scratch = Scratch::new("short");
    filled(&scratch.cache());
    OpenOptions::new().write(true).open(database(&scratch.cache())).unwrap().set_len(2 * 4096).unwrap();
    recovers(&scratch);
}

#[test]
fn tables_of_somebody_else() {
    let scratch = Scratch::new("foreign");
    fs::create_dir_all(scratch.cache().join("db")).unwrap();
    for path in [scratch.cache(), scratch.cache().join("db")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
    let sql = rusqlite::Connection::open(database(&scratch.cache())).unwrap();
    sql.execute_batch("CREATE TABLE entry (name TEXT)").unwrap();
    drop(sql);
    recovers(&scratch);
}

#[test]
fn our_header_over_other_tables() {
    let scratch = Scratch::new("schema");
    filled(&scratch.cache());
    let sql = rusqlite::Connection::open(database(&scratch.cache())).unwrap();
    sql.execute_batch("ALTER TABLE entry RENAME COLUMN token TO version").unwrap();
    drop(sql);
    recovers(&scratch);
}

#[test]
fn a_directory_in_place_of_the_database() {
    let scratch = Scratch::new("directory");
    filled(&scratch.cache());
    fs::remove_file(database(&scratch.cache())).unwrap();
    fs::create_dir(database(&scratch.cache())).unwrap();
    let cache = Cache::open(&scratch.cache());
    cache.set("new", b"value").unwrap();
    assert_eq!(cache.value("new").unwrap(), b"value");
    assert_eq!(Cache::damaged(&scratch.cache()).len(), 1);
}

#[test]
fn a_log_of_noise_costs_nothing_but_itself() {
    let scratch = Scratch::new("log");
    filled(&scratch.cache());
    let log = scratch.cache().join("db/entries.sqlite-wal");
    fs::write(&log, vec![0xA5; 50_000]).unwrap();
    let _ = fs::remove_file(scratch.cache().join("db/entries.sqlite-shm"));
    let cache = Cache::open(&scratch.cache());
    for number in 0..300 {
        assert_eq!(cache.value(&format!("key:{number}")).unwrap(), [number as u8; 2000]);
    }
    cache.set("new", b"value").unwrap();
}

#[test]
fn damage_under_an_open_instance() {
    let scratch = Scratch::new("open");
    filled(&scratch.cache());
    let cache = Cache::open(&scratch.cache());
    assert!(cache.value("key:1").is_some());
    let len = fs::metadata(database(&scratch.cache())).unwrap().len() as usize;
    overwrite(&database(&scratch.cache()), 0, &vec![0xFF; len]);
    for number in 0..300 {
        let value = cache.value(&format!("key:{number}"));
        assert!(value.is_none_or(|value| value == [number as u8; 2000]));
    }
    cache.set("new", b"value").unwrap();
    assert_eq!(cache.value("new").unwrap(), b"value");
    assert_eq!(Cache::damaged(&scratch.cache()).len(), 1);
}

#[test]
fn a_removed_directory_is_noticed_and_made_anew() {
    let scratch = Scratch::new("removed");
    let cache = Cache::open(&scratch.cache());
    cache.set("old", b"value").unwrap();
    cache.set("large", &[1; LARGE]).unwrap();
    fs::remove_dir_all(scratch.cache()).unwrap();
    cache.pass(Duration::from_secs(1));
    assert_eq!(cache.value("old"), None);
    cache.set("new", b"value").unwrap();
    cache.set("large", &[2; LARGE]).unwrap();
    let other = Cache::open(&scratch.cache());
    assert_eq!(other.value("new").unwrap(), b"value");
    assert_eq!(other.value("large").unwrap(), [2; LARGE]);
}

#[test]
fn a_removed_directory_does_not_lose_a_large_write() {
    let scratch = Scratch::new("removed-large");
    let cache = Cache::open(&scratch.cache());
    cache.set("old", b"value").unwrap();
    fs::remove_dir_all(scratch.cache()).unwrap();
    // At once, before anybody looks whether the directory is still there.
    cache.set("large", &[2; LARGE]).unwrap();
    assert_eq!(Cache::open(&scratch.cache()).value("large").unwrap(), [2; LARGE]);
}

#[test]
fn only_three_damaged_ones_are_kept() {
    let scratch = Scratch::new("bounded");
    for _ in 0..5 {
        filled(&scratch.cache());
        fs::write(database(&scratch.cache()), [0x55; 4096]).unwrap();
    }
    filled(&scratch.cache());
    assert_eq!(Cache::damaged(&scratch.cache()).len(), 3);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let scratch = Scratch::new("newer");
    filled(&scratch.cache());
    let sql = rusqlite::Connection::open(database(&scratch.cache())).unwrap();
    sql.execute_batch("PRAGMA user_version = 2").unwrap();
    drop(sql);
    let error = Cache::open(&scratch.cache()).get("key:1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(
        error.message(),
        "the cache was written by a newer version (format 2, expected 1); hint: choose another `base_path`"
    );
    assert!(Cache::damaged(&scratch.cache()).is_empty());
}

/// Opens, reads, writes, and lives for a while.
#[test]
#[ignore = "started by the test below"]
fn opener() {
    let cache = Cache::open(Path::new(&argument("CACHE")));
    let own = argument("OWN");
    cache.set(&own, own.as_bytes()).unwrap();
    for _ in 0..200 {
        assert_eq!(cache.value(&own).unwrap(), own.as_bytes(), "a rebuilt database was set aside again");
    }
}

#[test]
fn several_processes_rebuild_once() {
    for round in 0..5 {
        let scratch = Scratch::new("several");
        let path = scratch.cache();
        filled(&path);
        overwrite(&database(&path), 0, &[0x11; 8192]);
        let owns: Vec<String> = (0..6).map(|process| format!("own:{round}:{process}")).collect();
        let children: Vec<_> = owns
            .iter()
            .map(|own| spawn("opener", &[("CACHE", path.to_str().unwrap()), ("OWN", own)]))
            .collect();
        for child in children {
            assert!(child.wait_with_output().unwrap().status.success());
        }
        assert_eq!(Cache::damaged(&path).len(), 1);
        let cache = Cache::open(&path);
        for own in &owns {
            assert_eq!(cache.value(own).unwrap(), own.as_bytes());
        }
    }
}

/// Damages one file and reads: the entry is gone, was reported, and can be written again.
fn file_is_set_aside(name: &str, aside: usize, damage: impl Fn(&Path)) {
    let scratch = Scratch::new(name);
    let path = scratch.cache();
    {
        let cache = Cache::open(&path);
        cache.set("large", &[3; LARGE]).unwrap();
        cache.set("other", &[4; LARGE]).unwrap();
        assert_eq!(value_files(&path).len(), 2);
    }
    let victim = value_files(&path).into_iter().find(|file| fs::read(file).unwrap()[0] == 3).unwrap();
    damage(&victim);
    let cache = Cache::open(&path);
    assert_eq!(cache.value("large"), None);
    assert_eq!(cache.evicted(evict::CORRUPT), [b"large".to_vec()]);
    assert_eq!(Cache::damaged(&path).len(), aside);
    assert_eq!(cache.value("other").unwrap(), [4; LARGE]);
    cache.set("large", &[5; LARGE]).unwrap();
    assert_eq!(cache.value("large").unwrap(), [5; LARGE]);
    assert_eq!(cache.count(), 2);
}

#[test]
fn a_missing_value_file() {
    file_is_set_aside("missing", 0, |file| fs::remove_file(file).unwrap());
}

#[test]
fn a_value_file_cut_short() {
    file_is_set_aside("cut", 1, |file| {
        OpenOptions::new().write(true).open(file).unwrap().set_len(LARGE as u64 / 2).unwrap()
    });
}

#[test]
fn an_empty_value_file() {
    file_is_set_aside("empty", 1, |file| fs::write(file, "").unwrap());
}

#[test]
fn a_value_file_grown() {
    file_is_set_aside("grown", 1, |file| {
        OpenOptions::new().append(true).open(file).unwrap().write_all(b"more").unwrap()
    });
}

#[test]
fn a_link_in_place_of_a_value_file() {
    file_is_set_aside("link", 1, |file| {
        fs::rename(file, file.with_extension("real")).unwrap();
        std::os::unix::fs::symlink(file.with_extension("real"), file).unwrap();
    });
}

#[test]
fn a_value_file_that_everybody_may_write() {
    file_is_set_aside("writable", 1, |file| {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    });
}

#[test]
fn a_value_file_cut_short_after_it_was_mapped_does_not_end_the_process() {
    let scratch = Scratch::new("mapped");
    let cache = Cache::open(&scratch.cache());
    cache.set("large", &[3; LARGE]).unwrap();
    assert_eq!(cache.value("large").unwrap(), [3; LARGE]);
    OpenOptions::new().write(true).open(&value_files(&scratch.cache())[0]).unwrap().set_len(10).unwrap();
    assert_eq!(cache.value("large"), None);
}

#[test]
fn a_row_that_names_a_file_elsewhere_does_not_lead_there() {
    let scratch = Scratch::new("elsewhere");
    let secret = scratch.path().join("secret");
    fs::write(&secret, [9; LARGE]).unwrap();
    Cache::open(&scratch.cache()).set("large", &[3; LARGE]).unwrap();
    let sql = rusqlite::Connection::open(database(&scratch.cache())).unwrap();
    sql.execute("UPDATE entry SET file = ?1", [secret.to_str().unwrap()]).unwrap();
    drop(sql);
    let cache = Cache::open(&scratch.cache());
    assert_eq!(cache.value("large"), None);
    assert_eq!(fs::read(&secret).unwrap(), [9; LARGE], "neither read nor moved nor removed");
}

/// A read of a database whose pages vanish must not be a signal.
#[test]
#[ignore = "started by the test below"]
fn reader_of_a_shrinking_database() {
    let path = std::path::PathBuf::from(argument("CACHE"));
    let cache = Cache::open(&path);
    assert!(cache.value("key:1").is_some());
    OpenOptions::new().write(true).open(database(&path)).unwrap().set_len(4096).unwrap();
    for number in 0..300 {
        let value = cache.value(&format!("key:{number}"));
        assert!(value.is_none_or(|value| value == [number as u8; 2000]));
    }
    cache.set("new", b"value").unwrap();
}

#[test]
fn a_database_cut_short_while_open_does_not_end_the_process() {
    let scratch = Scratch::new("shrinking");
    filled(&scratch.cache());
    run("reader_of_a_shrinking_database", &[("CACHE", scratch.cache().to_str().unwrap())]);
}
