//! Two TAP devices and a thread that carries frames from one to the other, late.
//!
//! The kernel of the machines that this runs on has no `netem`. On TAP devices it computes checksums and cuts segments
//! itself, so a frame can be carried by any program, which need not look into it. A thread, because a task would be as late
//! as the runtime is busy.
//!
//! What it promises: the devices live as long as the relay does and no longer, also when the process is killed; frames that
//! are under way when the relay is told to end leave at once. What it must not do: know namespaces, bridges or addresses
//! (`detour.rs` does).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::late::{Direction, LateFrames, Seen, Weather};

/// More than a frame of an Ethernet with the usual MTU has.
const FRAME_BYTES_MAX: usize = 2_048;

/// `_IOW('T', 202, int)` in `linux/if_tun.h`.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
/// IFF_TAP and IFF_NO_PI: whole Ethernet frames, and nothing before them.
const WHOLE_FRAMES: u16 = 0x0002 | 0x1000;

/// A network device whose wire is this process. It is gone when this is.
pub struct Tap(File);

/// `struct ifreq` of the kernel, as far as TUNSETIFF reads it.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// What the kernel copies in and out on 64-bit machines; it is less on others.
const _: () = assert!(size_of::<InterfaceRequest>() == 40);

impl Tap {
    /// Makes a device in the network namespace of this process. It may be moved into another one.
    pub fn create(name: &str) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open("/dev/net/tun", flags, Mode::empty())?);
        let mut request = InterfaceRequest { name: [0; 16], flags: WHOLE_FRAMES, rest: [0; 22] };
        // The last byte stays zero, for the kernel reads a C string.
        request.name[..15].iter_mut().zip(name.bytes()).for_each(|(byte, letter)| *byte = letter);
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which has at most the size of the request, and keeps no pointer
        // to it. There is no way without: `rustix` has no safe call for it, and `ip tuntap` can not hand over the device.
        unsafe { ioctl(&file, Updater::<TUNSETIFF, InterfaceRequest>::new(&mut request))? };
        Ok(Self(file))
    }

    /// A frame, if one is there.
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = [0; FRAME_BYTES_MAX];
        match (&self.0).read(&mut frame) {
            Ok(length) => Ok(Some(frame[..length].to_vec())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The two devices: the one at the server, and the one at the others.
pub struct Ends {
    /// Moved to where the server is.
    pub server: Tap,
    /// Where everybody else is.
    pub others: Tap,
}

impl Ends {
    fn pass_on(&self, direction: Direction, frame: &[u8]) -> io::Result<()> {
        let mut device = match direction {
            Direction::ToServer => &self.server.0,
            Direction::FromServer => &self.others.0,
        };
        device.write_all(frame)
    }
}

/// Carries frames between two devices until it is told to end, or dropped.
pub struct Relay {
    /// The thread hears when this is closed.
    lifeline: UnixStream,
    seen: watch::Receiver<Seen>,
    thread: JoinHandle<io::Result<Ends>>,
}

impl Relay {
    /// Begins to carry; both devices must be up.
    pub fn start(ends: Ends, weather: Weather, seed: u64) -> io::Result<Self> {
        let (lifeline, other_end) = UnixStream::pair()?;
        let (sender, seen) = watch::channel(Seen::default());
        let frames = LateFrames::new(weather, seed);
        let thread = tokio::task::spawn_blocking(move || carry(ends, frames, &other_end, &sender));
        Ok(Self { lifeline, seen, thread })
    }

    /// Waits until this can be said of what was seen; `false` if the relay ended before.
    pub async fn wait_for(&mut self, is_enough: impl FnMut(&Seen) -> bool) -> bool {
        self.seen.wait_for(is_enough).await.is_ok()
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Lets everything that is under way go. The devices are gone when what this gives is dropped.
    pub async fn finish(self) -> Result<Ends, String> {
        drop(self.lifeline);
        let ends = self.thread.await.map_err(|error| format!("the relay ended badly: {error}"))?;
        ends.map_err(|error| format!("the relay could not carry a frame: {error}"))
    }
}

fn carry(
    ends: Ends,
    mut frames: LateFrames,
    lifeline: &UnixStream,
    seen: &watch::Sender<Seen>,
) -> io::Result<Ends> {
    loop {
        let wait = frames.next_due().map(|due| due.saturating_duration_since(Instant::now()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let mut watched = [
            PollFd::new(lifeline, PollFlags::IN),
            PollFd::new(&ends.server.0, PollFlags::IN),
            PollFd::new(&ends.others.0, PollFlags::IN),
        ];
        match poll(&mut watched, wait.as_ref()) {
            // A signal of the process came to this thread.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !watched[0].revents().is_empty() {
            break;
        }
        for (device, direction) in
            [(&ends.server, Direction::FromServer), (&ends.others, Direction::ToServer)]
        {
            if let Some(frame) = device.read()? {
                frames.take(Instant::now(), direction, frame);
            }
        }
        while let Some((direction, frame)) = frames.give(Instant::now()) {
            ends.pass_on(direction, &frame)?;
        }
        seen.send_replace(frames.seen());
    }
    while let Some((direction, frame)) = frames.next_due().and_then(|due| frames.give(due)) {
        ends.pass_on(direction, &frame)?;
    }
    Ok(ends)
}
