//! A snapshot whose checksum is right and whose content is anything: it is refused, and what the replica had stays. One that
//! carries the hash of its own content, as only a writer can make it, is installed as it is or refused as well.
#![no_main]

use slotkeeper::codec;
use slotkeeper::domain::{FormerTimeout, SettingChanges, State};
use slotkeeper::replica::{Replica, STATE_FORMAT};

/// What a snapshot holds; `src/replica/format.rs`.
type Content = ([u8; 32], State, SettingChanges, Option<FormerTimeout>);

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    let replica = Replica::new();
    let empty = replica.state_hash();
    let is_installed = replica.install(&codec::seal_bytes(STATE_FORMAT, content)).is_ok();
    assert!(is_installed || replica.state_hash() == empty, "a refused snapshot has changed the state");
    let Ok((_, state, changes, former)) = codec::decode::<Content>(content, content.len()) else { return };
    let whole = state.with(changes, former);
    let written = (whole.hash().0, &whole, whole.setting_changes(), whole.former_timeout());
    let Ok(sealed) = codec::seal(STATE_FORMAT, &written) else { return };
    if replica.install(&sealed).is_ok() {
        assert_eq!(replica.state_hash().1, whole.hash(), "a snapshot was installed as another state");
    }
});
