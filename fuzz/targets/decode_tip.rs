//! A slot of the tip record whose checksum is right and whose content is anything: it is no slot, or it is one that reads the
//! same after it was written again.
#![no_main]

use slotkeeper::storage::is_tip;

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    is_tip(content);
});
