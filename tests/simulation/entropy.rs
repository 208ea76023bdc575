//! Randomness of the operating system, replaced by the seed.
//!
//! Maps that hash, `select!`, election timers and minted ids all begin with bytes from `getrandom`. The standard library
//! asks for that symbol weakly so that a program can put its own in the place; this one does. On a thread that was given a
//! seed the bytes come from the seed, on every other thread from the system. Together with a process per seed (tokio and
//! futures count the runtimes and generators of a process) that closes these sources without a flag for the compiler.

use std::cell::RefCell;
use std::ffi::{c_long, c_uint, c_void};

use crate::draw::Draw;

thread_local! {
    static SEEDED: RefCell<Option<Draw>> = const { RefCell::new(None) };
}

/// From now on this thread gets its randomness from `seed`. Must come before anything that hashes.
pub fn seed_this_thread(seed: u64) {
    SEEDED.with_borrow_mut(|seeded| *seeded = Some(Draw::new(seed ^ 0x656e_7472_6f70_7921)));
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const GETRANDOM: c_long = 318;
#[cfg(target_arch = "aarch64")]
const GETRANDOM: c_long = 278;

/// The symbol that the standard library and the `getrandom` crate look for.
///
/// # Safety
/// As the function of the C library: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let drawn = SEEDED.try_with(|seeded| {
        let Ok(mut seeded) = seeded.try_borrow_mut() else { return false };
        let Some(draw) = seeded.as_mut() else { return false };
        // SAFETY: the caller promises `length` bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        bytes.iter_mut().for_each(|byte| *byte = draw.byte());
        true
    });
    if drawn == Ok(true) {
        return isize::try_from(length).unwrap_or(isize::MAX);
    }
    // SAFETY: the arguments are passed on as they came.
    let written = unsafe { syscall(GETRANDOM, buffer, length, flags) };
    written as isize
}
