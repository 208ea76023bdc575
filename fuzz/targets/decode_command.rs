//! A record of the log whose checksum is right and whose content is anything: it is refused, or it is a record that reads the
//! same after it was written again.
#![no_main]

use slotkeeper::codec;
use slotkeeper::replica::{RECORD_FORMAT, open, seal};

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    if let Ok(record) = open(&codec::seal_bytes(RECORD_FORMAT, content)) {
        assert_eq!(
            open(&seal(&record)).as_ref(),
            Ok(&record),
            "a record reads otherwise after it was written again"
        );
    }
});
