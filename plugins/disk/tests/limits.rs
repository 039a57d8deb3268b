//! Full disks, read-only directories, and who may read what.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use common::{argument, message, run, Cache, Scratch};
use retainit_plugin_api::sdk::{Backend, Entry, ErrorKind, Value, NEVER};

const LARGE: usize = 100_000;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn all_below(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![path.to_owned()];
    for entry in fs::read_dir(path).unwrap().flatten() {
        match entry.path().is_dir() {
            true => found.extend(all_below(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

/// Makes a cache with every kind of file, under the umask that was given.
#[test]
#[ignore = "started by the test below"]
fn maker() {
    // SAFETY: changes this process only.
    unsafe { libc::umask(u32::from_str_radix(&argument("UMASK"), 8).unwrap() as libc::mode_t) };
    let options = serde_json::from_str(&argument("OPTIONS")).unwrap();
    let cache = Cache::with(Path::new(&argument("CACHE")), options);
    cache.set("small", b"value").unwrap();
    cache.set("large", &[1; LARGE]).unwrap();
    assert_eq!(cache.value("large").unwrap(), [1; LARGE]);
    // As long as it is open, the log and its index are there.
    let (directory, file): (u32, u32) =
        (argument("DIR_MODE").parse().unwrap(), argument("FILE_MODE").parse().unwrap());
    let all = all_below(Path::new(&argument("CACHE")));
    for path in &all {
        assert_eq!(mode(path), if path.is_dir() { directory } else { file }, "{}", path.display());
    }
    for name in ["entries.sqlite", "entries.sqlite-wal", "entries.sqlite-shm", "lock"] {
        assert!(all.iter().any(|path| path.ends_with(name)), "{name}");
    }
    assert_eq!(all.len(), 9, "{all:?}");
}

#[test]
fn directories_and_files_have_their_modes_under_any_umask() {
    for (umask, options, directory, file) in [
        ("000", "{}", 0o700, 0o600),
        ("022", "{}", 0o700, 0o600),
        ("077", "{}", 0o700, 0o600),
        ("077", r#"{"dir_mode": 488, "file_mode": 416}"#, 0o750, 0o640),
    ] {
        let scratch = Scratch::new("modes");
        let (directory, file): (u32, u32) = (directory, file);
        run(
            "maker",
            &[
                ("CACHE", scratch.cache().to_str().unwrap()),
                ("UMASK", umask),
                ("OPTIONS", options),
                ("DIR_MODE", &directory.to_string()),
                ("FILE_MODE", &file.to_string()),
            ],
        );
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    for (mode, who) in [(0o777, "everybody"), (0o770, "its group")] {
        let scratch = Scratch::new("writable");
        let path = scratch.cache();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = Cache::try_with(&path, serde_json::json!({})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(
            error.message(),
            format!("directory `{0}` can be written by {who} (mode {mode:#o}): expected 0o700; hint: `chmod 700 {0}`", path.display())
        );
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Cache::open(&path).set("key", b"value").unwrap();
    }
}

#[test]
fn a_directory_that_comes_later_is_checked_before_it_is_used() {
    let scratch = Scratch::new("later");
    let path = scratch.cache();
    let cache = Cache::open(&path);
    assert!(!path.exists(), "opening makes nothing");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
    let error = cache.set("key", b"value").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.message().contains("can be written by everybody (mode 0o777): expected 0o700"), "{error}");
    fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
    cache.set("key", b"value").unwrap();
}

#[test]
fn a_shared_group_can_be_asked_for() {
    let scratch = Scratch::new("group");
    let path = scratch.cache();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o770)).unwrap();
    Cache::with(&path, serde_json::json!({"dir_mode": 0o770, "file_mode": 0o660}))
        .set("key", b"value")
        .unwrap();
}

#[test]
fn a_database_that_others_could_have_written_is_refused() {
    let scratch = Scratch::new("database");
    Cache::open(&scratch.cache()).set("key", b"value").unwrap();
    fs::set_permissions(scratch.cache().join("db/entries.sqlite"), Permissions::from_mode(0o666)).unwrap();
    let error = Cache::open(&scratch.cache()).get("key").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.message().contains("could have been written by somebody else"), "{error}");
}

#[test]
fn a_path_through_a_file_is_a_configuration_error() {
    let scratch = Scratch::new("through");
    fs::write(scratch.cache(), "a file").unwrap();
    for path in [scratch.cache(), scratch.cache().join("below")] {
        let error = Cache::try_with(&path, serde_json::json!({})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.message().contains("hint: choose another `base_path`"), "{error}");
    }
    assert_eq!(fs::read(scratch.cache()).unwrap(), b"a file");
}

/// Becomes somebody whom permissions bind.
fn drop_rights() {
    // SAFETY: changes this process only, which has one thread besides the harness's.
    unsafe {
        if libc::geteuid() == 0 {
            assert_eq!(libc::setgid(65534), 0);
            assert_eq!(libc::setuid(65534), 0);
        }
    }
}

/// Fills a cache, takes its rights to write away, and goes on.
#[test]
#[ignore = "started by the test below"]
fn owner_of_a_read_only_directory() {
    let scratch = std::path::PathBuf::from(argument("CACHE"));
    drop_rights();
    let path = scratch.join("cache");
    let cache = Cache::open(&path);
    cache.set("small", b"value").unwrap();
    cache.set("large", &[1; LARGE]).unwrap();
    for directory in all_below(&path).iter().filter(|path| path.is_dir()) {
        fs::set_permissions(directory, Permissions::from_mode(0o500)).unwrap();
    }
    // An open instance reads on, and refuses what needs a new file.
    assert_eq!(cache.value("small").unwrap(), b"value");
    assert_eq!(cache.value("large").unwrap(), [1; LARGE]);
    let error = cache.set("larger", &[2; LARGE]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.message().contains("hint: give this user the right to write there"), "{error}");
    // So does one that is opened now.
    let late = Cache::open(&path);
    assert_eq!(late.value("small").unwrap(), b"value");
    assert_eq!(late.value("large").unwrap(), [1; LARGE]);
    drop((late, cache));
    // Without anything in it, there is nothing to read, and the error says what to do.
    let empty = scratch.join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, Permissions::from_mode(0o500)).unwrap();
    for path in [empty.clone(), empty.join("below")] {
        let cache = Cache::open(&path);
        assert_eq!(cache.get("small").unwrap_err().kind(), ErrorKind::Configuration);
        assert!(
            message(cache.set("small", b"value")).contains("hint: give this user the right to write there")
        );
    }
    // Given back, everything is as it was.
    for directory in all_below(&path).iter().filter(|path| path.is_dir()) {
        fs::set_permissions(directory, Permissions::from_mode(0o700)).unwrap();
    }
    let cache = Cache::open(&path);
    assert_eq!(cache.value("large").unwrap(), [1; LARGE]);
    cache.set("larger", &[2; LARGE]).unwrap();
    assert!(Cache::damaged(&path).is_empty());
}

#[test]
fn a_read_only_directory_is_read_and_not_written() {
    let scratch = Scratch::new("read-only");
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o777)).unwrap();
    run("owner_of_a_read_only_directory", &[("CACHE", scratch.path().to_str().unwrap())]);
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    // SAFETY: has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        // Only root can give a directory away; everybody has root's.
        let cache = Cache::open(Path::new("/"));
        let error = cache.set("key", b"value").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        return;
    }
    let scratch = Scratch::new("foreign");
    fs::create_dir(scratch.cache()).unwrap();
    std::os::unix::fs::chown(scratch.cache(), Some(12345), None).unwrap();
    let error = Cache::try_with(&scratch.cache(), serde_json::json!({})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.message().contains("belongs to user 12345: expected user 0 or root; hint: `chown 0 "),
        "{error}"
    );
}

/// Files of this process may grow to 300 KB and no further: every write beyond fails as on a full disk.
#[test]
#[ignore = "started by the test below"]
fn writer_on_a_full_disk() {
    let path = std::path::PathBuf::from(argument("CACHE"));
    let cache = Cache::with(&path, serde_json::json!({"inline_limit": 200_000}));
    cache.set("before", b"value").unwrap();
    // SAFETY: changes this process only; without the signal's default, writes fail with EFBIG.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let limit = libc::rlimit { rlim_cur: 300_000, rlim_max: 300_000 };
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    let mut stored = Vec::new();
    let mut failed = 0;
    for number in 0..100 {
        match cache.set(&format!("key:{number}"), &[number; 20_000]) {
            Ok(()) => stored.push(number),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Retryable, "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 50 && !stored.is_empty(), "{failed}");
    // Into a file of its own.
    let error = cache.set("large", &[1; 400_000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retryable, "{error}");
    assert!(error.message().contains("hint: the disk is full"), "{error}");
    // What was acknowledged is there, what failed is not, and no half-written file stays behind.
    for number in 0..100u8 {
        let expected = stored.contains(&number).then(|| vec![number; 20_000]);
        assert_eq!(cache.value(&format!("key:{number}")), expected);
    }
    assert_eq!(cache.value("before").unwrap(), b"value");
    assert_eq!(cache.value("large"), None);
    assert!(common::value_files(&path).is_empty());
    assert!(Cache::damaged(&path).is_empty());
}

#[test]
fn a_full_disk_refuses_writes_and_damages_nothing() {
    let scratch = Scratch::new("full");
    run("writer_on_a_full_disk", &[("CACHE", scratch.cache().to_str().unwrap())]);
    let cache = Cache::open(&scratch.cache());
    assert_eq!(cache.value("before").unwrap(), b"value");
    cache.set("after", &[7; LARGE]).unwrap();
    assert_eq!(cache.value("after").unwrap(), [7; LARGE]);
}

#[test]
fn a_lock_held_elsewhere_ends_with_the_deadline() {
    let scratch = Scratch::new("deadline");
    let cache = Cache::with(&scratch.cache(), serde_json::json!({"busy_timeout": 0.02}));
    cache.set("key", b"before").unwrap();
    let other = rusqlite::Connection::open(scratch.cache().join("db/entries.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let entry = || Entry { key: b"key", value: Value::from_vec(b"after".to_vec()), ttl: NEVER };
    let error = cache
        .call_for(Some(Duration::from_millis(5)), |backend, call| backend.set(call, entry()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let error = cache.call(|backend, call| backend.set(call, entry())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    // Readers do not wait for writers.
    assert_eq!(cache.value("key").unwrap(), b"before");
    other.execute_batch("ROLLBACK").unwrap();
    cache.set("key", b"after").unwrap();
}

#[test]
fn objects_are_refused() {
    let scratch = Scratch::new("objects");
    let cache = Cache::open(&scratch.cache());
    let raw = retainit_plugin_api::abi::value::Value {
        kind: 2,
        len: 8,
        ..retainit_plugin_api::abi::value::Value::NONE
    };
    // SAFETY: there is nothing to release.
    let entry = Entry { key: b"key", value: unsafe { Value::from_raw(raw) }, ttl: NEVER };
    let error = cache.call(|backend, call| backend.set(call, entry)).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Invalid, "the disk backend keeps bytes, not objects")
    );
}
