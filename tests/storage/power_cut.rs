//! Power cuts: what was acknowledged is on the disk and not only in the page cache.
//!
//! A file system in a file is mounted through a loop device. A writer process works on it and acknowledges to a file
//! outside. At a random moment the writer is stopped and the backing file is copied: the copy holds what had reached
//! the disk, not what only the page cache knew. The copy is repaired as after a crash, mounted, and opened. Killing a
//! process alone would prove nothing here, because the page cache survives it.
//!
//! `SLOTKEEPER_POWER_CUTS` sets how many cuts (40 if not set). `loop_device.rs` says what they need.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::child::{self, Role};
use crate::loop_device::{self, Mounted, run, text};
use crate::script::{Dice, requests_in};
use crate::store::{open, quick_directory};

const IMAGE_BYTES: u64 = 1 << 30;

/// A file system in a file, and a place for its copy.
struct Bench {
    room: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let room = quick_directory();
        loop_device::make_image(&room.path().join("disk.img"), IMAGE_BYTES).unwrap();
        Bench { room }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Lets a writer work for a while and cuts the power; gives what it had submitted and acknowledged.
    fn write_and_cut(&self, role: Role, seed: u64, moment: Moment) -> Result<(u64, u64), String> {
        let mounted = Mounted::new(&self.path("disk.img"), self.path("mounted"))?;
        let (home, report) = (mounted.point.join("data"), self.path("report"));
        let mut writer = child::start(role, &home, &report, seed);
        moment.wait(&report);
        let stop = loop_device::freeze(&[writer.id()]);
        let copied =
            run("cp", &["--sparse=always", text(&self.path("disk.img")), text(&self.path("copy.img"))]);
        let progress = child::progress(&report);
        writer.kill().unwrap();
        writer.wait().unwrap();
        drop(mounted);
        stop.and(copied).map(|()| progress)
    }

    /// Repairs and mounts the copy and hands the data directory over.
    fn after_the_cut<T>(&self, look: impl FnOnce(&Path) -> T) -> Result<T, String> {
        run("e2fsck", &["-fy", text(&self.path("copy.img"))])?;
        let mounted = Mounted::new(&self.path("copy.img"), self.path("recovered"))?;
        Ok(look(&mounted.point.join("data")))
    }
}

/// When the power fails.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// This long after the writer was started, whatever it has done.
    Early(Duration),
    /// This long after its first acknowledgement.
    UnderLoad(Duration),
}

impl Moment {
    /// Every fourth cut falls into the creation of the store.
    fn drawn(number: u64, dice: &mut Dice) -> Moment {
        if number % 4 == 3 {
            Moment::Early(Duration::from_millis(dice.below(45)))
        } else {
            Moment::UnderLoad(Duration::from_millis(20 + dice.below(800)))
        }
    }

    fn wait(self, report: &Path) {
        let delay = match self {
            Moment::Early(delay) => delay,
            Moment::UnderLoad(delay) => {
                let deadline = Instant::now() + Duration::from_secs(60);
                while child::progress(report).1 == 0 {
                    assert!(Instant::now() < deadline, "the writer acknowledges nothing");
                    std::thread::sleep(Duration::from_millis(1));
                }
                delay
            }
        };
        std::thread::sleep(delay);
    }
}

fn fresh_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    if loop_device::is_missing() {
        return;
    }
    let cuts = std::env::var("SLOTKEEPER_POWER_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(40);
    let seed = fresh_seed();
    let mut dice = Dice::new(seed);
    for number in 0..cuts {
        let moment = Moment::drawn(number, &mut dice);
        let bench = Bench::new();
        let (submitted, acknowledged) = bench.write_and_cut(Role::Writer, seed, moment).unwrap();
        let name =
            format!("cut {number} of seed {seed}, {moment:?}, {acknowledged} of {submitted} acknowledged");
        let found = bench
            .after_the_cut(|home| {
                let store = open(home).unwrap_or_else(|error| panic!("{name}: {error}"));
                let found = requests_in(&store, seed, acknowledged, submitted);
                store.shutdown();
                found
            })
            .unwrap();
        match found {
            Some(found) => println!("{name}: {found} found"),
            None => panic!("{name}: the store holds something else"),
        }
    }
}

#[test]
fn a_power_cut_shows_when_syncs_are_left_out() {
    if loop_device::is_missing() {
        return;
    }
    let seed = fresh_seed();
    let bench = Bench::new();
    let moment = Moment::UnderLoad(Duration::from_millis(300));
    let (submitted, acknowledged) = bench.write_and_cut(Role::LyingWriter, seed, moment).unwrap();
    assert!(acknowledged > 0);
    let loss = bench.after_the_cut(|home| loss_of(home, seed, (submitted, acknowledged))).unwrap();
    println!("{acknowledged} requests were acknowledged without a sync: {loss:?}");
    assert_ne!(
        loss,
        Loss::None,
        "without syncs {acknowledged} requests must not survive, or the cut is none"
    );
    assert_ne!(
        loss,
        Loss::Silent,
        "a tip record is there, and still {acknowledged} requests are lost without a word"
    );
}

/// What a cut has taken.
#[derive(Debug, PartialEq)]
enum Loss {
    None,
    /// Opening says that something is missing.
    Named,
    /// Nothing is left that could tell: as a directory that never was.
    Whole,
    /// Opening goes well over less than what was acknowledged, beside a record that could tell.
    Silent,
}

fn loss_of(home: &Path, seed: u64, (submitted, acknowledged): (u64, u64)) -> Loss {
    let can_tell = home.join("tip").exists();
    match open(home) {
        Err(_) => Loss::Named,
        Ok(store) if requests_in(&store, seed, acknowledged, submitted).is_some() => Loss::None,
        Ok(_) if can_tell => Loss::Silent,
        Ok(_) => Loss::Whole,
    }
}
