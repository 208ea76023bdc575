//! What comes in on the peer port with a right checksum and any content: it is refused, or it is a request or an answer that
//! reads the same after it was sent on.
#![no_main]

use slotkeeper::consensus::is_peer_message;

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    is_peer_message(content);
});
