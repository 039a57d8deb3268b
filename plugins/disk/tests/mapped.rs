//! Values from files while somebody changes, removes or shortens the files, and while their holders write.

mod common;

use std::ffi::{c_int, c_void};
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use common::{argument, run, spawn, value_files, Cache, Scratch};
use retainit_disk::DiskBackend;
use retainit_plugin_api::abi::host::evict;
use retainit_plugin_api::sdk::{Backend, Item};

/// Large enough to be mapped, and not a whole number of pages.
const LARGE: usize = 1_000_003;
/// What a shortened file has left.
const LEFT: usize = 10_000;
/// The end of the page in which that ends, on machines with pages of 4 KiB.
const PAGE_END: usize = 12_288;

fn hold(cache: &Cache, key: &str) -> Item {
    cache.call(|backend, call| backend.get(call, key.as_bytes())).unwrap().unwrap()
}

fn bytes(item: &Item) -> &[u8] {
    item.value.as_bytes().unwrap()
}

fn write(item: &Item, at: usize, byte: u8) {
    assert!(at < bytes(item).len());
    DiskBackend::claim(&item.value).unwrap();
    // SAFETY: within the value, which belongs to this reference alone now; no slice of it is alive.
    unsafe { item.value.as_raw().ptr.cast_mut().add(at).write(byte) }
}

fn only_file(path: &Path) -> File {
    let files = value_files(path);
    assert_eq!(files.len(), 1);
    OpenOptions::new().write(true).open(&files[0]).unwrap()
}

#[test]
fn file_kept_values_are_aligned_and_their_own() {
    let scratch = Scratch::new("aligned");
    let cache = Cache::open(&scratch.cache());
    for len in [32 * 1024 + 1, 64 * 1024, 64 * 1024 + 1, 200_000, LARGE] {
        cache.set("key", &vec![7; len]).unwrap();
        let items: Vec<Item> = (0..4).map(|_| hold(&cache, "key")).collect();
        for (number, item) in items.iter().enumerate() {
            let alignment = if len > 64 * 1024 { 4096 } else { 64 };
            assert_eq!(bytes(item).as_ptr() as usize % alignment, 0, "{len} bytes");
            assert_eq!(bytes(item), vec![7; len]);
            write(item, 0, number as u8);
            write(item, len - 1, number as u8);
        }
        for (number, item) in items.iter().enumerate() {
            assert_eq!((bytes(item)[0], bytes(item)[len - 1]), (number as u8, number as u8));
        }
        assert_eq!(fs::read(&value_files(&scratch.cache())[0]).unwrap(), vec![7; len], "the file");
    }
}

/// What the kernel says of writing to the value; it raises no signal when it does so itself.
fn is_writable(item: &Item) -> bool {
    let zeros = File::open("/dev/zero").unwrap();
    let start = item.value.as_raw().ptr.cast_mut().cast();
    // SAFETY: where the value can be written to, this test alone has it.
    unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(&zeros), start, 1) == 1 }
}

#[test]
fn what_nobody_claims_cannot_be_written_to_and_is_used_again() {
    let scratch = Scratch::new("unclaimed");
    let cache = Cache::open(&scratch.cache());
    cache.set("key", &[7; LARGE]).unwrap();
    let first = hold(&cache, "key");
    assert!(!is_writable(&first));
    assert_eq!(bytes(&first), [7; LARGE]);
    let place = bytes(&first).as_ptr();
    let second = hold(&cache, "key");
    assert_ne!(bytes(&second).as_ptr(), place, "nobody else's while it is held");
    drop(first);
    let third = hold(&cache, "key");
    assert_eq!(bytes(&third).as_ptr(), place);
    assert!(!is_writable(&third));
}

#[test]
fn what_was_claimed_is_writable_and_never_used_again() {
    let scratch = Scratch::new("claimed");
    let cache = Cache::open(&scratch.cache());
    cache.set("key", &[7; LARGE]).unwrap();
    for round in 0..6 {
        let (read, written) = (hold(&cache, "key"), hold(&cache, "key"));
        // Twice, and through a second reference, as hosts may.
        let share = written.value.share_bytes().unwrap().slice(10..20).unwrap();
        DiskBackend::claim(&share).unwrap();
        assert!(is_writable(&written) && !is_writable(&read), "round {round}");
        write(&written, LARGE - 1, 9);
        drop(written);
        assert_eq!(share.as_bytes().unwrap(), [7; 10], "held by the other reference");
        drop((share, read));
        let again = hold(&cache, "key");
        assert!(!is_writable(&again), "round {round}");
        assert_eq!(bytes(&again), [7; LARGE], "round {round}");
    }
    assert_eq!(fs::read(&value_files(&scratch.cache())[0]).unwrap(), [7; LARGE], "the file");
}

#[test]
fn small_values_can_be_claimed_too() {
    let scratch = Scratch::new("claimed-small");
    let cache = Cache::open(&scratch.cache());
    for len in [1, 1000, 40_000] {
        cache.set("key", &vec![7; len]).unwrap();
        let (one, other) = (hold(&cache, "key"), hold(&cache, "key"));
        write(&one, 0, 1);
        assert_eq!((bytes(&one)[0], bytes(&other)[0]), (1, 7), "{len} bytes");
    }
}

#[test]
fn a_value_stays_when_its_file_is_removed_or_replaced() {
    let scratch = Scratch::new("removed");
    let path = scratch.cache();
    let cache = Cache::open(&path);
    for replaced in [false, true] {
        cache.set("key", &[7; LARGE]).unwrap();
        let before = hold(&cache, "key");
        let file = value_files(&path).remove(0);
        fs::remove_file(&file).unwrap();
        if replaced {
            // Of the right length, but not what was stored: it must not be read as such.
            fs::write(&file, [8; LARGE]).unwrap();
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        assert_eq!(cache.value("key"), None, "replaced: {replaced}");
        assert_eq!(cache.evicted(evict::CORRUPT).len(), 1 + usize::from(replaced));
        assert_eq!(bytes(&before), [7; LARGE]);
    }
}

#[test]
fn a_file_that_was_written_to_is_no_answer() {
    let scratch = Scratch::new("written");
    let cache = Cache::open(&scratch.cache());
    cache.set("key", &[7; LARGE]).unwrap();
    assert_eq!(cache.value("key").unwrap(), [7; LARGE]);
    let file = only_file(&scratch.cache());
    std::os::unix::fs::FileExt::write_all_at(&file, b"changed", 500).unwrap();
    // Were it within one tick of the clock, the times would be the same.
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(cache.value("key"), None);
    assert_eq!(cache.evicted(evict::CORRUPT), [b"key".to_vec()]);
}

/// Reads a value whose file is cut short while it is held.
#[test]
#[ignore = "started by the test below"]
fn holder() {
    let path = std::path::PathBuf::from(argument("CACHE"));
    let cache = Cache::open(&path);
    let original: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8 + 1).collect();
    cache.set("key", &original).unwrap();
    let (held, written) = (hold(&cache, "key"), hold(&cache, "key"));
    write(&written, 500_000, 99);
    let file = only_file(&path);
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_len(LEFT as u64).unwrap();
    for (item, threads) in [(&held, 4), (&written, 1)] {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    assert_eq!(bytes(item)[..LEFT], original[..LEFT]);
                    assert!(bytes(item)[LEFT..].iter().all(|byte| *byte == 0), "what is lost reads as zeros");
                });
            }
        });
    }
    write(&held, LARGE - 1, 5);
    assert_eq!(bytes(&held)[LARGE - 1], 5, "and can be written to");
    // Even a file that looks as before is not read again.
    file.set_len(LARGE as u64).unwrap();
    file.set_modified(modified).unwrap();
    drop((held, written));
    assert_eq!(cache.value("key"), None);
    assert_eq!(cache.evicted(evict::CORRUPT), [b"key".to_vec()]);
    cache.set("key", &original).unwrap();
    assert_eq!(cache.value("key").unwrap(), original);
}

#[test]
fn a_file_cut_short_under_a_value_does_not_end_the_process() {
    let scratch = Scratch::new("cut");
    run("holder", &[("CACHE", scratch.cache().to_str().unwrap())]);
}

/// Code of somebody else reads beyond the end of its own mapped file.
fn fault_elsewhere(scratch: &Path) {
    let path = scratch.join("elsewhere");
    fs::write(&path, [1; PAGE_END]).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    // SAFETY: the map is read where its file has ended, which is what is to be shown.
    let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
    file.set_len(0).unwrap();
    std::hint::black_box(map[5000]);
    unreachable!("the read went on");
}

extern "C" fn leave(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives a valid structure.
    let by_fault = unsafe { (*info).si_code > 0 };
    // SAFETY: ends the process at once, as a handler may.
    unsafe { libc::_exit(if by_fault { 42 } else { 43 }) };
}

extern "C" fn repeat(signal: c_int) {
    // As Python's faulthandler does: it says what it has to say, and sends the signal again.
    // SAFETY: both may be called in a handler.
    unsafe {
        libc::write(1, c"repeated\n".as_ptr().cast(), 9);
        libc::raise(signal);
    }
}

/// With a value held and its file cut short, and with handlers of others.
#[test]
#[ignore = "started by the tests below"]
fn faulty() {
    let scratch = std::path::PathBuf::from(argument("SCRATCH"));
    let install = |handler: usize, flags: c_int| {
        // SAFETY: the structure is valid for the call, and the handlers do what handlers may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            action.sa_flags = flags;
            assert_eq!(libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()), 0);
        }
    };
    let other = || match argument("HANDLER").as_str() {
        "leave" => install(leave as *const () as usize, libc::SA_SIGINFO),
        "repeat" => install(repeat as *const () as usize, libc::SA_NODEFER),
        "default" => install(libc::SIG_DFL, 0),
        "ignore" => install(libc::SIG_IGN, 0),
        other => panic!("`{other}`"),
    };
    if argument("WHEN") == "before" {
        other();
    }
    let cache = Cache::open(&scratch.join("cache"));
    cache.set("key", &[7; LARGE]).unwrap();
    let first = hold(&cache, "key");
    if argument("WHEN") == "after" {
        other();
    }
    let second = hold(&cache, "key");
    only_file(&scratch.join("cache")).set_len(LEFT as u64).unwrap();
    for item in [&first, &second] {
        assert!(bytes(item)[PAGE_END..].iter().all(|byte| *byte == 0));
    }
    println!("the value was read");
    match argument("SIGNAL").as_str() {
        "fault" => fault_elsewhere(&scratch),
        _ => {
            // SAFETY: has no preconditions.
            unsafe { libc::raise(libc::SIGBUS) };
        }
    }
}

/// How a process ends that gets a SIGBUS of another origin.
fn ends(when: &str, handler: &str, signal: &str) -> (std::process::ExitStatus, usize) {
    let scratch = Scratch::new("faulty");
    let arguments = [
        ("SCRATCH", scratch.path().to_str().unwrap()),
        ("WHEN", when),
        ("HANDLER", handler),
        ("SIGNAL", signal),
    ];
    let output = spawn("faulty", &arguments).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("the value was read"), "{when} {handler} {signal}: {}\n{text}", output.status);
    (output.status, text.matches("repeated").count())
}

#[test]
fn a_fault_elsewhere_kills_as_before() {
    for when in ["before", "after"] {
        for signal in ["fault", "raise"] {
            let (status, _) = ends(when, "default", signal);
            assert_eq!(status.signal(), Some(libc::SIGBUS), "{when} {signal}");
        }
        // A fault cannot be ignored; a signal that was sent can.
        assert_eq!(ends(when, "ignore", "fault").0.signal(), Some(libc::SIGBUS), "{when}");
        assert_eq!(ends(when, "ignore", "raise").0.code(), Some(0), "{when}");
    }
}

#[test]
fn a_fault_elsewhere_reaches_the_handler_that_was_there() {
    for when in ["before", "after"] {
        assert_eq!(ends(when, "leave", "fault").0.code(), Some(42), "{when}");
        assert_eq!(ends(when, "leave", "raise").0.code(), Some(43), "{when}");
    }
}

#[test]
fn a_handler_that_sends_the_signal_again_is_called_once() {
    // It came over ours, so what it sends goes to the one that was there at first.
    let (status, times) = ends("after", "repeat", "fault");
    assert_eq!((status.signal(), times), (Some(libc::SIGBUS), 1));
}

/// Holds more values than may be mapped.
#[test]
#[ignore = "started by the test below"]
fn hoarder() {
    let cache = Cache::open(Path::new(&argument("CACHE")));
    let value = vec![7; 64 * 1024 + 1];
    cache.set("key", &value).unwrap();
    let items: Vec<Item> = (0..17_000).map(|_| hold(&cache, "key")).collect();
    for item in items.iter().step_by(500).chain(items.last()) {
        assert_eq!(bytes(item), value);
    }
    assert!(items.iter().any(|item| bytes(item).as_ptr() as usize & 4095 != 0), "the last ones are copies");
    let maps = fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    assert!(maps < 20_000, "{maps}");
}

#[cfg(target_os = "linux")]
#[test]
fn more_values_than_may_be_mapped_are_held() {
    let scratch = Scratch::new("hoarder");
    run("hoarder", &[("CACHE", scratch.cache().to_str().unwrap())]);
}

/// Page faults of this thread so far.
#[cfg(target_os = "linux")]
fn faults() -> i64 {
    // SAFETY: the structure is valid for the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage.ru_minflt
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_map_that_was_only_read_serves_the_next_reader() {
    let scratch = Scratch::new("again");
    let cache = Cache::open(&scratch.cache());
    let value = vec![7; 8 * LARGE];
    cache.set("key", &value).unwrap();
    let read = |by_writing: bool| {
        let item = hold(&cache, "key");
        let before = faults();
        assert_eq!(bytes(&item).iter().map(|byte| u64::from(*byte)).sum::<u64>(), 7 * value.len() as u64);
        let after = faults();
        if by_writing {
            write(&item, 700_000, 9);
        }
        after - before
    };
    // How many pages come with each fault is the system's affair: up to two megabytes.
    assert!(read(false) >= 3, "a new map is faulted in");
    assert!(read(false) <= 1, "a used one was");
    assert!(read(true) <= 1);
    assert!(read(false) >= 3, "one that was written to is not given again");
}
